"""The native exporter of Keras models."""
