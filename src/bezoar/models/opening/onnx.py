"""Suspect classifiers in ONNX: a graph that is read, not executed (`bezoar.graphs`), and written back with other weights.

The graph may take images as N x C x H x W, N x H x W x C, N x H x W or N x (C H W), of any type of number, and give labels for
any or a fixed number of images. Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bezoar.errors import InputError, LimitError, quoted
from bezoar.files import atomic_file
from bezoar.graphs.memory import available_bytes
from bezoar.graphs.onnx_file import inlined, parse, read_model, stored, to_array, weight_names
from bezoar.graphs.onnx_torch import OnnxModule
from bezoar.models.opening.opened import Core, OpenedModel, State, assemble
from bezoar.models.opening.preprocessing import MAX_SIDE

_TYPES = {1: "float", 2: "uint8", 10: "float16", 11: "double"}  # of the input, by TensorProto's numbers
_MAX_BATCH = 1024
_SMALL_BATCH = 64  # up to which it is tried whether other numbers of images do
_SIDE = 224  # where the graph leaves it open: only to ask for shapes
_NAMES = ("names", "class_names", "classes", "labels", "label_names", "id2label")
_MAX_NAMES = 2**20  # bytes
_FIRST = 16  # operators that are looked at for a normalisation of the graph's own
_PASSING = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze")  # what may stand after a softmax


def open_onnx(path: Path, n_classes: int | None, options: Mapping[str, Any]) -> OpenedModel:
    """The classifier in an ONNX file; InputError or LimitError names what is refused.

    `options` are the user's on preprocessing, `n_classes` is checked where it is given. A softmax or sigmoid at the end is left
    out, unless the options ask for probabilities.
    """
    model = parse(read_model(path), path)
    try:
        core = _core(model, options)
    except LimitError as error:
        raise LimitError(f"{path}: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return assemble(path, core, n_classes, options)


def _core(model: Any, options: Mapping[str, Any]) -> Core:
    flat = inlined(model)
    image = _image(flat.graph)
    output = _output(flat, image)
    end = None if options.get("outputs") == "probabilities" else _end(flat.graph, output)
    cut = output if end is None else end.input[0]
    two = end is not None and end.op_type == "Sigmoid"
    own = dict(stored(model.graph))  # what can be written back
    weights = [name for name in weight_names(flat) if name in own]
    module = _Classifier(OnnxModule(flat, image.name, [cut], weights), image, two)
    batch = image.batch
    if batch is not None and batch <= _SMALL_BATCH:
        freed = _Classifier(OnnxModule(_freed(flat, batch), image.name, [cut], weights), image, two)
        if _same(freed, module, image):
            module, batch = freed, None
    declared = image.declared | _own_normalisation(flat.graph, image)
    if end is not None:
        declared["outputs"] = "logits"  # they are what is left
    sources = module.graph.sources
    return Core(
        module,
        lambda state, target: _write(model, sources, state, target),
        "onnx",
        class_names=_class_names(model),
        declared=declared,
        batch=batch,
    )


@dataclass(frozen=True, slots=True)
class _Image:
    """The graph's one input: how it lies ("nchw", "nhwc", "nhw", "flat"), its sides where they are fixed (None: open)."""

    name: str
    layout: str
    channels: int | None
    height: int | None
    width: int | None
    batch: int | None
    kind: str

    @property
    def declared(self) -> dict[str, Any]:
        """What this says of preprocessing."""
        declared: dict[str, Any] = {}
        if self.channels is not None:
            declared["channels"] = self.channels
        if self.height is not None and self.width is not None:
            declared["size"] = (self.height, self.width)
        if self.kind == "uint8":
            declared |= {"scale": 255.0, "mean": 0.0, "std": 1.0}
        return declared

    def example(self, n: int) -> tuple[int, int, int, int]:
        """A shape N x C x H x W that the graph should take."""
        return (n, self.channels or 3, self.height or _SIDE, self.width or _SIDE)

    def laid(self, images: torch.Tensor) -> torch.Tensor:
        """Images N x C x H x W as the graph takes them. Bytes stay floating point: rounding has no gradient."""
        match self.layout:
            case "nhwc":
                return images.permute(0, 2, 3, 1)
            case "nhw":
                return images[:, 0]
            case "flat":
                return images.flatten(1)
        return images


