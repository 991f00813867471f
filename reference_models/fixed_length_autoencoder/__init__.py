"""A padded row of any length put into one code, and sixteen steps read back from it."""
