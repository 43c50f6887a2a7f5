"""The graph of a `.pt2` archive as a list of steps: its JSON (torch/_export/serde/schema.py) read under an allow list.

Names of the graph stand for values; symbolic sizes are the sizes that the images have. Imports torch: import this module inside
the function that needs it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from bezoar.errors import InputError, quoted
from bezoar.models.opening.operators import SCALAR, aten, checked

DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 9: torch.complex32, 10: torch.complex64, 11: torch.complex128, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
_MEMORY_FORMATS = {
    1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format,
}  # fmt: skip
_DEVICE = "the device of the images"  # a value that every step may read, whatever device the file names


@dataclass(frozen=True)
class Program:
    """Steps from an image to outputs.

    `image` is the input's name and `shape` its (N, C, H, W), None where it is free; `weights` maps names of values to names of
    stored tensors.
    """

    steps: list[_Step]
    image: str
    shape: tuple[int | None, ...]
    weights: dict[str, str]
    outputs: list[Any]

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self  # never changes

    def run(self, images: torch.Tensor, tensor: Callable[[str], torch.Tensor]) -> list[Any]:
        """The outputs for a batch; `tensor` gives a stored tensor by its name."""
        values: dict[str, Any] = {name: tensor(stored) for name, stored in self.weights.items()}
        values |= {self.image: images, _DEVICE: images.device}
        for step in self.steps:
            result = step.run(
                *(_filled(value, values) for value in step.arguments),
                **{name: _filled(value, values) for name, value in step.options.items()},
            )
            _bind(step.results, result, values)
            for name in step.last:
                del values[name]
        return [_filled(output, values) for output in self.outputs]


@dataclass(frozen=True)
class _Step:
    """One operator: its arguments, with names for values, the names of its results, and of what no later one needs."""

    run: Callable[..., Any]
    arguments: list[Any]
    options: dict[str, Any]
    results: Any
    last: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Value:
    """The value of this name."""

    name: str


def read_program(document: dict[str, Any], stored: set[str]) -> Program:
    """The program that a document describes; InputError names what is refused. `stored` are the names of its tensors."""
    if document["schema_version"]["major"] != 8:
        raise InputError(
            f"has version {quoted(document['schema_version'])} of the format; export the model again"
        )
    graph, signature = document["graph_module"]["graph"], document["graph_module"]["signature"]
    weights: dict[str, str] = {}
    images: list[str] = []
    for specification in signature["input_specs"]:
        ((kind, entry),) = specification.items()
        if kind in ("parameter", "buffer", "tensor_constant"):
            name = entry[f"{kind}_name"]
            if name not in stored:
                raise InputError(f"lacks the weights {quoted(name)}; is the file complete?")
            weights[entry["arg"]["name"]] = name
        elif kind == "user_input" and "as_tensor" in entry["arg"]:
            images.append(entry["arg"]["as_tensor"]["name"])
        elif kind == "constant_input" or (
            kind == "user_input" and set(entry["arg"]) & {"as_none", "as_bool"}
        ):
            continue
        else:
            raise InputError(f"takes a {quoted(kind)} besides an image")
    if len(images) != 1:
        raise InputError(f"takes {len(images)} tensors; an image classifier takes one")
    shape = tuple(_given(size) for size in graph["tensor_values"][images[0]]["sizes"])
    if len(shape) != 4:
        raise InputError(f"takes a tensor with {len(shape)} axes; images (N, C, H, W) have four")
    steps = [_step(node) for node in graph["nodes"]]
    outputs = [
        _argument(specification["user_output"]["arg"])
        for specification in signature["output_specs"]
        if "user_output" in specification
    ]
    _check_names(steps, {images[0], _DEVICE, *weights}, outputs)
    return Program(_with_ends(steps, outputs), images[0], shape, weights, outputs)


def _step(node: dict[str, Any]) -> _Step:
    arguments: list[Any] = []
    options: dict[str, Any] = {}
    for entry in node["inputs"]:
        if entry.get("kind") == 2:
            options[str(entry["name"])] = _argument(entry["arg"])
        else:
            arguments.append(_argument(entry["arg"]))
    results = [_argument(output) for output in node["outputs"]]
    return _Step(_operator(node["target"]), arguments, options, results[0] if len(results) == 1 else results)


def _operator(target: str) -> Callable[..., Any]:
    parts = target.split(".")
    if target in _SYMBOLIC:
        return _SYMBOLIC[target]
    if len(parts) == 5 and parts[:3] == ["torch", "ops", "aten"]:
        return aten(parts[3], parts[4])
    raise InputError(
        f"its graph calls {quoted(target)}, which is no plain arithmetic on tensors; nothing was run"
    )


def _argument(argument: dict[str, Any]) -> Any:
    """A value of the schema's union `Argument`, with `_Value`s for names."""
    ((kind, value),) = argument.items()
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return _Value(value["name"])
        case "as_tensors":
            return [_Value(item["name"]) for item in value]
        case "as_int" | "as_ints" | "as_float" | "as_floats" | "as_bool" | "as_bools" | "as_string":
            return value
        case "as_sym_int" | "as_sym_float" | "as_sym_bool" | "as_optional_tensor":
            return _argument(value)
        case "as_name":
            return _Value(value)
        case "as_sym_ints" | "as_sym_floats" | "as_sym_bools" | "as_optional_tensors":
            return [_argument(item) for item in value]
        case "as_scalar_type":
            return DTYPES[value]
        case "as_memory_format":
            return _MEMORY_FORMATS[value]
        case "as_layout":
            return torch.strided
        case "as_device":
            return _Value(_DEVICE)
        case _:
            raise InputError(
                f"its graph has an argument of kind {quoted(kind)}, which image classifiers do not need"
            )


