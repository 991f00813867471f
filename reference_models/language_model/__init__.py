"""A word-level language model that carries the state of two stacked LSTM cells."""
