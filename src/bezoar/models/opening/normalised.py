"""A file's own network, seen as every network is: images in [0, 1] to logits.

Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

from typing import Any

import torch

from bezoar.models.opening.model import Preprocessing

_LEAST = 1e-30  # probability whose logarithm is still taken


class Normalised(torch.nn.Module):  # type: ignore[misc]
    """Float32 images (N, C, H, W) in [0, 1], RGB or grey, to logits (N, K).

    `body` takes what `preprocessing` makes of the images; mean and std are in the order of the body's own channels. Probabilities
    come out as their logarithms.
    """

    def __init__(self, body: torch.nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.body = body
        mean, std = (
            torch.tensor(value, dtype=torch.float32).view(1, -1, 1, 1)
            for value in (preprocessing.mean, preprocessing.std)
        )
        self.register_buffer("factor", preprocessing.scale / std, persistent=False)
        self.register_buffer("offset", -mean / std, persistent=False)
        self._flipped = preprocessing.order == "bgr" and preprocessing.channels == 3
        self._logarithm = preprocessing.outputs == "probabilities"
        self._plain = bool((self.factor == 1).all() and (self.offset == 0).all())

    def forward(self, images: Any) -> Any:
        """Logits."""
        if self._flipped:
            images = images.flip(1)
        outputs = self.body(images if self._plain else images * self.factor + self.offset)
        return outputs.clamp_min(_LEAST).log() if self._logarithm else outputs
