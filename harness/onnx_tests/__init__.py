"""ONNX's layout of tests, ``test_data_set_N/{input,output}_K.pb``: read, judged and written."""
