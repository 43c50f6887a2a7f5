"""Inspecting a trained model for backdoors: `bezoar.inspect(model, dataset)` gives an `InspectionResult` (docs/adr/0010).

The package and the verb share a name, so the package itself can be called, as `bezoar.scan` can.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.inspect.pipeline import inspect
    from bezoar.inspect.result import InspectionResult

__all__ = ["InspectionResult", "inspect"]

_HOME = {"InspectionResult": "bezoar.inspect.result", "inspect": "bezoar.inspect.pipeline"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> InspectionResult:
        """`bezoar.inspect.inspect`."""
        result: InspectionResult = self.inspect(*args, **kwargs)
        return result


sys.modules[__name__].__class__ = _CallablePackage
