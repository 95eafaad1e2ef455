"""Training: recipes, pairs of meshes, losses and the loop."""
