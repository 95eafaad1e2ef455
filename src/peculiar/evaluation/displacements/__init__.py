"""Displacements of particles, as He et al. 2019 judge them."""
