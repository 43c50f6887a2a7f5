"""From a specification (`default`, `onnx:PATH`, `timm:NAME`, `hf:NAME`) to an encoder."""

from __future__ import annotations

from collections.abc import Callable

from bezoar.embed.base import Encoder
from bezoar.errors import UsageError
from bezoar.registry import Registry

Loader = Callable[[str], Encoder]
ENCODERS: Registry[Loader] = Registry("encoder", "bezoar.encoders")


def resolve(spec: str) -> Encoder:
    """The encoder that `spec`, "SCHEME" or "SCHEME:WHICH", names.

    Raises UsageError for an unknown scheme or a missing WHICH, MissingExtraError when the scheme's
    libraries are not installed, InputError when what it names cannot be loaded.
    """
    scheme, _, which = spec.partition(":")
    return ENCODERS[scheme](which)


def _default(which: str) -> Encoder:
    from bezoar.embed.default import DefaultEncoder

    if which:
        raise UsageError(f'encoder "default" takes nothing after it, not {which!r}')
    return DefaultEncoder()


def _onnx(which: str) -> Encoder:
    from bezoar.embed.onnx import load_onnx

    return load_onnx(_needed("onnx", which, "PATH"))


def _timm(which: str) -> Encoder:
    from bezoar.embed.pretrained import load_timm

    return load_timm(_needed("timm", which, "NAME"))


def _hf(which: str) -> Encoder:
    from bezoar.embed.pretrained import load_hf

    return load_hf(_needed("hf", which, "NAME"))


def _needed(scheme: str, which: str, what: str) -> str:
    if not which:
        raise UsageError(f"encoder {scheme!r} needs a {what.lower()}: {scheme}:{what}")
    return which


ENCODERS.register("default", _default)
ENCODERS.register("onnx", _onnx)
ENCODERS.register("timm", _timm)
ENCODERS.register("hf", _hf)
