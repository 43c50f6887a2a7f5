"""ONNX files: read under limits, parsed, and checked before anything is built from them (https://onnx.ai/onnx/intro/concepts.html).

Nothing in a file is executed, and no other file that it names is opened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.errors import InputError, LimitError, MissingExtraError, quoted
from bezoar.graphs.memory import available_bytes, gigabytes

MAX_MODEL_BYTES = 2**31 - 1  # what protobuf can hold
_COPIES = 4  # of a model's bytes in memory at once: file, protobuf, arrays, torch
_MAX_NODES = 200_000
_TRAINED = (1, 10, 11, 16)  # TensorProto's FLOAT, FLOAT16, DOUBLE and BFLOAT16
_LAYER_WEIGHTS = {
    "BatchNormalization": (0, 1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (0, 1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
}  # operator to the inputs that are weights
_WEIGHTED = {
    "Add",
    "Cast",
    "Concat",
    "Einsum",
    "Expand",
    "Gather",
    "Mul",
    "Reshape",
    "Sub",
    "Transpose",
    "Unsqueeze",
}


def read_model(path: str | Path) -> bytes:
    """The bytes of a model file; InputError when it cannot be read, LimitError when it or its memory is too large."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size > MAX_MODEL_BYTES:
                raise LimitError(f"{path}: the model is larger than {MAX_MODEL_BYTES >> 20} MiB")
            if size * _COPIES > available_bytes():
                raise LimitError(
                    f"{path}: the model needs about {gigabytes(size * _COPIES)} of memory; this machine has "
                    f"{gigabytes(available_bytes())} free"
                )
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: the model cannot be read ({error.strerror})") from error


def parse(content: bytes, where: str | Path) -> Any:
    """The `onnx.ModelProto` in these bytes.

    InputError when they are none, when a tensor is damaged, not in the file, or holds NaN: one line that names it.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("reading ONNX models", "onnx") from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's exceptions come from a package that has no type information
        raise InputError(f"{where}: is no ONNX model, or a truncated one") from error
    if not model.graph.node:
        raise InputError(f"{where}: is no ONNX model (it has no operators)")
    for graph in _graphs(model):
        for tensor in _tensors(graph):
            _check_tensor(tensor, where)
    return model


def stored(graph: Any) -> Iterator[tuple[str, Any]]:
    """Name and `TensorProto` of all that a graph stores: its initializers and its `Constant` operators, in order."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant" and len(node.output) == 1:
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def to_array(tensor: Any) -> Any:
    """A NumPy array of a stored tensor."""
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def weight_names(model: Any) -> list[str]:
    """Names of the stored tensors that training changed: those of layers, and others that are more than a number.

    Bounds, scales of quantisation, exponents and the like are none, and running statistics are measured, not trained.
    """
    aliases: dict[str, str] = {}
    layers, others, fixed = set(), set(), set()
    for node in model.graph.node:
        names = [aliases.get(name, name) for name in node.input]
        if node.op_type == "Identity" and names and node.output:
            aliases[node.output[0]] = names[0]
            continue
        for place, name in enumerate(names):
            if place in _LAYER_WEIGHTS.get(node.op_type, ()):
                layers.add(name)
            elif node.op_type in _WEIGHTED:
                others.add(name)
            else:
                fixed.add(name)
    return [
        name
        for name, tensor in stored(model.graph)
        if tensor.data_type in _TRAINED
        and name not in fixed
        and (name in layers or (name in others and math.prod(tensor.dims) > 1))
    ]


def inlined(model: Any) -> Any:
    """The model with its own functions written out; itself where it has none. InputError where that never ends."""
    if not model.functions:
        return model
    from onnx import inliner

    _check_functions(model)
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # the inliner's exceptions come from C++ and share no narrower base
        raise InputError("the ONNX model's functions cannot be written out") from error


def _graphs(model: Any) -> Iterator[Any]:
    """The graph, those nested in its operators, and the bodies of its functions."""
    pending = [model.graph, *model.functions]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                pending += [attribute.g] if attribute.HasField("g") else []
                pending += list(attribute.graphs)


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor stored in a graph or a function body."""
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse_ones = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            for sparse in (*sparse_ones, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _check_tensor(tensor: Any, where: str | Path) -> None:
    from onnx import TensorProto

    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise InputError(f"{where}: keeps weights in another file; save the model as one file")
    try:
        array = to_array(tensor)
    except Exception as error:  # the helper raises many unrelated types for what does not fit together
        raise InputError(
            f"{where}: the tensor {quoted(tensor.name)} is damaged: its shape {list(tensor.dims)[:8]} does not fit its data"
        ) from error
    if array.dtype.name in ("float32", "float64", "float16", "bfloat16") and np.isnan(array).any():
        raise InputError(f"{where}: the tensor {quoted(tensor.name)} holds NaN; the model is broken")


def _check_functions(model: Any) -> None:
    """InputError for functions that call themselves; LimitError for so many calls that writing them out would fill memory."""
    functions = {
        (function.domain, function.name, function.overload): function for function in model.functions
    }
    sizes: dict[tuple[str, str, str], int] = {}

    def size(nodes: Any, path: tuple[Any, ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in path or len(path) > 100:
                raise InputError(f"the ONNX function {quoted(node.op_type)} calls itself")
            if key in functions and key not in sizes:
                sizes[key] = size(functions[key].node, (*path, key))
            total += sizes.get(key, 1)
        return total

    if size(model.graph.node, ()) > _MAX_NODES:
        raise LimitError(f"the ONNX model has more than {_MAX_NODES:,} operators")
