"""TorchScript archives (`torch.jit.save` of a scripted, traced or frozen module), interpreted instead of loaded.

`torch.jit.load` would unpickle with C++ classes, run `__setstate__` and compile calls of any registered operator. Here pickles
are read as data (`pickles`), the code is walked under an allow list (`script_code`), and a saved file is the archive again with
other numbers in its storages. Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bezoar.errors import InputError, LimitError, quoted
from bezoar.files import atomic_file
from bezoar.models.opening.archive import Archive
from bezoar.models.opening.opened import Core, State
from bezoar.models.opening.pickles import Object, StoredTensor, read_pickle
from bezoar.models.opening.script_code import Code, Interpreter
from bezoar.models.opening.tensors import DTYPES, View, in_single_precision, require_finite

_MAX_CODE = 16 * 2**20  # bytes of all sources
_MAX_PICKLE = 64 * 2**20

_Named = tuple[str, StoredTensor, bool]


def open_torchscript(path: Path) -> Core:
    """The network in a TorchScript archive; InputError or LimitError names what is refused."""
    archive = Archive(path)
    if "byteorder" in archive.names and archive.read("byteorder", 16) != b"little":
        raise InputError(f"{path}: was saved on a big-endian machine; save it again on this one")
    root = read_pickle(archive.read("data.pkl", _MAX_PICKLE), f"{path}: data.pkl", "data")
    constants = []
    if "constants.pkl" in archive.names:
        constants = read_pickle(
            archive.read("constants.pkl", _MAX_PICKLE), f"{path}: constants.pkl", "constants"
        )
    if not isinstance(root, Object) or not isinstance(constants, list | tuple):
        raise InputError(f"{path}: holds a {type(root).__name__}, not a TorchScript module")
    try:
        code = Code(_sources(archive))
        tensors = _tensors(code, root, list(constants))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    module = _ScriptModule(code, root, list(constants), tensors, archive)
    return Core(module, lambda state, out: _write(archive, module.views, state, out), "torchscript")


class _ScriptModule(torch.nn.Module):  # type: ignore[misc]
    """A TorchScript module; its tensors are parameters and buffers of this one, in the order in which they are found."""

    def __init__(
        self, code: Code, root: Object, constants: list[Any], tensors: list[_Named], archive: Archive
    ) -> None:
        super().__init__()
        self._code, self._root, self._constants = code, root, constants
        self._slots: dict[StoredTensor, str] = {}
        self.views: dict[str, View] = {}
        contents: dict[str, bytes] = {}
        for name, stored, trained in tensors:
            slot = self._slots.setdefault(stored, f"tensor_{len(self._slots)}")
            if slot in self.views:
                continue
            view = _view(stored, archive)
            if view.record not in contents:
                contents[view.record] = archive.read(view.record)
            tensor = in_single_precision(view.of(contents[view.record], archive.path))
            self.views[slot] = view
            if trained and tensor.is_floating_point():
                require_finite(name, tensor, archive.path)
                self.register_parameter(slot, torch.nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(slot, tensor)

    def forward(self, images: torch.Tensor) -> Any:
        """What the method `forward` gives."""
        lists: dict[int, Any] = {}
        interpreter = Interpreter(
            self._code, self._constants, lambda stored: self._value(stored, lists), images.device
        )
        return interpreter.call_method(self._root, "forward", [images], {})

    def _value(self, stored: Any, lists: dict[int, Any]) -> Any:
        """An attribute as the code sees it; `lists` are this pass's own, so that none changes what the next one reads."""
        if isinstance(stored, StoredTensor):
            return getattr(self, self._slots[stored])
        if not isinstance(stored, list | tuple | dict):
            return stored
        if id(stored) not in lists:
            if isinstance(stored, dict):
                lists[id(stored)] = {key: self._value(value, lists) for key, value in stored.items()}
            else:
                lists[id(stored)] = type(stored)(self._value(value, lists) for value in stored)
        return lists[id(stored)]


def _sources(archive: Archive) -> dict[str, str]:
    names = [name for name in archive.names if name.startswith("code/") and name.endswith(".py")]
    if sum(map(archive.size, names)) > _MAX_CODE:
        raise LimitError(f"{archive.path}: has more than {_MAX_CODE >> 20} MiB of code")
    try:
        return {name.removeprefix("code/"): archive.read(name).decode() for name in names}
    except UnicodeDecodeError as error:
        raise InputError(f"{archive.path}: its code is no text") from error


def _tensors(code: Code, root: Object, constants: list[Any]) -> list[_Named]:
    """Name, place and whether it is trained, of all tensors; constants of a frozen module are its weights."""
    found: list[_Named] = []
    seen: set[int] = set()
    pending: list[tuple[str, Any, bool]] = [
        *((f"CONSTANTS.c{i}", value, True) for i, value in reversed(list(enumerate(constants)))),
        ("", root, False),
    ]
    while pending:
        name, value, trained = pending.pop()
        if isinstance(value, StoredTensor):
            found.append((name, value, trained and bool(value.size)))
        elif isinstance(value, Object | list | tuple | dict) and id(value) not in seen:
            seen.add(id(value))
            parameters = code.parameters(value.name) if isinstance(value, Object) else set()
            pending += [
                (f"{name}.{key}".lstrip("."), item, trained or key in parameters)
                for key, item in reversed(_items(value))
            ]
    return found


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Object):
        return list(value.state.items())
    return list(value.items() if isinstance(value, dict) else enumerate(value))


def _view(stored: StoredTensor, archive: Archive) -> View:
    kind = stored.storage.kind
    if kind not in DTYPES:
        raise InputError(
            f"{archive.path}: has a tensor of type {quoted(kind)}; quantised models cannot be inspected"
        )
    view = View(stored.storage.record, DTYPES[kind], stored.size, stored.stride, stored.offset)
    if archive.size(view.record) != stored.storage.numel * view.dtype.itemsize:
        raise InputError(
            f"{archive.path}: {quoted(view.record)} is not as long as its tensor; is the file complete?"
        )
    return view


def _write(archive: Archive, views: dict[str, View], state: State, path: Path) -> None:
    """The archive with the state in its storages, without what only serves debuggers and tracing."""
    records: dict[str, bytes | None] = {
        name: None
        for name in archive.names
        if name.endswith(".debug_pkl") or name.startswith(("traced_inputs", "extra/"))
    }
    for slot, view in views.items():
        content = records.get(view.record) or archive.read(view.record)
        records[view.record] = view.written(content, state[slot])
    with atomic_file(path) as out:
        archive.rewrite(out, records)
