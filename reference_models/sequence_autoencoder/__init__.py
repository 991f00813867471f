"""A sequence squeezed into three numbers and restored at its length."""
