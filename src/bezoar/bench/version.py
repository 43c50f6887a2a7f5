"""What produced a measurement: Bezoar's version and a hash of the code that a measurement depends on."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bezoar
from bezoar.bench.settings import SETTINGS
from bezoar.devices import gpu_name

_PACKAGES = ("scan", "attacks", "embed", "graphs", "data")
_MODULES = (
    "devices.py",
    "seeds.py",
    "models/dynamics.py",
    "models/precision.py",
    "models/surrogate.py",
    "models/text.py",
    "models/threads.py",
    "models/train.py",
    "bench/building.py",
    "bench/cell.py",
    "bench/honest.py",
    "bench/packs.py",
    "bench/potency.py",
    "bench/power.py",
    "bench/settings.py",
    "bench/statistics.py",
    "bench/trial.py",
)
_TRIAL_PACKAGES = ("attacks", "embed", "graphs", "data")
_TRIAL_MODULES = (
    "devices.py",
    "seeds.py",
    "models/precision.py",
    "models/surrogate.py",
    "models/text.py",
    "models/threads.py",
    "models/train.py",
    "bench/packs.py",
    "bench/potency.py",
    "bench/building.py",
    "bench/trial.py",
)
_INSPECTION_PACKAGES = ("inspect", "models", "graphs", "bench/zoo")
_INSPECTION_MODULES = ("devices.py", "seeds.py", "bench/inspection.py", "bench/packs.py", "bench/potency.py")
_CALIBRATION = "inspect/calibration.json"
_LIBRARIES = ("numpy", "scipy", "torch")


@cache
def code_version() -> str:
    """Such as "0.1.0+3f2a9c01d4": changes when the code does, not when its comments, docstrings or layout do."""
    return _version(_PACKAGES, _MODULES)


@cache
def trial_version(setting: str) -> str:
    """The same of what poisons as that setting says, and trains; the scan's code is no part of it, nor are other settings."""
    code = _version(_TRIAL_PACKAGES, _TRIAL_MODULES)
    return f"{code}.{hashlib.sha256(repr(SETTINGS[setting]).encode()).hexdigest()[:6]}"


@cache
def inspection_version() -> str:
    """The same of what measures inspections, with what their nulls were calibrated to."""
    return _version(_INSPECTION_PACKAGES, _INSPECTION_MODULES, _CALIBRATION)


@cache
def _version(packages: tuple[str, ...], modules: tuple[str, ...], data: str | None = None) -> str:
    root = Path(bezoar.__file__).parent
    files = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
    files += [root / module for module in modules]
    digest = hashlib.sha256()
    for path in files:
        digest.update(
            str(path.relative_to(root)).encode() + b"\0" + essence(path.read_text()).encode() + b"\0"
        )
    if data is not None:
        digest.update((root / data).read_bytes())
    return f"{bezoar.__version__}+{digest.hexdigest()[:10]}"


@cache
def library_versions() -> str:
    """Such as "numpy 2.4.6, scipy 1.17.0": of those that are installed and that results depend on."""
    found = []
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def machine() -> str:
    """Such as "x86_64, 2 cores", and the GPU that torch sees."""
    gpu = gpu_name()
    return f"{platform.machine()}, {os.cpu_count()} cores" + (f", {gpu}" if gpu else "")


def essence(source: str) -> str:
    """Python source without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
