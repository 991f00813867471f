"""A user's own model: where it comes from, what its inputs are, and a golden made for it.

Data walks from ``source`` (what was named) over ``describe`` (what is said of its inputs) and
``probing`` (what it does) to ``making`` (a golden and an exported model).
"""
