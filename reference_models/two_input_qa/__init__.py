"""A text and a question, each through its own LSTM, to one answer among 500."""
