"""Velocities in isolated cubes of surveys, as Wang et al. 2024 judge them."""
