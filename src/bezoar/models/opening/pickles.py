"""Pickles read as data: a small machine for the instructions that torch's exporters write; nothing is imported or called.

A pickle is a program (https://docs.python.org/3/library/pickle.html, `pickletools`). Here its objects become `Object`s with a
name and a state, its tensors become views of storages that the caller provides, and any other name is an InputError.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from bezoar.errors import InputError, quoted
from bezoar.models.opening.limits import first_line


@dataclass(eq=False, repr=False)
class Object:
    """An instance of the class `name`, with its attributes."""

    name: str
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Storage:
    """`numel` numbers of one type, such as "FloatStorage", in a record."""

    record: str
    kind: str
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage, as `torch.as_strided` takes it; not yet checked against the storage's size."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    name: str


_MARK = object()
_REBUILT = ("parameter", "tensor", "tensor_v3", "sparse_tensor", "meta_tensor_no_storage")
_OPAQUE = {f"torch._utils _rebuild_{kind}" for kind in _REBUILT} | {
    "torch Size", "torch device", "torch.serialization _get_layout", "collections Counter", "_codecs encode",
}  # fmt: skip
_LISTS = {f"torch.jit._pickle build_{kind}list" for kind in ("int", "bool", "double", "tensor")}


def read_pickle(content: bytes, where: str, folder: str) -> Any:
    """What a pickle describes: JSON-like values, tuples, `Object`s and `StoredTensor`s, whose records are in `folder`.

    InputError for anything else in it.
    """
    return _value(content, _Machine(where, folder))


def check_weights(stream: BinaryIO, where: str) -> None:
    """InputError unless the next pickle in `stream` describes tensors and plain values, whatever it wraps them in.

    `torch.load(weights_only=True)` runs nothing either, but makes arrays as large as a pickle says, and looks nested keys up.
    """
    _value(stream, _Machine(where, "", _OPAQUE))


def _value(content: bytes | BinaryIO, machine: _Machine) -> Any:
    where = machine.where
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                (value,) = machine.stack
                return value
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise InputError(f"{where}: is a damaged or truncated pickle ({first_line(error)})") from error
    raise InputError(f"{where}: is a truncated pickle")


def names_in(content: bytes) -> list[str]:
    """Every "module name" that a pickle would import, as far as it can be read."""
    names: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in ("GLOBAL", "INST"):
                names.append(str(argument))
            elif opcode.name == "STACK_GLOBAL":
                names.append(" ".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    except Exception:  # noqa: S110 - only for a message; the pickle is refused anyway
        pass
    return names


class _Machine:
    def __init__(self, where: str, folder: str, opaque: Set[str] = frozenset()) -> None:
        self.stack: list[Any] = []
        self.where = where
        self._folder, self._opaque = folder, opaque
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """One instruction."""
        stack = self.stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name == "GLOBAL":
            stack.append(_Name(argument))
        elif name == "TUPLE":
            stack.append(tuple(self._marked()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._popped(int(name[-1]))))
        elif name in _ACTIONS:
            _ACTIONS[name](self)
        elif name not in ("PROTO", "FRAME"):
            raise InputError(
                f"{self.where}: has the pickle instruction {name}, which torch does not write here"
            )

    def _popped(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("stack underflow")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def _marked(self) -> list[Any]:
        start = len(self.stack) - 1
        while self.stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise ValueError("no mark")
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items

    def _append(self) -> None:
        item = self.stack.pop()
        self._last(list).append(item)

    def _appends(self) -> None:
        items = self._marked()
        self._last(list).extend(items)

    def _set_items(self) -> None:
        items = self._marked()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def _set_item(self) -> None:
        self._set(*self._popped(2))

    def _set(self, key: Any, value: Any) -> None:
        """Keys are texts and numbers: looking a nested tuple up can take years, or overflow the stack."""
        if not isinstance(key, str | int | float):
            raise TypeError("a dictionary has keys that are neither texts nor numbers")
        self._last(dict)[key] = value

    def _last(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"no {kind.__name__}")
        return self.stack[-1]

    def _new(self) -> None:
        cls, arguments = self._popped(2)
        if not isinstance(cls, _Name) or arguments != () or not _is_script_class(cls.name):
            raise self._refused(cls)
        self.stack.append(Object(cls.name.replace(" ", ".")))

    def _build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], dict):
            return  # the versions of layers, beside the weights
        target = self._last(Object)
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise TypeError("the state of an object is no dictionary")
        target.state.update(state)

    def _persistent(self) -> None:
        kind, storage, key, _, numel = self.stack.pop()[:5]
        if (
            kind != "storage"
            or not isinstance(storage, _Name)
            or not storage.name.startswith(("torch ", "torch.storage "))
        ):
            raise ValueError("no storage")
        if not isinstance(key, str) or not isinstance(numel, int):
            raise TypeError("no storage")
        self.stack.append(Storage(f"{self._folder}/{key}", storage.name.removeprefix("torch "), numel))

    def _reduce(self) -> None:
        function, arguments = self._popped(2)
        name = function.name if isinstance(function, _Name) else None
        if name == "collections OrderedDict" and arguments == ():
            self.stack.append({})
        elif name in _LISTS:
            (items,) = arguments
            self.stack.append(items)
        elif name == "torch.jit._pickle restore_type_tag":
            value, _ = arguments
            self.stack.append(value)
        elif name and _is_script_class(name) and isinstance(arguments, str | int):
            self.stack.append(arguments)  # a member of an enumeration, by its value
        elif name == "torch._utils _rebuild_tensor_v2":
            storage, offset, size, stride = arguments[:4]
            if not isinstance(storage, Storage) or not _are_sizes(offset, *size, *stride):
                raise ValueError("no tensor")
            self.stack.append(StoredTensor(storage, offset, tuple(size), tuple(stride)))
        elif name and name in self._opaque:
            self.stack.append(Object(name))
        else:
            raise self._refused(function)

    def _refused(self, what: Any) -> InputError:
        name = what.name.replace(" ", ".") if isinstance(what, _Name) else type(what).__name__
        return InputError(
            f"{self.where}: its pickle calls {quoted(name)}, which no tensor needs; nothing was run"
        )


def _is_script_class(name: str) -> bool:
    """Whether it is a class that the archive itself defines, not one of C++."""
    return name.startswith("__torch__") and not name.startswith("__torch__.torch.classes")


def _are_sizes(*values: Any) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "SHORT_BINSTRING",
}  # fmt: skip
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "NEWOBJ": _Machine._new,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent,
    "REDUCE": _Machine._reduce,
}
