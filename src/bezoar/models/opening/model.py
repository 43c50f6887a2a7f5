"""A suspect model, opened: what every part of Bezoar sees of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import torch

Origin = Literal["option", "model", "inferred", "assumed"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the file's network wants to be fed, and what it gives.

    Attributes:
        channels: 1 or 3.
        height, width: of its images, in pixels.
        mean, std: per channel, in units of `scale` and in the network's own order of channels: pixels in [0, 1] become
            (scale * pixel - mean) / std.
        scale: 1 for pixels in [0, 1], 255 for bytes.
        order: of colour channels.
        outputs: what the network gives.
        origins: field name to where its value comes from.

    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    order: Literal["rgb", "bgr"] = "rgb"
    outputs: Literal["logits", "probabilities"] = "logits"
    origins: dict[str, Origin] = field(default_factory=dict)


class Model(Protocol):
    """One opened model file.

    Attributes:
        path: file or folder.
        format: "onnx", "pt2", "torchscript", "safetensors", "state-dict", "hf".
        digest: SHA-256 of the file, hex; of a folder, of its files' names and digests.
        architecture: its name where the weights came without a graph, else None.
        n_classes: K.
        class_names: K names where the file holds them, else None.

    """

    path: Path
    format: str
    digest: str
    architecture: str | None
    n_classes: int
    class_names: tuple[str, ...] | None
    preprocessing: Preprocessing

    def network(self) -> torch.nn.Module:
        """Float32 images (N, C, H, W) in [0, 1], RGB, to logits (N, K); evaluation mode, no gradient to its weights."""
        ...

    def trainable(self) -> torch.nn.Module:
        """The same, in a copy of its own whose floating-point weights are parameters that ask for gradients."""
        ...

    def with_preprocessing(self, preprocessing: Preprocessing) -> Model:
        """The same model, fed in another way."""
        ...

    def save(self, trained: torch.nn.Module, path: Path) -> None:
        """Write the weights of a module that came from `trainable` to a new file of this model's format."""
        ...
