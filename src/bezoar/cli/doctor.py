"""`bezoar doctor`: what is installed here, and how fast this machine is at what a scan spends its time on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from bezoar import __version__
from bezoar.cli.options import format_option

_LIBRARIES = ("numpy", "scipy", "pyarrow", "pillow", "jinja2", "rich", "click")
_EXTRAS = {
    "torch": ("torch",),
    "onnx": ("onnxruntime",),
    "timm": ("timm", "torch"),
    "hf": ("transformers", "torch"),
}
_MATRIX = 1024
_HASH_BYTES = 32 << 20
_MEASURE_S = 0.3


@dataclass(frozen=True, slots=True)
class _Machine:
    """What `doctor` reports; `gflops` is of a float32 matrix product, `sha256_gb_s` of one core."""

    bezoar: str
    python: str
    platform: str
    cores: int
    libraries: dict[str, str]
    extras: dict[str, bool]
    blas: list[str]
    gflops: float
    sha256_gb_s: float
    cache: str
    cache_bytes: int
    data_packs: str | None


@click.command("doctor")
@format_option
def command(form: str) -> int:
    """Show versions, extras, the cache and the speed of this machine."""
    machine = _examine()
    click.echo(json.dumps(asdict(machine), indent=1) if form == "json" else _text(machine))
    return 0


def _examine() -> _Machine:
    from bezoar.embed import default_cache

    cache = default_cache()
    packs = os.environ.get("BEZOAR_DATA")
    return _Machine(
        bezoar=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        libraries={name: importlib.metadata.version(name) for name in _LIBRARIES},
        extras={extra: all(map(_present, modules)) for extra, modules in _EXTRAS.items()},
        blas=_blas(),
        gflops=round(_gflops(), 1),
        sha256_gb_s=round(_hash_speed(), 2),
        cache=str(cache),
        cache_bytes=sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()),
        data_packs=packs if packs and Path(packs).is_dir() else None,
    )


def _text(machine: _Machine) -> str:
    from bezoar.report.text import shown

    extras = [
        f"  {name:<16}" + ("present" if there else f'missing: pip install "bezoar[{name}]"')
        for name, there in machine.extras.items()
    ]
    return "\n".join(
        [
            f"bezoar {machine.bezoar}, Python {machine.python}, {machine.platform}",
            "",
            "libraries",
            *(f"  {name:<16}{version}" for name, version in machine.libraries.items()),
            "",
            "extras",
            *extras,
            "",
            "speed",
            f"  {'cores':<16}{machine.cores}",
            f"  {'BLAS':<16}{', '.join(machine.blas) or 'unknown'}",
            f"  {'matrix product':<16}{machine.gflops:,.1f} GFLOP/s (float32)",
            f"  {'SHA-256':<16}{machine.sha256_gb_s:.2f} GB/s (one core)",
            "",
            "folders",
            f"  {'cache':<16}{shown(machine.cache, 1000)} ({machine.cache_bytes / 1e6:,.1f} MB)",
            f"  {'test data':<16}{shown(machine.data_packs or 'not set (BEZOAR_DATA)', 1000)}",
        ]
    )


def _present(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _blas() -> list[str]:
    import numpy as np  # loads the BLAS that is then asked about
    from threadpoolctl import threadpool_info

    np.zeros((2, 2)) @ np.zeros((2, 2))
    return [
        f"{pool['internal_api']} {pool.get('version') or ''} {pool.get('architecture', '')}, "
        f"{pool['num_threads']} threads"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]


def _gflops() -> float:
    """Best of the repetitions that fit into a moment, after one to warm up."""
    import numpy as np

    matrix = np.random.default_rng(0).random((_MATRIX, _MATRIX), dtype=np.float32)
    matrix @ matrix
    return 2 * _MATRIX**3 / _best(lambda: matrix @ matrix) / 1e9


def _hash_speed() -> float:
    block = bytes(_HASH_BYTES)
    return _HASH_BYTES / _best(lambda: hashlib.sha256(block).digest()) / 1e9


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest run of `work`: the others were disturbed."""
    runs: list[float] = []
    while sum(runs) < _MEASURE_S:
        start = time.perf_counter()
        work()
        runs.append(time.perf_counter() - start)
    return min(runs)
