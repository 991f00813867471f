"""Cells in child processes: side by side, limited, and lost at no cost to the others."""
