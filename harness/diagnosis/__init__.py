"""Why a cell fails: the shortest case, the first step, the first node, and what reproduces it."""
