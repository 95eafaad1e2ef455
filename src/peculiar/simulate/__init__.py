"""The data factory: initial conditions, particle mesh, halos, satellites and mock catalogues."""
