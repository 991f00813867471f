"""What several tests share; not a test."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
