"""Options of the verbs that open a suspect model, and the one way to open it from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from bezoar.inspect.result import InspectionResult
    from bezoar.models.opening.model import Model

_MAX_NAMES = 16 << 20  # bytes of a file of class names
_LIBRARIES = ("timm:", "torchvision:")  # of networks: any other architecture is the user's own code
_PREPROCESSING = ("size", "channels", "mean", "std", "scale", "order", "outputs")


def _names(context: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """Class names from a file with one a line, or from a text with commas."""
    from bezoar.files import read_file

    if text is None:
        return None
    if "," in text and not Path(text).exists():
        names = tuple(name.strip() for name in text.split(","))
    else:
        try:
            names = tuple(read_file(text, _MAX_NAMES).decode("utf-8").splitlines())
        except UnicodeDecodeError as error:
            raise InputError(f"{text}: not a text file in UTF-8; write one class name a line") from error
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"--classes: {twice!r} is there twice")
    return names


_OPTIONS = (
    click.option(
        "--architecture",
        metavar="LIBRARY:NAME",
        help="Network that bare weights belong to, as timm:resnet18 or torchvision:resnet50.",
    ),
    click.option(
        "--n-classes",
        type=click.IntRange(2),
        metavar="K",
        help="Number of labels, where the weights do not tell.",
    ),
    click.option(
        "--classes",
        metavar="FILE|NAMES",
        callback=_names,
        help="Names of the model's labels in its order: a file with one a line, or A,B,C.",
    ),
    click.option("--size", metavar="PIXELS", help="Side of its images, or HEIGHTxWIDTH."),
    click.option("--channels", metavar="1|3", help="Grey or colour."),
    click.option("--mean", metavar="X,X,X", help="Subtracted from each channel, after --scale."),
    click.option("--std", metavar="X,X,X", help="Each channel is then divided by this."),
    click.option("--scale", metavar="X", help="1: it wants pixels in [0, 1]; 255: bytes."),
    click.option("--order", type=click.Choice(["rgb", "bgr"]), help="Of its colour channels."),
    click.option("--outputs", type=click.Choice(["logits", "probabilities"]), help="What it gives."),
    click.option(
        "--trust-code",
        metavar="MODULE:FACTORY",
        help="Run this code of yours to build the network. Nothing else that a model brings is ever run.",
    ),
)


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What opens a model, for every verb that takes one; `open_suspect` understands them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def open_suspect(path: Path, given: Mapping[str, Any]) -> Model:
    """The model at `path`, by the options that were given; UsageError where they contradict it."""
    from bezoar.models.memory import keep_freed_memory
    from bezoar.models.opening import open_model

    keep_freed_memory()  # a command's process is its own; a library's is not
    names = given["classes"]
    bare = given["architecture"] or given["trust_code"]  # weights whose network is built for so many labels
    model = open_model(
        path,
        architecture=given["architecture"],
        n_classes=given["n_classes"] or (len(names) if names and bare else None),
        trust_code=given["trust_code"],
        preprocessing={name: given[name] for name in _PREPROCESSING if given[name] is not None},
    )
    if names is not None and len(names) != model.n_classes:
        raise UsageError(f"--classes: {len(names):,} names, but {path} has {model.n_classes:,} labels")
    return model


def remembered(inspection: InspectionResult, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as they were given to an inspection, except where they are given anew. None of them makes code run."""
    names, feeding = inspection.label_names, inspection.preprocessing
    said: dict[str, Any] = {}
    if inspection.architecture is not None and inspection.architecture.startswith(_LIBRARIES):
        said |= {"architecture": inspection.architecture, "n_classes": len(names)}
    if names != tuple(str(label) for label in range(len(names))):
        said["classes"] = names
    origins = feeding.get("origins")
    if isinstance(origins, Mapping):
        said |= {name: feeding.get(name) for name in _PREPROCESSING if origins.get(name) == "option"}
        if origins.get("height") == "option":
            said["size"] = f"{feeding.get('height')}x{feeding.get('width')}"
    return {name: said.get(name) if value is None else value for name, value in given.items()}
