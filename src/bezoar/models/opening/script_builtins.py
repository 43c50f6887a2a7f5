"""What TorchScript's code calls besides ATen: functions of lists and numbers, and facts about tensors, in Python.

Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bezoar.errors import InputError, quoted
from bezoar.models.opening.operators import MAX_LENGTH, SCALAR, checked


def _slice(items: Any, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return items[start:end:step]


def _raise(message: str, *_: str) -> None:
    raise InputError(f"its own code refuses this input ({quoted(message)})")


def _size(tensor: Any, axis: int | None = None) -> Any:
    return list(tensor.shape) if axis is None else tensor.shape[axis]


def _set_item(items: Any, key: Any, value: Any) -> None:
    items[key] = value
    checked(items)


def _append(items: Any, item: Any) -> None:
    items.append(item)
    if isinstance(item, list | tuple | dict):
        checked(items)


def _range(*bounds: Any) -> Any:
    found = range(*bounds)
    if len(found) > MAX_LENGTH:
        raise InputError(f"its code counts over {len(found):,} steps")
    return found


LISTS: dict[str, Callable[..., Any]] = {  # of lists, and facts about tensors
    "len": len,
    "size": _size,
    "dim": lambda tensor: tensor.dim(),
    "numel": lambda tensor: tensor.numel(),
    "append": _append,
    "format": lambda text, *_: text,
    "__is__": lambda a, b: a is b,
    "__isnot__": lambda a, b: a is not b,
    "__not__": lambda value: not value,
    "__contains__": lambda items, item: item in items,
    "__getitem__": lambda items, key: items[key],
    "_set_item": _set_item,
    "is_floating_point": lambda tensor: tensor.is_floating_point(),
    "is_complex": lambda tensor: tensor.is_complex(),
    "is_grad_enabled": lambda: True,
    "is_autocast_enabled": lambda *_: False,
    "is_autocast_cpu_enabled": lambda: False,
    "item": lambda tensor: tensor.item(),
    "Int": int,
    "Float": float,
    "Bool": bool,
    "IntImplicit": int,
    "FloatImplicit": float,
    "ScalarImplicit": lambda tensor: tensor.item(),
    "list": list,
    "keys": list,
    "values": lambda mapping: list(mapping.values()),
    "items": lambda mapping: list(mapping.items()),
}
PYTHON: dict[str, Callable[..., Any]] = SCALAR | {
    "__and__": lambda a, b: a & b,
    "__or__": lambda a, b: a | b,
    "__xor__": lambda a, b: a ^ b,
    "slice": _slice,
    "copy": list,
}
BUILTINS: dict[str, Callable[..., Any]] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": lambda value: "",  # only for messages
    "len": len,
    "range": _range,
}
PRIMITIVES: dict[str, Callable[..., Any]] = {
    "ops.prim.NumToTensor": torch.tensor,
    "ops.prim.RaiseException": _raise,
    "ops.prim.data": lambda tensor: tensor.detach(),
    "ops.prim.device": lambda tensor: tensor.device,
    "ops.prim.dtype": lambda tensor: tensor.dtype,
    "ops.prim.is_cuda": lambda tensor: False,
    "ops.prim.is_nested": lambda tensor: False,
    "ops.prim.is_quantized": lambda tensor: False,
    "ops.prim.max": lambda *values: SCALAR["max"](*values) if len(values) > 1 else max(*values),
    "ops.prim.min": lambda *values: SCALAR["min"](*values) if len(values) > 1 else min(*values),
    "ops.prim.requires_grad": lambda tensor: tensor.requires_grad,
    "ops.prim.type": lambda device: device.type,
    "ops.prim.unchecked_unwrap_optional": lambda value: value,
}
