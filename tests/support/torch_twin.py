"""Stands for the twin of a planted model."""
