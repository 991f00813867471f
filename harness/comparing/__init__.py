"""Two runs of the same cells, compared: what broke, what was mended, what moved and by how much."""
