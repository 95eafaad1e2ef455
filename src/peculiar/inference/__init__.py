"""Networks in use: on a whole mesh, in tiles, on a cluster, with their model cards."""
