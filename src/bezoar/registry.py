"""Plug-in registries: one per kind of thing (formats, attacks, encoders, detectors).

A registry maps a name to an object. A duplicate name raises, so that no plug-in silently replaces another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from bezoar.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects of one kind, in registration order."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, name: str, item: T) -> T:
        """Add `item` under `name` and return it; ValueError when the name is taken."""
        if name in self._items:
            raise ValueError(f"{self.kind} {name!r} is registered already")
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> T:
        try:
            return self._items[name]
        except KeyError:
            known = ", ".join(self._items)
            raise UsageError(f"unknown {self.kind} {name!r}; known: {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def items(self) -> Iterator[tuple[str, T]]:
        """Name and object pairs, in registration order."""
        return iter(self._items.items())
