"""Python loops over a dynamic length, as ONNX ``Scan``.

A model is traced with its loops unrolled at the example's length (``unrolled``). Where the trace
repeats itself (``repeats``), the steps are matched with each other: what is the same, what is
carried, what is indexed by the step (``steps``). The model is written anew with one step in a scan
(``rebuilt``), and traced again.
"""
