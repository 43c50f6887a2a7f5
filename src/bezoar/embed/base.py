"""The plug-in point for encoders: what turns images into features."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]  # (N, H, W, 3), RGB
Features = NDArray[np.float32]  # (N, D)


class Encoder(Protocol):
    """Maps images to features. An encoder never sees labels."""

    name: str
    size: int  # images are resized to size x size before `encode`
    dim: int  # D

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that determines the features: weights, sizes, version."""
        ...

    def fit(self, sample: Images, seed: int) -> Encoder:
        """An encoder adapted to an unlabelled sample of the dataset; pretrained encoders return themselves."""
        ...

    def encode(self, images: Images) -> Features:
        """Features of a batch of images."""
        ...


class DifferentiableEncoder(Encoder, Protocol):
    """An encoder that can also be run in torch, for attacks that follow its gradient."""

    def torch_module(self) -> Any:
        """A `torch.nn.Module`: float images (N, 3, size, size) in [0, 1] to features (N, D), as `encode`."""
        ...
