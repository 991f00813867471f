"""Child processes: one way to start, limit, watch and end them."""
