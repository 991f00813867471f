"""Exports, made in child processes and kept, and the bundles that they are shipped in."""
