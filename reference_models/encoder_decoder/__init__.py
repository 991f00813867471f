"""A sequence read to its end, and its reverse from a second net that starts in that state."""
