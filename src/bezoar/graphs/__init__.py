"""Networks as graphs that are read, never executed: ONNX to torch. The names live in the modules, which load torch."""
