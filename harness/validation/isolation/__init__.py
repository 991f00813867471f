"""Cells in processes of their own: side by side, limited, and lost at no cost to the others."""
