"""Planted defects on trial: which are caught, how soon, how small, and by whose rules."""
