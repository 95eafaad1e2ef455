"""Reconstructions from tracers in redshift space, as Xiao et al. 2024 judge them."""
