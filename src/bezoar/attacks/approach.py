"""What crafters share that bring records near one target image in an encoder's space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks.base import GradientEncoder, Images
from bezoar.attacks.targets import Target
from bezoar.attacks.torch_helpers import batches, import_torch, to_size, to_tensor


@dataclass(frozen=True)
class Approach:
    """An attack's target and encoder."""

    target: Target
    encoder: GradientEncoder

    def measure(self, samples: Images) -> Mapping[str, NDArray[np.float64]]:
        """Euclidean distance to the target in the encoder's space."""
        distances = np.linalg.norm(self.features(samples) - self.features(self.target.pixels[None]), axis=1)
        return {"feature_distance": distances}

    def details(self) -> Mapping[str, Any]:
        """The target and the encoder."""
        return {**self.target.details, "encoder": self.encoder.name, "encoder_digest": self.encoder.digest}

    def features(self, images: Images) -> NDArray[np.float64]:
        """(n, D) of images (n, H, W, 3)."""
        torch = import_torch("an attack in the space of an encoder")
        module, size = self.encoder.torch_module(), self.encoder.size
        with torch.no_grad():
            parts = [
                module(to_size(to_tensor(images[rows]), size)).numpy() for rows in batches(len(images), size)
            ]
        return np.concatenate(parts).astype(np.float64)
