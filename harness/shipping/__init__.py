"""Bundles of models that conform, and of no others."""
