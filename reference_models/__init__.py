"""Small trained sequence models, each a Keras and a PyTorch twin of one float64 oracle."""
