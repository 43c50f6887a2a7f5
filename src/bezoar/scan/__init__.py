"""Scanning a dataset for poison: `bezoar.scan(dataset)` gives a `ScanResult`.

The package and the verb share a name, and importing any module below this one binds `bezoar.scan` to the
package: so the package itself can be called, and `bezoar.scan(...)` means `bezoar.scan.scan(...)` whatever
was imported first.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.scan.clean import clean
    from bezoar.scan.pipeline import scan
    from bezoar.scan.result import ScanResult

__all__ = ["ScanResult", "clean", "scan"]

_HOME = {"ScanResult": "bezoar.scan.result", "scan": "bezoar.scan.pipeline"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> ScanResult:
        """`bezoar.scan.scan`."""
        result: ScanResult = self.scan(*args, **kwargs)
        return result


sys.modules[__name__].__class__ = _CallablePackage
