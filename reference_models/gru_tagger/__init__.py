"""A tag at every step: the level of a counter, from a GRU of either reset convention."""
