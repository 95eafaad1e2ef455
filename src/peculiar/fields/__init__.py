"""Meshes: painting, Fourier space, derivatives, smoothing, redshift space and velocities on a mesh."""
