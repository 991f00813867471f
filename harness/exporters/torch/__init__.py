"""The native exporter of PyTorch models."""