class _Classifier(torch.nn.Module):  # type: ignore[misc]
    """Images N x C x H x W to what the graph gives for each of K labels; one output alone is the score of the second of two."""

    def __init__(self, graph: OnnxModule, image: _Image, one_is_two: bool) -> None:
        super().__init__()
        self.graph, self._image, self._one_is_two = graph, image, one_is_two

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, K)."""
        (scores,) = self.graph(self._image.laid(images))
        if scores.dim() != 2 and scores.numel() == len(images) * max(scores.shape[1:], default=0):
            scores = scores.flatten(1)  # N x K x 1 x 1
        if self._one_is_two and scores.dim() == 2 and scores.shape[1] == 1:
            return torch.cat([torch.zeros_like(scores), scores], 1)
        return scores


def _image(graph: Any) -> _Image:
    """The input that is no initializer."""
    names = {tensor.name for tensor in graph.initializer}
    inputs = [item for item in graph.input if item.name not in names]
    if len(inputs) != 1:
        found = ", ".join(quoted(item.name) for item in inputs[:5]) or "none"
        raise InputError(f"the graph must have one input, the images; it has {len(inputs)} ({found})")
    (item,) = inputs
    kind = _TYPES.get(item.type.tensor_type.elem_type)
    sides = [
        side.dim_value if side.HasField("dim_value") and side.dim_value > 0 else None
        for side in item.type.tensor_type.shape.dim
    ]
    said = f"the input {quoted(item.name)} of shape {[side or '?' for side in sides][:8]}"
    if kind is None:
        raise InputError(f"{said} takes neither floating-point numbers nor bytes")
    layout, channels, height, width = _layout(sides, said)
    if channels not in (None, 1, 3):
        raise InputError(f"{said} takes {channels} channels; images have 1 or 3")
    if max(height or 0, width or 0) > MAX_SIDE:
        raise InputError(f"{said} takes images of more than {MAX_SIDE:,} pixels a side")
    batch = sides[0]
    if batch is not None and batch > _MAX_BATCH:
        raise InputError(f"{said} takes {batch} images at once; the most is {_MAX_BATCH}")
    return _Image(item.name, layout, channels, height, width, batch, kind)


def _layout(sides: Sequence[int | None], said: str) -> tuple[str, int | None, int | None, int | None]:
    match sides:
        case [_, first, _, last] if last in (1, 3) and first not in (1, 3):
            return "nhwc", last, sides[1], sides[2]
        case [_, channels, height, width]:
            return "nchw", channels, height, width
        case [_, height, width]:
            return "nhw", 1, height, width
        case [_, int(width)]:
            for channels in (1, 3):
                side = round((width / channels) ** 0.5)
                if side * side * channels == width:
                    return "flat", channels, side, side
    raise InputError(f"{said} takes no images, which are N x C x H x W or N x H x W x C")


def _output(model: Any, image: _Image) -> str:
    """Name of the output with one number per label."""
    names = [item.name for item in model.graph.output]
    if len(names) == 1:
        return str(names[0])
    n = image.batch or 2
    shape = tuple(image.laid(torch.empty(image.example(n), device="meta")).shape)
    shapes = OnnxModule(model, image.name, names).output_shapes(shape)
    fitting = [name for name, s in zip(names, shapes, strict=True) if len(s) == 2 and s[0] == n and s[1] > 1]
    for word in ("", "logit", "prob", "class", "score"):
        if len(named := [name for name in fitting if word in name.lower()]) == 1:
            return str(named[0])
    said = ", ".join(quoted(name) for name in names[:5]) or "none"
    raise InputError(
        f"which of its outputs ({said}) has the labels is not clear; save the model with one output"
    )


def _end(graph: Any, output: str) -> Any:
    """The softmax or sigmoid over labels that the output comes from, if it does."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(output)
    for _ in range(8):
        if node is None or node.op_type not in _PASSING or not node.input:
            break
        node = makers.get(node.input[0])
    if node is None or not node.input or node.domain not in ("", "ai.onnx"):
        return None
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    fits = node.op_type == "Sigmoid" or (node.op_type in ("Softmax", "LogSoftmax") and axis in (1, -1))
    return node if fits and node.input[0] in makers else None


