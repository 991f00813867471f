"""Dialogue acts that words and phrases set, told at every step or at the end."""
