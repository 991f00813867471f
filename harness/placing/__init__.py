"""Where ONNX Runtime's CUDA provider would put each node, on a machine without a GPU.

ONNX Runtime decides this while it creates a session, before it needs the device for anything but
handles. Here its CUDA libraries are stood in for by a small one built from ``shim.c``, which
grants handles and no memory: the session is partitioned, then given up, and never run.
"""
