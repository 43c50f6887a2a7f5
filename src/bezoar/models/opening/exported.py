"""`.pt2` archives of `torch.export.save`, read as a list of operators instead of loaded.

`torch.export.load` would evaluate the file's sympy expressions, resolve operators as attribute paths into torch and unpickle
sample inputs, custom objects and weights, without `weights_only` where that fails. Here the graph becomes steps under an allow
list (`exported_graph`); a saved file holds the same graph without what could run when torch loads it. Imports torch: import this
module inside the function that needs it.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bezoar.errors import InputError, quoted
from bezoar.files import atomic_file
from bezoar.models.opening.archive import Archive
from bezoar.models.opening.exported_graph import DTYPES, Program, read_program, size_of
from bezoar.models.opening.limits import MAX_JSON, parse_json
from bezoar.models.opening.opened import Core, State
from bezoar.models.opening.tensors import View, in_single_precision, require_finite

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
        program = read_program(document, set(stored))
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


class _ExportedModule(torch.nn.Module):  # type: ignore[misc]
    """The program; its tensors are parameters and buffers of this module, in the order of the file."""

    def __init__(self, program: Program, stored: Mapping[str, tuple[View, bool]], archive: Archive) -> None:
        super().__init__()
        self._program = program
        self._slots: dict[str, str] = {}
        self.views: dict[str, View] = {}
        slots: dict[View, str] = {}  # two names may share one tensor
        for name, (view, trained) in stored.items():
            slot = self._slots[name] = slots.setdefault(view, f"tensor_{len(slots)}")
            if slot in self.views:
                continue
            self.views[slot] = view
            tensor = in_single_precision(view.of(archive.read(view.record), archive.path))
            if trained and tensor.is_floating_point():
                require_finite(name, tensor, archive.path)
                self.register_parameter(slot, torch.nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(slot, tensor)

    def forward(self, images: torch.Tensor) -> Any:
        """What the program gives."""
        return self._program.run(images, lambda name: getattr(self, self._slots[name]))


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
                DTYPES[meta["dtype"]],
                tuple(size_of(size["as_int"]) for size in meta["sizes"]),
                tuple(size_of(size["as_int"]) for size in meta["strides"]),
                size_of(meta["storage_offset"]["as_int"]),
            )
            stored[name] = (view, bool(entry["is_param"]))
    return stored


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


def _write(
    archive: Archive, model: str, views: dict[str, View], program: Program, state: State, path: Path
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
