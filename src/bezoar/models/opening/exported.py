"""`.pt2` archives of `torch.export.save`, read as a list of operators instead of loaded.

`torch.export.load` would evaluate the file's sympy expressions, resolve operators as attribute paths into torch and unpickle
sample inputs, custom objects and weights, without `weights_only` where that fails. Here the graph's JSON
(torch/_export/serde/schema.py) becomes steps under an allow list; a saved file holds the same graph without what could run when
torch loads it. Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

import ast
import io
import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bezoar.errors import InputError
from bezoar.files import atomic_file
from bezoar.models.opening.archive import Archive
from bezoar.models.opening.limits import MAX_JSON, parse_json, quoted
from bezoar.models.opening.opened import Core, State
from bezoar.models.opening.operators import SCALAR, aten, checked
from bezoar.models.opening.tensors import View, in_single_precision, require_finite

_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 9: torch.complex32, 10: torch.complex64, 11: torch.complex128, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
_MEMORY_FORMATS = {
    1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format,
}  # fmt: skip
_SYMPY = {
    "Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "Abs", "FloorDiv", "CleanDiv", "CeilDiv",
    "PythonMod", "IntTrueDiv", "FloatTrueDiv", "FloorToInt", "CeilToInt", "ToFloat", "Eq", "Ne", "Equality", "Unequality", "And",
    "Or", "Not", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "true", "false", "Piecewise", "ExprCondPair",
}  # fmt: skip
_SYNTAX = (
    ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Tuple,
    ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip
_SYMBOL = re.compile(r"[a-z]{1,4}\d*")
_CONFIGS = ("data/weights/{}_weights_config.json", "data/constants/{}_constants_config.json")
_FAILURES = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)


def open_exported(path: Path) -> Core:
    """The network in a `.pt2` archive; InputError or LimitError names what is refused."""
    archive = Archive(path)
    names = archive.names
    if archive.read("archive_format", 16) != b"pt2":
        raise InputError(f"{path}: is no archive of torch.export")
    if any(name.startswith(("data/aotinductor/", "data/executorch/", "executorch/")) for name in names):
        raise InputError(f"{path}: holds compiled code; export the model again with torch.export.save alone")
    models = [name for name in names if name.startswith("models/")]
    if len(models) != 1 or not models[0].endswith(".json"):
        raise InputError(f"{path}: holds {len(models)} programs; one is needed")
    document = parse_json(archive.read(models[0], MAX_JSON), f"{path}: {models[0]}")
    try:
        model = models[0].removeprefix("models/").removesuffix(".json")
        stored = _stored(archive, model)
        _check_expressions(document)
        program = _program(document, set(stored))
    except _FAILURES as error:
        raise InputError(
            f"{path}: is no program of torch.export that Bezoar knows ({quoted(error)})"
        ) from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    module = _ExportedModule(program, stored, archive)
    declared = {
        name: value
        for name, value in (("channels", program.shape[1]), ("size", program.shape[2:]))
        if not (value is None or (isinstance(value, tuple) and None in value))
    }
    return Core(
        module,
        lambda state, out: _write(archive, models[0], module.views, program, state, out),
        "pt2",
        declared=declared,
        batch=program.shape[0],
    )


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


@dataclass(frozen=True)
class _Program:
    """`image` is the input's name and `shape` its (N, C, H, W), None where it is free; `weights` maps values to what is stored."""

    steps: list[_Step]
    image: str
    shape: tuple[int | None, ...]
    weights: dict[str, str]
    constants: dict[str, Any]
    outputs: list[Any]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Program:
        return self  # never changes


