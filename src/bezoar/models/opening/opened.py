"""The one kind of `Model` that all formats give: a module with the file's own weights, and how to write them back.

Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from bezoar.errors import InputError, LimitError, UsageError
from bezoar.graphs.memory import available_bytes, gigabytes
from bezoar.models.opening.limits import digest, first_line
from bezoar.models.opening.model import Preprocessing
from bezoar.models.opening.normalised import Normalised
from bezoar.models.opening.preprocessing import resolve_preprocessing

State = dict[str, torch.Tensor]
_PROBES = 2  # images
_FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
)
_LARGE = 2**28  # bytes of new tensors after which it is worth asking how much memory there is
_MAX_CLASSES = 2**20
_SUM = 1e-3  # by which a softmax may miss 1


@dataclass(frozen=True)
class Core:
    """What the opener of a format gives.

    Attributes:
        module: the file's network, from its own input to its own output.
        write: writes a state of `module` to a new path, in the file's format.
        format, architecture, class_names: see `Model`.
        declared: what the file says of its preprocessing.
        batch: the number of images that it takes, where that is fixed.

    """

    module: torch.nn.Module
    write: Callable[[State, Path], None]
    format: str
    architecture: str | None = None
    class_names: tuple[str, ...] | None = None
    declared: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None


@dataclass(eq=False)
class OpenedModel:
    """A `Model`; made by `assemble`."""

    path: Path
    format: str
    digest: str
    architecture: str | None
    n_classes: int
    class_names: tuple[str, ...] | None
    preprocessing: Preprocessing
    body: Body = field(repr=False)
    write: Callable[[State, Path], None] = field(repr=False)

    def network(self) -> torch.nn.Module:
        """Float32 images (N, C, H, W) in [0, 1], RGB, to logits (N, K); evaluation mode, no gradient to its weights."""
        return Normalised(self.body, self.preprocessing).eval().requires_grad_(False)

    def trainable(self) -> torch.nn.Module:
        """The same, in a copy of its own whose floating-point parameters ask for gradients; InputError where there are none."""
        if not any(p.is_floating_point() and p.dim() > 1 for p in self.body.parameters()):
            raise InputError(
                f"{self.path}: its weights are quantised and cannot be trained; use the model before that"
            )
        network = Normalised(copy.deepcopy(self.body), self.preprocessing).eval()
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        return network

    def with_preprocessing(self, preprocessing: Preprocessing) -> OpenedModel:
        """The same model, fed in another way."""
        return replace(self, preprocessing=preprocessing)

    def save(self, trained: torch.nn.Module, path: Path) -> None:
        """Write the weights of a module that came from `trainable` to a new file of this model's format."""
        body = getattr(trained, "body", None)
        state = body.core.state_dict() if isinstance(body, Body) else {}
        expected = self.body.core.state_dict()
        if {name: tensor.shape for name, tensor in state.items()} != {
            n: t.shape for n, t in expected.items()
        }:
            raise UsageError(
                "only a module that came from this model's trainable() can be saved as this model"
            )
        self.write(state, Path(path))


def assemble(path: Path, core: Core, n_classes: int | None, options: Mapping[str, Any]) -> OpenedModel:
    """The model at `path`, after a forward pass of grey images has shown that it is an image classifier.

    InputError where its outputs are not N finite rows of K >= 2 numbers, `n_classes` where that is given.
    """
    preprocessing = resolve_preprocessing(path, options, core.declared)
    module = core.module.eval().requires_grad_(False)
    body = Body(module, path, core.batch)
    body.eval()
    outputs = _probe(body, preprocessing, path)
    found = outputs.shape[1]
    if n_classes is not None and n_classes != found:
        raise InputError(f"{path}: the model has {found} outputs, not {n_classes}")
    if "outputs" not in preprocessing.origins or preprocessing.origins["outputs"] == "assumed":
        preprocessing = _with_outputs(path, options, core.declared, outputs)
    names = core.class_names if core.class_names and len(core.class_names) == found else None
    return OpenedModel(
        path, core.format, digest(path), core.architecture, found, names, preprocessing, body, core.write
    )


