"""Files that hold weights and no network: safetensors, and state dicts that `torch.save` wrote.

safetensors (https://huggingface.co/docs/safetensors) is read here, byte by byte: a header that is checked against the file before
memory is taken. State dicts are pickles; `torch.load(weights_only=True)` reads them and refuses all that is no tensor. Imports
torch: import this module inside the function that needs it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bezoar.errors import InputError, LimitError, OutputError, quoted
from bezoar.files import atomic_file
from bezoar.models.opening.archive import Archive
from bezoar.models.opening.limits import parse_json, require_memory
from bezoar.models.opening.pickles import check_weights, names_in
from bezoar.models.opening.tensors import MAX_AXES, View, in_single_precision, require_finite

State = dict[str, torch.Tensor]
_MAX_HEADER = 2**25  # bytes
_LEGACY_PICKLES = 5  # a number, the protocol, the machine, the weights, their storages: bytes follow
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_HARMLESS = ("torch._utils", "torch.storage", "collections ", "__builtin__ ", "builtins set", "torch ")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_PREFIXES = ("", "module.", "_orig_mod.", "module._orig_mod.", "model.", "model._orig_mod.", "net.")


@dataclass(frozen=True)
class Weights:
    """Tensors by name, in single precision and on the CPU, and how to write others of the same names and shapes."""

    tensors: State
    write: Callable[[State, Path], None]

    def fitting(self, names: Set[str]) -> Weights:
        """The same tensors without what DataParallel, torch.compile or Lightning put before `names`; itself where nothing was."""
        for prefix in _PREFIXES:
            if all(name.startswith(prefix) and name.removeprefix(prefix) in names for name in self.tensors):
                break
        else:
            return self
        tensors = {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items()}
        write = self.write
        return Weights(tensors, lambda state, out: write({prefix + n: t for n, t in state.items()}, out))


def read_safetensors(path: Path) -> Weights:
    """The tensors of a safetensors file; InputError when it is damaged, LimitError when it does not fit into memory."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = file.seek(0, 2) - 8 - length
            if length > _MAX_HEADER:
                raise LimitError(
                    f"{path}: its header would have {length:,} bytes; at most {_MAX_HEADER:,} are read of one"
                )
            if size < 0:
                raise InputError(f"{path}: is truncated within its header; download or save it again")
            file.seek(8)
            header = file.read(length)
            views = _views(parse_json(header, f"{path}: its header"), size, path)
            require_memory(size, path)
            tensors = {}
            for name, (view, start, end) in views.items():
                file.seek(8 + length + start)
                tensors[name] = in_single_precision(view.of(file.read(end - start), path))
                require_finite(name, tensors[name], path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error

    def write(state: State, out: Path) -> None:
        if absent := views.keys() - state.keys():
            raise OutputError(f"{out}: the library gave no weights {quoted(min(absent))} to write")
        with atomic_file(out) as target:
            target.write(length.to_bytes(8, "little") + header)
            for name, (view, start, end) in sorted(views.items(), key=lambda item: item[1][1]):
                target.write(view.written(bytes(end - start), state[name]))

    return Weights(tensors, write)


def _views(header: dict[str, Any], size: int, path: Path) -> dict[str, tuple[View, int, int]]:
    """Of each tensor: its view, first and last byte; they must cover the `size` bytes after the header exactly."""
    views = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            if len(shape) > MAX_AXES:
                raise ValueError(f"it has {len(shape):,} axes")
            if not all(type(value) is int and value >= 0 for value in (start, end, *shape)):
                raise ValueError("a size is no whole number")
            if dtype not in _DTYPES:
                raise InputError(
                    f"{path}: {quoted(name)} is of type {quoted(dtype)}; save it with 16 or 32 bits"
                )
            if end - start != math.prod(shape) * _DTYPES[dtype].itemsize:
                raise ValueError("its bytes do not fit its shape")
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(
                f"{path}: the header entry of {quoted(name)} is damaged ({quoted(error)})"
            ) from error
        stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        views[name] = (View(name, _DTYPES[dtype], shape, stride, 0), start, end)
    position = 0
    for name, (_, start, end) in sorted(views.items(), key=lambda item: item[1][1:]):
        if start != position:
            raise InputError(f"{path}: the bytes of {quoted(name)} overlap others or leave a gap")
        position = end
    if position != size:
        raise InputError(
            f"{path}: has {size:,} bytes of weights, its header promises {position:,}: truncated or damaged"
        )
    return views


def read_state_dict(path: Path) -> Weights:
    """The tensors of a state dict; dictionaries that wrap it are seen through.

    InputError when the pickle holds more than tensors (a whole module, say), with what.
    """
    document = _load(path)
    inner = _unwrapped(document)
    found = {name: value for name, value in inner.items() if isinstance(value, torch.Tensor)}
    if not found:
        raise InputError(f"{path}: holds no tensors by name; save the model's state_dict()")
    tensors = {}
    for name, tensor in found.items():
        _check(name, tensor, path)
        tensors[name] = in_single_precision(tensor.contiguous())
        require_finite(name, tensor, path)

    def write(state: State, out: Path) -> None:
        document = _load(path)
        target = _unwrapped(document)
        for name, tensor in state.items():
            target[name] = tensor.detach().cpu().to(target[name].dtype)
        with atomic_file(out) as file:
            torch.save(document, file)

    return Weights(tensors, write)


def _load(path: Path) -> Any:
    source = (
        io.BytesIO()
    )  # for torch, whose own reader of archives may find other records in a file than those checked here
    names: list[str] = []
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        archive = Archive(path)
        content = archive.read("data.pkl", _MAX_HEADER)
        names, pickles, count = names_in(content), io.BytesIO(content), 1
        archive.rewrite(source, {})
    else:
        require_memory(path.stat().st_size, path)
        source.write(path.read_bytes())
        pickles, count = source, _LEGACY_PICKLES
    try:
        pickles.seek(0)
        for _ in range(count):
            check_weights(pickles, str(path))
        source.seek(0)
        return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many unrelated types for a pickle that it refuses
        foreign = [name.replace(" ", ".") for name in names if not name.startswith(_HARMLESS)]
        what = (
            f"holds {quoted(foreign[0])}" if foreign else "is damaged, truncated, or holds more than tensors"
        )
        raise InputError(
            f"{path}: the pickle {what}; only tensors are loaded, since anything else can run programs: "
            "save the model's state_dict(), or safetensors"
        ) from error


def _unwrapped(document: Any) -> dict[str, Any]:
    for _ in range(2):
        if isinstance(document, dict):
            inner = [document[key] for key in _WRAPPERS if isinstance(document.get(key), dict)]
            document = inner[0] if inner else document
    return document if isinstance(document, dict) and all(isinstance(key, str) for key in document) else {}


def _check(name: str, tensor: torch.Tensor, path: Path) -> None:
    if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized:
        raise InputError(
            f"{path}: {quoted(name)} is sparse, quantised or without numbers; save it as a plain tensor"
        )
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise LimitError(f"{path}: {quoted(name)} claims more numbers than the file has")
