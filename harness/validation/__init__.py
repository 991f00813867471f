"""A selection judged: its cells are planned, prepared, run, compared and reported."""
