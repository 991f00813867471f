"""Any ONNX graph in float64, and what rounding alone moves in it."""
