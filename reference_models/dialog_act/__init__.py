"""Dialogue acts that words and phrases set, at every step or at the end."""
