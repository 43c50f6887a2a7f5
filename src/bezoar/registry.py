"""Plug-in registries: one per kind of thing (formats, attacks, encoders, detectors).

A registry maps a name to an object. A duplicate name raises, so that no plug-in silently replaces another. Other distributions
add to a registry by an entry point of its group, which is imported when it is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects of one kind: those registered, in that order, then those of the entry points of `group`, by name.

    An entry point that cannot be imported, or that has the name of another, is an InputError that names its
    distribution; listing passes over those that cannot be imported, with a warning.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._items: dict[str, T] = {}
        self._plugins: dict[str, EntryPoint] | None = None

    def register(self, name: str, item: T) -> T:
        """Add `item` under `name` and return it; ValueError when the name is taken."""
        if name in self._items:
            raise ValueError(f"{self.kind} {name!r} is registered already")
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> T:
        if name in self._items:
            return self._items[name]
        plugins = self._found()
        if name not in plugins:
            raise UsageError(f"unknown {self.kind} {name!r}; known: {', '.join(self)}")
        return self._loaded(plugins[name])

    def __iter__(self) -> Iterator[str]:
        yield from self._items
        yield from self._found()

    def __contains__(self, name: object) -> bool:
        return name in self._items or name in self._found()

    def items(self) -> Iterator[tuple[str, T]]:
        """Name and object pairs, in the registry's order."""
        yield from self._items.items()
        for name, plugin in self._found().items():
            try:
                item = self._loaded(plugin)
            except InputError as error:
                warnings.warn(str(error), stacklevel=2)
                continue
            yield name, item

    def _found(self) -> dict[str, EntryPoint]:
        """The entry points by name, looked up once, not imported."""
        if self._plugins is None:
            plugins: dict[str, EntryPoint] = {}
            for plugin in self._installed():
                other = plugins.get(plugin.name)
                if plugin.name in self._items or other is not None:
                    whose = "bezoar" if other is None else _distribution(other)
                    raise InputError(
                        f"{self.kind} {plugin.name!r} of {_distribution(plugin)} has the name of one of {whose}; "
                        "uninstall one of them"
                    )
                plugins[plugin.name] = plugin
            self._plugins = plugins
        return self._plugins

    def _installed(self) -> list[EntryPoint]:
        if self.group is None:
            return []
        from importlib.metadata import entry_points

        return sorted(entry_points(group=self.group), key=lambda plugin: plugin.name)

    def _loaded(self, plugin: EntryPoint) -> T:
        try:
            item: T = plugin.load()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            raise InputError(
                f"{self.kind} {plugin.name!r} of {_distribution(plugin)} cannot be loaded ({reason}); "
                "update or uninstall it"
            ) from error
        return item


def _distribution(plugin: EntryPoint) -> str:
    return f"the distribution {plugin.dist.name!r}" if plugin.dist else "an unnamed distribution"
