"""Velocity and momentum from the density of matter, as Wu et al. 2021 judge them."""
