"""A sequence read to its end and told again in reverse by a second net that starts there."""
