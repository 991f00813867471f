"""The words of the harness as types, and the verdict: NumPy and the standard library alone."""
