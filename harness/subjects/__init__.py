"""What a text names, the description of a user model's inputs, and ONNX files as user models."""
