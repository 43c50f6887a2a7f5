"""Bezoar keeps poison out of training data.

The public names are loaded on first use, so that `import bezoar` stays fast:

    dataset = bezoar.open("signs.parquet")
    result = bezoar.scan(dataset)
    bezoar.write(bezoar.clean(dataset, result), Path("cleaned.parquet"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.attacks import poison
    from bezoar.data import open, write  # noqa: A004 - the verb of this package
    from bezoar.scan import scan
    from bezoar.scan.clean import clean

__all__ = ["__version__", "clean", "open", "poison", "scan", "write"]

__version__ = "0.1.0"

_HOME = {
    "clean": "bezoar.scan.clean",
    "open": "bezoar.data",
    "poison": "bezoar.attacks",
    "write": "bezoar.data",
}


def __getattr__(name: str) -> Any:
    if name == "scan":  # the package and the verb share a name: the package is callable
        return importlib.import_module("bezoar.scan")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
