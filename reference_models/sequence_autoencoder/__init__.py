"""A sequence squeezed into three numbers and told again at the length it had."""
