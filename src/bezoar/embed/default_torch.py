"""The default encoder as a torch module, for attacks that follow its gradient.

Step for step the computation of `default`. Imports torch: import this module inside the function that needs
it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from bezoar.embed.default import EPSILON, Recipe, Weights, pooling


class DefaultModule(torch.nn.Module):  # type: ignore[misc]
    """Float images (N, 3, 32, 32) in [0, 1] to features (N, D) of unit length."""

    def __init__(self, recipe: Recipe, weights: Weights) -> None:
        super().__init__()
        self._recipe = recipe
        for name in ("filters", "offsets", "mean", "projection"):
            self.register_buffer(name, torch.from_numpy(getattr(weights, name)))
        self.register_buffer("pooling", torch.from_numpy(pooling(recipe.places, recipe.grid)))

    def forward(self, images: Any) -> Any:
        """Features of a batch."""
        patches = F.unfold(images, self._recipe.patch, stride=self._recipe.stride).transpose(1, 2)
        centred = patches - patches.mean(-1, keepdim=True)
        normal = centred / (centred.square().mean(-1, keepdim=True) + self._recipe.contrast).sqrt()
        responses = normal @ self.filters.T - self.offsets
        both = torch.cat([responses - self._recipe.threshold, -responses - self._recipe.threshold], -1).relu()
        pooled = (self.pooling @ both).flatten(1)
        projected = ((pooled + EPSILON).sqrt() - self.mean) @ self.projection
        return projected / (projected.square().sum(1, keepdim=True) + EPSILON).sqrt()
