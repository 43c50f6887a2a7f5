"""`onnx:PATH`: any image model in ONNX as an encoder. The file is data; it is never trusted.

The model takes one float32 image batch, N x 3 x H x W or N x H x W x 3, RGB in [0, 1]: any other
normalisation belongs into the graph. Its features are the output named `features`, else the last one of
shape N x D or N x D x 1 x 1. `onnx:PATH?output=NAME&size=64` chooses the output, and the input size where
the model leaves it open.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from bezoar.embed.base import Features, Images
from bezoar.errors import InputError, LimitError, MissingExtraError, UsageError
from bezoar.graphs.onnx_file import parse, read_model

DEFAULT_SIZE = 128  # where the model leaves its input size open; docs/adr/0002 has the measurement
_MAX_SIZE = 1024
_MAX_DIM = 2**16
_MAX_FIXED_BATCH = 1024
_BATCH = 32  # images at once: bounds the activations in memory


@dataclass(frozen=True)
class OnnxEncoder:
    """A model in ONNX, run by ONNX Runtime on the CPU."""

    name: str
    size: int
    dim: int
    digest: str
    content: bytes = field(repr=False)
    input: str
    output: str
    channels_last: bool
    fixed_batch: int | None
    session: Any = field(repr=False)
    sample_size: int = 0

    def fit(self, sample: Images, seed: int) -> OnnxEncoder:
        """Itself: it is pretrained."""
        return self

    def encode(self, images: Images) -> Features:
        """Features, float32 (N, D), of uint8 images (N, size, size, 3)."""
        features = np.empty((len(images), self.dim), np.float32)
        step = self.fixed_batch or _BATCH
        for start in range(0, len(images), step):
            part = images[start : start + step].astype(np.float32) / np.float32(255)
            features[start : start + len(part)] = self._run(part)[: len(part)]
        return features

    def torch_module(self) -> Any:
        """The same model as a differentiable `torch.nn.Module`; InputError where it cannot be."""
        try:
            from bezoar.graphs.onnx_torch import image_module
        except ImportError as error:
            raise MissingExtraError(f"running {self.name} in torch", "torch") from error
        return image_module(parse(self.content, self.name), self.input, self.output, self.channels_last)

    def _run(self, images: Features) -> Features:
        if self.fixed_batch is not None and len(images) < self.fixed_batch:
            missing = self.fixed_batch - len(images)
            images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.float32)])
        given = images if self.channels_last else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return _run(self.session, self.name, self.input, self.output, given)


def load_onnx(spec: str) -> OnnxEncoder:
    """The encoder of `PATH` or `PATH?output=NAME&size=PIXELS`.

    Raises InputError when the file is missing, is no ONNX model, refers to other files, or has no image
    input or feature output; LimitError when it is too large; MissingExtraError without the extra `onnx`.
    """
    path, options = _split(spec)
    content = read_model(path)
    parse(content, path)
    session = _session(content, path)
    image = _image_input(session, path)
    size = _size(image, path, options.get("size"))
    channels_last = image.shape[1] != 3 and image.shape[3] == 3
    fixed_batch = image.shape[0] if isinstance(image.shape[0], int) else None
    shape = (size, size, 3) if channels_last else (3, size, size)
    probe = np.zeros((fixed_batch or 1, *shape), np.float32)
    output, dim = _feature_output(session, path, image.name, probe, options.get("output"))
    identity = f"onnx 1 {hashlib.sha256(content).hexdigest()} {size} {output}"
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return OnnxEncoder(
        f"onnx:{path}", size, dim, digest, content, image.name, output, channels_last, fixed_batch, session
    )


def _split(spec: str) -> tuple[str, dict[str, str]]:
    path, _, query = spec.rpartition("?") if "?" in spec else (spec, "", "")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := set(options) - {"output", "size"}:
        raise UsageError(f"onnx:{spec}: unknown option {min(unknown)!r}; known: output, size")
    return path, options


def _session(content: bytes, path: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(f"onnx:{path}", "onnx") from error
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no narrower base
        raise InputError(f"{path}: ONNX Runtime does not accept this model ({_first_line(error)})") from error


def _image_input(session: Any, path: str) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(item.name for item in inputs)
        raise InputError(f"{path}: the model must have one input, the image; it has {len(inputs)} ({names})")
    image = inputs[0]
    if image.type != "tensor(float)" or len(image.shape) != 4:
        raise InputError(
            f"{path}: input {image.name!r} is {image.type} {image.shape}, not N x 3 x H x W float32"
        )
    fixed = [image.shape[axis] for axis in (1, 3) if isinstance(image.shape[axis], int)]
    if 3 not in fixed and len(fixed) > 0:
        raise InputError(
            f"{path}: input {image.name!r} of shape {image.shape} has no axis of 3 colour channels"
        )
    if isinstance(image.shape[0], int) and not 0 < image.shape[0] <= _MAX_FIXED_BATCH:
        raise InputError(
            f"{path}: a batch of {image.shape[0]} images is not supported (1 to {_MAX_FIXED_BATCH})"
        )
    return image


def _size(image: Any, path: str, wanted: str | None) -> int:
    """Side of the square input, in pixels."""
    last = image.shape[1] != 3 and image.shape[3] == 3
    height, width = image.shape[1:3] if last else image.shape[2:4]
    fixed = {side for side in (height, width) if isinstance(side, int)}
    if len(fixed) > 1:
        raise InputError(f"{path}: the input is {height} x {width}; only square inputs are supported")
    if wanted is not None and not (
        wanted.isascii() and wanted.isdigit() and 0 < int(wanted[:5]) <= _MAX_SIZE
    ):
        raise UsageError(f"onnx:{path}: size must be 1 to {_MAX_SIZE}, not {wanted!r}")
    size = fixed.pop() if fixed else int(wanted or DEFAULT_SIZE)
    if wanted is not None and int(wanted) != size:
        raise UsageError(f"onnx:{path}: the model's input size is fixed at {size}, not {wanted}")
    if not 0 < size <= _MAX_SIZE:
        raise LimitError(f"{path}: an input of {size} x {size} pixels is over the limit of {_MAX_SIZE}")
    return int(size)


def _feature_output(
    session: Any, path: str, image: str, probe: Features, wanted: str | None
) -> tuple[str, int]:
    """Name and width D of the feature output, found by running one batch."""
    floats = [item.name for item in session.get_outputs() if item.type == "tensor(float)"]
    if wanted is not None and wanted not in floats:
        raise UsageError(f"onnx:{path}: no float output {wanted!r}; outputs: {', '.join(floats) or 'none'}")
    candidates = [wanted] if wanted else [name for name in floats if name == "features"] or floats[::-1]
    for name in candidates:
        value = _run(session, path, image, name, probe)
        if value.ndim == 2 and value.shape[0] == len(probe) and 0 < value.shape[1] <= _MAX_DIM:
            return name, int(value.shape[1])
    raise InputError(f"{path}: no output of shape N x D; outputs: {', '.join(floats) or 'none of float32'}")


def _run(session: Any, path: str, image: str, output: str, given: Features) -> Features:
    """One output for one batch, N x D x 1 x 1 flattened to N x D."""
    try:
        value = session.run([output], {image: given})[0]
    except Exception as error:  # ONNX Runtime's exceptions share no narrower base
        raise InputError(f"{path}: the model fails on images ({_first_line(error)})") from error
    result = np.asarray(value, np.float32)
    if result.ndim == 4 and result.shape[2:] == (1, 1):
        result = result[:, :, 0, 0]
    return result


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