def _own_normalisation(graph: Any, image: _Image) -> dict[str, Any]:
    """What sums and products with constants at the start say of the range that the graph wants: it then needs no other."""
    constants = dict(stored(graph))
    name, slope, offset, seen = image.name, np.ones(1), np.zeros(1), False
    for _ in range(_FIRST):
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1:
            break
        (node,) = readers
        others = [constants[other] for other in node.input if other in constants]
        if node.op_type in ("Cast", "Identity", "Transpose"):
            pass
        elif node.op_type in ("Add", "Div", "Mul", "Sub") and len(others) == 1 and node.input[0] == name:
            value = to_array(others[0]).astype(np.float64).reshape(-1)
            if (
                value.size not in (1, 3)
                or not np.isfinite(value).all()
                or (node.op_type == "Div" and not value.all())
            ):
                break
            match node.op_type:
                case "Add":
                    offset = offset + value
                case "Sub":
                    offset = offset - value
                case "Mul":
                    slope, offset = slope * value, offset * value
                case "Div":
                    slope, offset = slope / value, offset / value
            seen = True
        else:
            break
        name = node.output[0]
    if not seen:
        return {}
    bytes_wanted = np.abs(slope).max() < 0.1 or np.abs(offset).max() > 10
    return {"scale": 255.0 if bytes_wanted else 1.0, "mean": 0.0, "std": 1.0}


def _freed(model: Any, batch: int) -> Any:
    """A copy whose reshapes take any number of images, where they start with the fixed one."""
    copy = type(model)()
    copy.CopyFrom(model)
    tensors = dict(stored(copy.graph))
    for i, node in enumerate(copy.graph.node):
        target = tensors.get(node.input[1]) if node.op_type == "Reshape" and len(node.input) == 2 else None
        if target is None:
            continue
        shape = to_array(target).reshape(-1)
        if len(shape) and shape[0] == batch and shape.dtype == np.int64:
            own = copy.graph.initializer.add()
            own.CopyFrom(target)
            own.name = f"{target.name}/any/{i}"
            _set(own, np.array([0 if -1 in shape else -1, *shape[1:]], np.int64))
            node.input[1] = own.name
    return copy


def _same(freed: _Classifier, fixed: _Classifier, image: _Image) -> bool:
    """Whether the freed graph gives, for several batches at once, what the fixed one gives for each."""
    batch = image.batch or 1
    if 4 * math.prod(image.example(3 * batch)) > available_bytes() / 2:
        return False
    images = torch.rand(image.example(3 * batch), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            wanted = torch.cat([fixed(part) for part in images.split(batch)])
            found = freed(images)
    except InputError:
        return False
    return bool(found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-3, atol=1e-4))


def _class_names(model: Any) -> tuple[str, ...] | None:
    """Names in the file's metadata: a JSON or Python list, or a dictionary from 0 to K - 1, or names with commas."""
    for entry in model.metadata_props:
        if entry.key.lower() in _NAMES and len(entry.value) <= _MAX_NAMES:
            value = _plain(entry.value)
            if isinstance(value, dict):
                by_number = {str(key): name for key, name in value.items()}
                value = [by_number.get(str(label)) for label in range(len(by_number))]
            if (
                isinstance(value, list | tuple)
                and len(value) > 1
                and all(isinstance(n, str) and n for n in value)
            ):
                return tuple(value)
    return None


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [part.strip() for part in text.split(",")]


def _write(model: Any, sources: Mapping[str, tuple[str, bool]], state: State, path: Path) -> None:
    """The same graph with the weights of `state`, in a new file."""
    copy = type(model)()
    copy.CopyFrom(model)
    for name, tensor in stored(copy.graph):
        if name in sources:
            source, transposed = sources[name]
            values = state[f"graph.{source}"].detach().cpu()
            _set(tensor, (values.T if transposed else values).numpy())
    with atomic_file(path) as file:
        file.write(copy.SerializeToString())


def _set(tensor: Any, values: Any) -> None:
    """Put numbers into a stored tensor, in its own type."""
    from onnx import numpy_helper

    kept = to_array(tensor)
    new = numpy_helper.from_array(
        np.ascontiguousarray(values).astype(kept.dtype).reshape(kept.shape), tensor.name
    )
    tensor.CopyFrom(new)
