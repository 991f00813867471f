"""Goldens made: of a reference model, and of a user's own model."""
