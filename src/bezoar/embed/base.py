"""The plug-in point for encoders: what turns images into features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]  # (N, H, W, 3), RGB
Features = NDArray[np.float32]  # (N, D)


class Encoder(Protocol):
    """Maps images to features. An encoder never sees labels."""

    @property
    def name(self) -> str:
        """As `resolve` takes it."""
        ...

    @property
    def size(self) -> int:
        """Images are resized to size x size before `encode`."""
        ...

    @property
    def dim(self) -> int:
        """D, the length of a feature vector."""
        ...

    @property
    def sample_size(self) -> int:
        """How many images `fit` wants at most; 0 for pretrained encoders, which need none."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that determines the features: weights, sizes, version."""
        ...

    def fit(self, sample: Images, seed: int) -> Encoder:
        """An encoder adapted to an unlabelled sample of the dataset; pretrained ones return themselves."""
        ...

    def encode(self, images: Images) -> Features:
        """Features of a batch of images."""
        ...


class DifferentiableEncoder(Encoder, Protocol):
    """An encoder that can also be run in torch, for attacks that follow its gradient."""

    def torch_module(self) -> Any:
        """A `torch.nn.Module`: float images (N, 3, size, size) in [0, 1] to features (N, D), as `encode`."""
        ...


@dataclass(frozen=True)
class Fitted:
    """An encoder that was fitted already and is not to be fitted again, so that several datasets share its space."""

    encoder: Encoder

    @property
    def name(self) -> str:
        """The encoder's."""
        return self.encoder.name

    @property
    def size(self) -> int:
        """The encoder's."""
        return self.encoder.size

    @property
    def dim(self) -> int:
        """The encoder's."""
        return self.encoder.dim

    @property
    def sample_size(self) -> int:
        """None is wanted."""
        return 0

    @property
    def digest(self) -> str:
        """The fitted encoder's."""
        return self.encoder.digest

    def fit(self, sample: Images, seed: int) -> Encoder:
        """Itself."""
        return self

    def encode(self, images: Images) -> Features:
        """As the encoder does."""
        return self.encoder.encode(images)