def _given(size: dict[str, Any]) -> int | None:
    return size_of(size["as_int"]) if "as_int" in size else None


def size_of(value: Any) -> int:
    """A size as it stands in a document; ValueError where it is none."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value} is no size")
    return value


def _check_names(steps: list[_Step], known: set[str], outputs: list[Any]) -> None:
    for step in [*steps, _Step(list, outputs, {}, [])]:
        if absent := _names(step.arguments, list(step.options.values())) - known:
            raise InputError(f"its graph reads {quoted(min(absent))}, which nothing produces")
        known |= _names(step.results)


def _names(*values: Any) -> set[str]:
    found: set[str] = set()
    for value in values:
        if isinstance(value, _Value):
            found.add(value.name)
        elif isinstance(value, list):
            found |= _names(*value)
    return found


def _with_ends(steps: list[_Step], outputs: list[Any]) -> list[_Step]:
    """The steps with the names that are read for the last time, so that memory is freed early."""
    needed = _names(outputs) | {_DEVICE}
    ended: list[_Step] = []
    for step in reversed(steps):
        names = _names(step.arguments, list(step.options.values()), step.results)
        ended.append(
            _Step(step.run, step.arguments, step.options, step.results, tuple(sorted(names - needed)))
        )
        needed |= names
    return ended[::-1]


def _filled(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, _Value):
        return values[value.name]
    return [_filled(item, values) for item in value] if isinstance(value, list) else value


def _bind(target: Any, result: Any, values: dict[str, Any]) -> None:
    if isinstance(target, _Value):
        values[target.name] = result
    elif isinstance(target, list):
        for part, item in zip(target, result, strict=True):
            _bind(part, item, values)


def _nothing(*_: Any, **__: Any) -> tuple[()]:
    return ()


_SYMBOLIC: dict[str, Callable[..., Any]] = {  # arithmetic on sizes, and what export asserts of them
    "torch.ops.aten.sym_size.int": lambda tensor, axis: tensor.shape[axis],
    "torch.ops.aten.sym_numel.default": lambda tensor: tensor.numel(),
    "torch.ops.aten._assert_scalar.default": _nothing,
    "torch.ops.aten._assert_tensor_metadata.default": _nothing,
    "torch.ops.aten.sym_constrain_range_for_size.default": _nothing,
    "torch.sym_max": SCALAR["max"],
    "torch.sym_min": SCALAR["min"],
    "torch.sym_not": operator.not_,
    "math.floor": SCALAR["floor"],
    "math.ceil": SCALAR["ceil"],
    "math.trunc": lambda value: checked(math.trunc(value)),
    "_operator.getitem": lambda items, index: checked(items[index]),
    **{
        f"_operator.{name}": SCALAR[name]
        for name in (
            "add",
            "sub",
            "mul",
            "truediv",
            "floordiv",
            "mod",
            "pow",
            "neg",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
        )
    },
    "_operator.and_": SCALAR["and_"],
    "_operator.or_": SCALAR["or_"],
}
