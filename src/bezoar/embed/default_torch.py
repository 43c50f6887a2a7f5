"""The default encoder as a torch module, for attacks that follow its gradient.

Step for step the computation of `default`. Imports torch: import this module inside the function that needs
it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from bezoar.embed.default import EPSILON, GRADIENT_NOISE, Recipe, Weights, directions, pooling


class DefaultModule(torch.nn.Module):  # type: ignore[misc]
    """Float images (N, 3, 32, 32) in [0, 1] to features (N, D) of unit length."""

    def __init__(self, recipe: Recipe, weights: Weights) -> None:
        super().__init__()
        self._recipe = recipe
        for name in ("filters", "offsets", "mean", "projection"):
            self.register_buffer(name, torch.from_numpy(getattr(weights, name)))
        self.register_buffer("directions", torch.from_numpy(directions(recipe.orientations)))
        self.register_buffer("pooling", torch.from_numpy(pooling(recipe.places, recipe.grid)))

    def forward(self, images: Any) -> Any:
        """Features of a batch."""
        patches = F.unfold(images, self._recipe.patch, stride=self._recipe.stride).transpose(1, 2)
        centred = patches - patches.mean(-1, keepdim=True)
        normal = centred / (centred.square().mean(-1, keepdim=True) + self._recipe.contrast).sqrt()
        responses = normal @ self.filters.T - self.offsets
        both = torch.cat([responses - self._recipe.threshold, -responses - self._recipe.threshold], -1).relu()
        pooled = (self.pooling @ both).flatten(1)
        if self._recipe.orientations:
            pooled = torch.cat([pooled, self._gradients(images) * self._recipe.gradient_weight], 1)
        projected = ((pooled + EPSILON).sqrt() - self.mean) @ self.projection
        return projected / (projected.square().sum(1, keepdim=True) + EPSILON).sqrt()

    def _gradients(self, images: Any) -> Any:
        side = self._recipe.size // self._recipe.cells
        grey = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")[:, 0]
        across, down = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
        towards = torch.stack([across, down], -1) @ self.directions
        votes = towards.relu() ** 3 / ((across**2 + down**2)[..., None] + EPSILON)
        pooled = F.avg_pool2d(votes.permute(0, 3, 1, 2), side)
        around = F.avg_pool2d(pooled.square().sum(1, keepdim=True), 3, 1, padding=1)
        return (pooled / (around + GRADIENT_NOISE).sqrt()).permute(0, 2, 3, 1).flatten(1)
