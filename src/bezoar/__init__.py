"""Bezoar keeps poison out of training data.

The public names are loaded on first use, so that `import bezoar` stays fast:

    dataset = bezoar.open("signs.parquet")
    result = bezoar.scan(dataset)
    bezoar.write(bezoar.clean(dataset, result), Path("cleaned.parquet"))

    bezoar.fetch(UrlList.open("list.parquet"), "signs")  # every byte against the list's hashes
    bezoar.seal("signs", signer)
    bezoar.verify("signs", verifier).valid
    bezoar.open("signs", verify="maker.pub")  # raises at the first record that is not as it was sealed

    model = bezoar.open_model("model.onnx")  # runs none of its code
    result = bezoar.inspect(model, dataset)
    bezoar.repair(model, dataset, result)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.acquire.fetching import fetch
    from bezoar.attacks import poison
    from bezoar.custody.seal.sealing import seal
    from bezoar.custody.seal.streaming import open_dataset as open  # noqa: A004 - the verb of this package
    from bezoar.custody.seal.verifying import verify
    from bezoar.data import write
    from bezoar.inspect import inspect
    from bezoar.inspect.repair import repair
    from bezoar.models.opening import open_model
    from bezoar.scan import scan
    from bezoar.scan.clean import clean

__all__ = [
    "__version__",
    "clean",
    "fetch",
    "inspect",
    "open",
    "open_model",
    "poison",
    "repair",
    "scan",
    "seal",
    "verify",
    "write",
]

__version__ = "0.1.0"

_HOME = {
    "clean": ("bezoar.scan.clean", "clean"),
    "fetch": ("bezoar.acquire.fetching", "fetch"),
    "open": ("bezoar.custody.seal.streaming", "open_dataset"),
    "open_model": ("bezoar.models.opening", "open_model"),
    "poison": ("bezoar.attacks", "poison"),
    "repair": ("bezoar.inspect.repair", "repair"),
    "seal": ("bezoar.custody.seal.sealing", "seal"),
    "verify": ("bezoar.custody.seal.verifying", "verify"),
    "write": ("bezoar.data", "write"),
}


def __getattr__(name: str) -> Any:
    if name in ("inspect", "scan"):  # the package and the verb share a name: the package is callable
        return importlib.import_module(f"bezoar.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