class _ExportedModule(torch.nn.Module):  # type: ignore[misc]
    """The program; its tensors are parameters and buffers of this module, in the order of the file."""

    def __init__(self, program: _Program, stored: Mapping[str, tuple[View, bool]], archive: Archive) -> None:
        super().__init__()
        self._program = program
        self._slots: dict[str, str] = {}
        self.views: dict[str, View] = {}
        for name, (view, trained) in stored.items():
            slot = self._slots[name] = f"tensor_{len(self._slots)}"
            self.views[slot] = view
            tensor = in_single_precision(view.of(archive.read(view.record), archive.path))
            if trained and tensor.is_floating_point():
                require_finite(name, tensor, archive.path)
                self.register_parameter(slot, torch.nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(slot, tensor)

    def forward(self, images: torch.Tensor) -> Any:
        """What the program gives."""
        program = self._program
        values = dict(program.constants)
        values |= {name: getattr(self, self._slots[weight]) for name, weight in program.weights.items()}
        values[program.image] = images
        for step in program.steps:
            result = step.run(
                *(_filled(value, values) for value in step.arguments),
                **{name: _filled(value, values) for name, value in step.options.items()},
            )
            _bind(step.results, result, values)
            for name in step.last:
                del values[name]
        return [_filled(output, values) for output in program.outputs]


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


def _stored(archive: Archive, model: str) -> dict[str, tuple[View, bool]]:
    """Where each weight and constant lies, and whether it is trained; InputError for what would have to be unpickled."""
    stored: dict[str, tuple[View, bool]] = {}
    for pattern in _CONFIGS:
        config = pattern.format(model)
        folder = config.rpartition("/")[0]
        entries = parse_json(archive.read(config, MAX_JSON), config)["config"]
        for name, entry in entries.items():
            meta = entry["tensor_meta"]
            if entry["use_pickle"] or meta is None:
                raise InputError(
                    f"{quoted(name)} is stored as a pickle, which could run any program; nothing was run"
                )
            view = View(
                f"{folder}/{entry['path_name']}",
                _DTYPES[meta["dtype"]],
                tuple(_size(size["as_int"]) for size in meta["sizes"]),
                tuple(_size(size["as_int"]) for size in meta["strides"]),
                _size(meta["storage_offset"]["as_int"]),
            )
            stored[name] = (view, bool(entry["is_param"]))
    return stored


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value} is no size")
    return value


def _check_expressions(document: dict[str, Any]) -> None:
    """InputError for a symbolic expression that is more than arithmetic: `torch.export.load` evaluates it."""
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.values()
            text = value.get("expr_str", "0")
            if not isinstance(text, str) or not _is_arithmetic(text):
                raise InputError(
                    f"has the expression {quoted(text)}, which is no arithmetic; nothing was run"
                )
        elif isinstance(value, list):
            pending += value


def _is_arithmetic(text: str) -> bool:
    """Whether it is sympy's notation of sums, products and comparisons of symbols and numbers."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _SYNTAX):
            return False
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
            return False
        name = node.id if isinstance(node, ast.Name) else getattr(node, "value", None)
        if isinstance(name, str) and name not in _SYMPY and not _SYMBOL.fullmatch(name):
            return False
    return True


def _program(document: dict[str, Any], stored: set[str]) -> _Program:
    if document["schema_version"]["major"] != 8:
        raise InputError(
            f"has version {quoted(document['schema_version'])} of the format; export the model again"
        )
    graph, signature = document["graph_module"]["graph"], document["graph_module"]["signature"]
    weights: dict[str, str] = {}
    constants: dict[str, Any] = {}
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
    _check_names(steps, {images[0], *weights, *constants}, outputs)
    return _Program(_with_ends(steps, outputs), images[0], shape, weights, constants, outputs)


def _given(size: dict[str, Any]) -> int | None:
    return _size(size["as_int"]) if "as_int" in size else None


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
            return _DTYPES[value]
        case "as_memory_format":
            return _MEMORY_FORMATS[value]
        case "as_layout":
            return torch.strided
        case "as_device":
            return None  # where the images are
        case _:
            raise InputError(
                f"its graph has an argument of kind {quoted(kind)}, which image classifiers do not need"
            )


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
    needed = _names(outputs)
    ended: list[_Step] = []
    for step in reversed(steps):
        names = _names(step.arguments, list(step.options.values()), step.results)
        ended.append(
            _Step(step.run, step.arguments, step.options, step.results, tuple(sorted(names - needed)))
        )
        needed |= names
    return ended[::-1]


def _write(
    archive: Archive, model: str, views: dict[str, View], program: _Program, state: State, path: Path
) -> None:
    """The archive with the state in its records, fresh sample inputs, and no guards or notes for debuggers, which are code."""
    document = parse_json(archive.read(model, MAX_JSON), model)
    document["guards_code"] = []
    for node in document["graph_module"]["graph"]["nodes"]:
        node["metadata"] = {}
    sample = io.BytesIO()
    torch.save(((torch.zeros([size or 2 for size in program.shape]),), {}), sample)
    records: dict[str, bytes | None] = {name: None for name in archive.names if name.startswith("extra/")}
    records[model] = json.dumps(document).encode()
    records[model.replace("models/", "data/sample_inputs/").replace(".json", ".pt")] = sample.getvalue()
    for slot, view in views.items():
        content = records.get(view.record) or archive.read(view.record)
        records[view.record] = view.written(content, state[slot])
    with atomic_file(path) as out:
        archive.rewrite(out, records)


def _nothing(*_: Any, **__: Any) -> None:
    return None


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
    "_operator.getitem": lambda items, index: items[index],
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
