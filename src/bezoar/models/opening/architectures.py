"""Networks for weights that come without one: "timm:NAME", "torchvision:NAME", or a user's own "module:factory".

Every network is built first on the meta device, where nothing takes memory, to learn its size and shapes, and in earnest once
both fit. `NAME?img_size=64&in_chans=1` passes whole numbers on to the library. Imports torch: import this module inside the
function that needs it.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import torch
from torch.nn.modules import module as registration

from bezoar.errors import BezoarError, InputError, LimitError, MissingExtraError, UsageError, quoted
from bezoar.models.opening.limits import first_line, require_memory
from bezoar.models.opening.preprocessing import IMAGENET, from_timm
from bezoar.models.opening.tensors import require_shapes
from bezoar.models.opening.weights import Weights

State = dict[str, torch.Tensor]
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_MAX_MODULES = 20_000
_COUNTER = "num_batches_tracked"  # of batch normalisation; old files lack it, nothing reads it


@dataclass(frozen=True)
class Architecture:
    """How to build a network for K classes, what it is called, and what its library says of its images."""

    name: str
    build: Callable[[int | None], torch.nn.Module]
    declared: Callable[[torch.nn.Module], Mapping[str, Any]]


def architecture(specification: str) -> Architecture:
    """The architecture "timm:NAME" or "torchvision:NAME".

    UsageError for any other scheme or an unknown name, MissingExtraError where the library is not installed.
    """
    scheme, _, rest = specification.partition(":")
    name, _, query = rest.partition("?")
    if scheme not in _LIBRARIES or not _NAME.fullmatch(name):
        raise UsageError(f"architecture {quoted(specification)}: expected timm:NAME or torchvision:NAME")
    options = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if not key.isidentifier() or not value.isascii() or not value.isdigit() or len(value) > 6:
            raise UsageError(f"architecture {quoted(specification)}: {quoted(key)} must be a whole number")
        options[key] = int(value)
    return _LIBRARIES[scheme](specification, name, options)


def trusted(specification: str) -> Architecture:
    """The user's own "module:factory", imported; the factory takes nothing and gives the network."""
    module, _, factory = specification.partition(":")
    if not module or not factory:
        raise UsageError(f"trusted code {quoted(specification)}: expected MODULE:FACTORY")
    with _importable(Path.cwd()):
        try:
            make = getattr(importlib.import_module(module), factory)
        except Exception as error:  # the user's module raises whatever it likes
            raise UsageError(f"trusted code {quoted(specification)}: {first_line(error)}") from error
    return Architecture(specification, lambda _: make(), lambda _: {})


def fitted(
    what: Architecture, weights: Weights, where: Path, n_classes: int | None
) -> tuple[torch.nn.Module, Weights]:
    """The network of an architecture with these weights, and the weights by its own names.

    InputError where they are not its own, LimitError where it is too large for this machine.
    """
    shapes = _on_meta(what, n_classes, where)
    weights = weights.fitting(shapes.state_dict().keys())
    classes = n_classes or _classes(shapes, weights.tensors)
    if classes != n_classes:
        shapes = _on_meta(what, classes, where)
    expected = {name: tensor.shape for name, tensor in shapes.state_dict().items()}
    given = {name: tensor.shape for name, tensor in weights.tensors.items()}
    needed = {name: size for name, size in expected.items() if name in given or not name.endswith(_COUNTER)}
    require_shapes(needed, given, where, what.name)
    with torch.random.fork_rng(devices=[]):
        module = _built(what, classes, where)
    module.load_state_dict(weights.tensors, strict=False)
    return module.float().eval(), weights


def _on_meta(what: Architecture, classes: int | None, where: Path) -> torch.nn.Module:
    try:
        with torch.device("meta"):
            return _built(what, classes, where)
    except LimitError:
        raise
    except InputError:  # a user's code need not know of the meta device
        return _built(what, classes, where)


def _built(what: Architecture, classes: int | None, where: Path) -> torch.nn.Module:
    try:
        with within_memory(where), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside these libraries are not the user's
            module = what.build(classes)
    except BezoarError:
        raise
    except Exception as error:  # libraries and factories raise whatever they like
        raise InputError(f"{where}: {what.name} cannot be built ({first_line(error)})") from error
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"{what.name} gives a {type(module).__name__}, not a torch.nn.Module")
    return module


@contextmanager
def within_memory(where: Path) -> Iterator[None]:
    """Within this block LimitError ends the building of a network as soon as its weights outgrow this machine's memory."""
    size = count = 0

    def weigh(_: Any, __: str, tensor: torch.Tensor | None) -> None:
        nonlocal size
        if tensor is not None:
            size += tensor.nbytes
            require_memory(size, where)

    def tally(*_: Any) -> None:
        nonlocal count
        count += 1
        if count > _MAX_MODULES:
            raise LimitError(f"{where}: the model has more than {_MAX_MODULES:,} layers")

    handles = [
        registration.register_module_parameter_registration_hook(weigh),
        registration.register_module_buffer_registration_hook(weigh),
        registration.register_module_module_registration_hook(tally),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _classes(module: torch.nn.Module, weights: State) -> int | None:
    """K of the weights: how many outputs their last layer has, that is, the last one of `module` with weights."""
    last = None
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            last = name
    found = weights.get(f"{last}.weight")
    return None if found is None else int(found.shape[0])


def _timm(specification: str, name: str, options: dict[str, int]) -> Architecture:
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # RuntimeError: its torchvision was built for another torch
        raise MissingExtraError(specification, "timm") from error
    if not timm.is_model(name):
        raise UsageError(f"architecture {quoted(specification)}: timm has no model of this name")

    def build(classes: int | None) -> torch.nn.Module:
        return timm.create_model(name, pretrained=False, num_classes=classes, **options)

    def declared(module: torch.nn.Module) -> Mapping[str, Any]:
        return from_timm(module.pretrained_cfg) | _own(options, "img_size", "in_chans")

    return Architecture(specification, build, declared)


def _torchvision(specification: str, name: str, options: dict[str, int]) -> Architecture:
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        raise MissingExtraError(f"{specification} ({first_line(error)})", "torchvision") from error
    if name not in models.list_models(module=models):
        raise UsageError(f"architecture {quoted(specification)}: torchvision has no classifier of this name")

    def build(classes: int | None) -> torch.nn.Module:
        number = {} if classes is None else {"num_classes": classes}
        return models.get_model(name, weights=None, **number, **options)

    own = _own(options, "image_size", "in_channels")
    return Architecture(specification, build, lambda _: {**IMAGENET, **own})


def _own(options: dict[str, int], size: str, channels: str) -> dict[str, Any]:
    named = {"size": options.get(size), "channels": options.get(channels)}
    return {name: value for name, value in named.items() if value is not None}


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


_LIBRARIES = {"timm": _timm, "torchvision": _torchvision}
