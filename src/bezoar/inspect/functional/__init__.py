"""Tensors in, tensors out: the algorithms of model inspection. The modules load torch."""