class Body(torch.nn.Module):  # type: ignore[misc]
    """`core`, called with as many images as it takes, giving (N, K); whatever goes wrong in it is one line.

    A network that gives several tensors (auxiliary heads, hidden states) gives its logits first; one that normalises its input in
    place gets a copy of its own.
    """

    def __init__(self, core: torch.nn.Module, where: Path, batch: int | None) -> None:
        super().__init__()
        self.core, self._where, self._batch = core, where, batch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """What the file's network gives for images that are preprocessed already."""
        try:
            if self._batch is None:
                return _logits(self.core(images.clone()))
            parts = [self._padded(part) for part in images.split(self._batch)]
            return torch.cat(parts)
        except InputError as error:
            raise type(error)(f"{self._where}: {error}") from error
        except torch.cuda.OutOfMemoryError:
            raise  # the caller's: fewer images fit
        except _FAILURES as error:
            shape = " x ".join(map(str, images.shape[1:]))
            raise InputError(
                f"{self._where}: the model fails on {shape} images ({first_line(error)})"
            ) from error

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        missing = (self._batch or 0) - len(images)
        padded = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)]) if missing else images
        return _logits(self.core(padded.clone()))[: len(images)]


def _logits(output: Any) -> torch.Tensor:
    if isinstance(getattr(output, "logits", None), torch.Tensor):
        output = output.logits
    while isinstance(output, Mapping | list | tuple) and output:
        output = next(iter(output.values() if isinstance(output, Mapping) else output))
    if not isinstance(output, torch.Tensor):
        raise InputError(f"the model gives a {type(output).__name__}, no tensor")
    if output.is_complex() or output.is_meta:
        raise InputError("the model gives complex numbers, or none")
    if output.dim() == 4 and output.shape[2:] == (1, 1):
        output = output.flatten(1)
    if output.dim() != 2:
        raise InputError(
            f"the model is no image classifier: it gives shape {tuple(output.shape)}, not (N, K)"
        )
    return output.float()


def _probe(body: Body, preprocessing: Preprocessing, path: Path) -> torch.Tensor:
    """Outputs (2, K) for grey images that differ a little."""
    shape = (_PROBES, preprocessing.channels, preprocessing.height, preprocessing.width)
    images = torch.linspace(0.4, 0.6, _PROBES).view(-1, 1, 1, 1).expand(shape)
    network = Normalised(body, preprocessing)
    with torch.no_grad(), _Allocations():
        outputs = network.body(images * network.factor + network.offset)
    if len(outputs) != _PROBES or outputs.shape[1] < 2:
        raise InputError(
            f"{path}: is no image classifier: it gives shape {tuple(outputs.shape)} for {_PROBES} images, not "
            f"({_PROBES}, K) with K >= 2"
        )
    if outputs.shape[1] > _MAX_CLASSES:
        raise LimitError(
            f"{path}: has {outputs.shape[1]:,} outputs; at most {_MAX_CLASSES:,} labels are inspected"
        )
    if not bool(torch.isfinite(outputs).all()):
        raise InputError(f"{path}: the model gives NaN or infinity for grey images; the model cannot work")
    return outputs


def _with_outputs(
    path: Path, options: Mapping[str, Any], declared: Mapping[str, Any], outputs: torch.Tensor
) -> Preprocessing:
    """Rows that are positive and sum to 1 are probabilities: the file ends in a softmax."""
    sums = outputs.sum(1)
    positive = bool((outputs >= 0).all()) and bool(((sums - 1).abs() < _SUM).all())
    kind = "probabilities" if positive else "logits"
    resolved = resolve_preprocessing(path, options, {**declared, "outputs": kind})
    resolved.origins["outputs"] = "inferred"
    return resolved


class _Allocations(TorchDispatchMode):  # type: ignore[misc]
    """Within this block LimitError before an operator makes a tensor that does not fit into memory."""

    def __init__(self) -> None:
        super().__init__()
        self._unasked = 0  # bytes

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        size = 0
        with contextlib.suppress(*_FAILURES):  # shapes that depend on values are not known before
            options = _shapes(kwargs or {})
            if any(argument.name == "device" for argument in function._schema.arguments):
                options["device"] = torch.device("meta")
            shapes = function(*_shapes(args), **options)
            size = sum(leaf.nbytes for leaf in tree_leaves(shapes) if isinstance(leaf, torch.Tensor))
        self._unasked += size
        if self._unasked > _LARGE:
            self._unasked = 0
            if size + _LARGE > (free := available_bytes()):
                raise LimitError(
                    f"the model makes a tensor of {gigabytes(size)}; this machine has {gigabytes(free)} free"
                )
        return function(*args, **(kwargs or {}))


def _shapes(arguments: Any) -> Any:
    """Arguments of an operator with tensors that have a shape and no numbers."""

    def shape(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return torch.empty_strided(leaf.size(), leaf.stride(), dtype=leaf.dtype, device="meta")
        return leaf

    return tree_map(shape, arguments)
