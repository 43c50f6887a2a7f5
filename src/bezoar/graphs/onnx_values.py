"""What ONNX operators work on: tensors, attributes, and inputs that are read as plain numbers. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bezoar.errors import InputError, quoted
from bezoar.graphs.onnx_file import to_array

Inputs = list[Any]
Attributes = dict[str, Any]

MAX_ELEMENTS = 2**26  # of a tensor that an operator makes from numbers alone
_FLOATING = ("float16", "float64", "bfloat16")  # computed in single precision, like all else


class NotTranslatedError(Exception):
    """An attribute or an input form that is not covered here."""


@dataclass(frozen=True, slots=True)
class Operator:
    """`run(inputs, attributes)` gives a tensor, or a tuple of them.

    Inputs are tensors, None where left out; those at the places `numbers` are lists of Python numbers instead.
    """

    run: Callable[[Inputs, Attributes], Any]
    numbers: frozenset[int] = frozenset()


def attributes(node: Any, opset: int) -> Attributes:
    """The attributes of a node as Python values, tensors as torch tensors; the graph's version is "opset"."""
    from onnx import AttributeProto, helper

    values: Attributes = {"opset": opset, "n_outputs": len(node.output)}
    for attribute in node.attribute:
        if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            raise NotTranslatedError("it holds a graph of its own")
        value = helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.TENSOR:
            value = to_tensor(value)
        elif attribute.type == AttributeProto.STRING:
            value = value.decode("utf-8", "replace")
        values[attribute.name] = value
    return values


def to_tensor(tensor: Any) -> torch.Tensor:
    """A torch tensor of a stored one; floating-point numbers become float32. InputError for texts and numbers of 4 or 8 bits."""
    array = to_array(tensor)
    try:
        return torch.from_numpy(np.array(array, np.float32 if array.dtype.name in _FLOATING else array.dtype))
    except TypeError as error:
        raise InputError(
            f"the tensor {quoted(tensor.name)} is of type {array.dtype.name}, which torch lacks"
        ) from error


def optional(inputs: Inputs, place: int) -> Any:
    """An input that may be left out, then None."""
    return inputs[place] if place < len(inputs) else None


def bounded(shape: list[int]) -> list[int]:
    """`shape`, if a tensor made from numbers alone may have it."""
    if np.prod(np.array(shape, float)) > MAX_ELEMENTS:
        raise NotTranslatedError(f"the shape {shape[:8]} is too large")
    return shape


def together(*tensors: Any) -> tuple[Any, ...]:
    """The tensors on one device: shape arithmetic stays on the CPU, pixels may be elsewhere."""
    device = next((t.device for t in tensors if t.device.type != "cpu"), None)
    return tensors if device is None else tuple(t.to(device) for t in tensors)


def unary(function: Callable[[Any], Any]) -> Operator:
    """An operator of one tensor."""
    return Operator(lambda inputs, options: function(inputs[0]))


def binary(function: Callable[[Any, Any], Any]) -> Operator:
    """An operator of two tensors, broadcast."""

    def run(inputs: Inputs, options: Attributes) -> Any:
        a, b = inputs
        if a.device != b.device:
            a, b = together(a, b)
        return function(a, b)

    return Operator(run)
