"""Witches' Brew, clean-label: poison that trains a model just as the target with the wrong label would.

Geiping, Fowl, Huang, Czaja, Taylor, Moeller and Goldstein, "Witches' Brew: Industrial Scale Data Poisoning via
Gradient Matching", ICLR 2021, arXiv:2009.02276: for a target t and a class y, images x_i of the class y are
changed, within eps, to minimise

    B = 1 - cos( grad L(t, y), sum_i grad L(x_i, y) )

over the weights of a network trained on the clean dataset, by Adam on the sign of the gradient, from a random
start. The network sees the images shifted at random, which the paper does as well, and as they will be stored.
The best of 8 starts of 250 steps is taken, as in the paper; one start of 100 is a twentieth of the work.
Large poisonings are brewed in batches, each of which has its own sum, as the authors' program does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks.base import ATTACKS, Crafter, GradientEncoder, Images, Need, Stored, Surrogate, require
from bezoar.attacks.targets import OneTarget, Target
from bezoar.attacks.torch_helpers import (
    as_stored,
    batches,
    bounds,
    given,
    import_torch,
    to_pixels,
    to_size,
    to_tensor,
)
from bezoar.data.dataset import Dataset

_RATE = 0.1  # Adam's in the first step, as a share of eps; it shrinks to nothing (cosine)
_SHIFT = 2  # largest random shift in the network's pixels


@dataclass(frozen=True, kw_only=True)
class WitchesBrew(OneTarget):
    """Changes records of class `source` so that training on them teaches a model to read one target image as
    `source`; their label stays right.
    """

    name: ClassVar[str] = "witches-brew"
    paper: ClassVar[str] = "Geiping et al., Witches' Brew, ICLR 2021, arXiv:2009.02276"
    needs: ClassVar[tuple[Need, ...]] = ("surrogate",)

    steps: int = field(default=250, metadata={"help": "number of steps"})
    eps: float = field(default=16.0, metadata={"help": "largest change of a pixel in levels of 255"})
    restarts: int = field(default=8, metadata={"help": "random starts, of which the best is kept"})

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, f"steps {self.steps}: needs at least one")
        require(1 <= self.eps <= 255, f"eps {self.eps}: must lie between 1 and 255")
        require(self.restarts >= 1, f"restarts {self.restarts}: needs at least one")

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> Crafter[Images]:
        """Look the target up; UsageError without a surrogate, or when the target is no other class's image."""
        surrogate = given(surrogate, self.name)
        return _Witch(self, self.find_target(dataset), surrogate)


@dataclass(frozen=True)
class _Witch:
    """The attack bound to its target and the surrogate."""

    attack: WitchesBrew
    target: Target
    surrogate: Surrogate

    def craft(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """Poison from base images (n, H, W, 3)."""
        goal = self._goal()
        brews = []
        for rows in batches(len(samples), self.surrogate.size):
            tries = [self._brew(samples[rows], goal, rng, stored[rows]) for _ in range(self.attack.restarts)]
            brews.append(max(tries, key=lambda brew: self._match(brew, goal, stored[rows])))
        return np.concatenate(brews)

    def measure(self, samples: Images) -> Mapping[str, NDArray[np.float64]]:
        """The cosine 1 - B of the batch that each image is brewed in."""
        goal, cosines = self._goal(), np.empty(len(samples))
        for rows in batches(len(samples), self.surrogate.size):
            cosines[rows] = self._match(samples[rows], goal, None)
        return {"gradient_cosine": cosines}

    def details(self) -> Mapping[str, Any]:
        """The target and the surrogate."""
        return {
            **self.target.details,
            "surrogate": self.surrogate.name,
            "surrogate_digest": self.surrogate.digest,
        }

    def _brew(
        self, bases: Images, goal: list[Any], rng: np.random.Generator, stored: Sequence[Stored]
    ) -> Images:
        """Poison of one batch from one random start."""
        torch = import_torch("the witches-brew attack")
        steps, rate = self.attack.steps, _RATE * self.attack.eps / 255
        clean = to_tensor(bases)
        low, high = bounds(clean, self.attack.eps)
        noise = torch.from_numpy(rng.random(clean.shape, np.float32))
        x = low + noise * (high - low)
        optimiser = torch.optim.Adam([x])
        for number in range(steps):
            seen = as_stored(x, stored).requires_grad_()
            resized = to_size(seen, self.surrogate.size)
            cosine = _cosine(self._gradient(_shifted(resized, rng), brewing=True), goal)
            (gradient,) = torch.autograd.grad(-cosine, seen)
            x.grad = gradient.sign()
            optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * number / steps)) / 2
            optimiser.step()
            x.clamp_(low, high)
        return to_pixels(x)

    def _match(self, images: Images, goal: list[Any], stored: Sequence[Stored] | None) -> float:
        """The cosine of images (n, H, W, 3) together, once they are stored."""
        seen = as_stored(to_tensor(images), stored)
        return float(_cosine(self._gradient(to_size(seen, self.surrogate.size)), goal))

    def _goal(self) -> list[Any]:
        """The gradient that the target would have with the label `source`."""
        return self._gradient(to_size(to_tensor(self.target.pixels[None]), self.surrogate.size))

    def _gradient(self, images: Any, *, brewing: bool = False) -> list[Any]:
        """Of the loss of images (n, 3, size, size) with the label `source`, by each of the network's weights;
        itself with a gradient when `brewing`.
        """
        torch = import_torch("the witches-brew attack")
        module = self.surrogate.module
        labels = torch.full((len(images),), self.attack.source)
        loss = torch.nn.functional.cross_entropy(module(images), labels, reduction="sum")
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        return list(torch.autograd.grad(loss, weights, create_graph=brewing))


def _cosine(one: list[Any], other: list[Any]) -> Any:
    """Of two gradients, each in parts."""
    product = sum((a * b).sum() for a, b in zip(one, other, strict=True))
    lengths = sum(a.square().sum() for a in one) * sum(b.square().sum() for b in other)
    return product / (lengths + 1e-24) ** 0.5


def _shifted(images: Any, rng: np.random.Generator) -> Any:
    """Images (n, 3, H, W), all shifted alike at random; their border pixels fill the gap."""
    import torch

    height, width = images.shape[2:]
    top, left = rng.integers(0, 2 * _SHIFT + 1, 2).tolist()
    padded = torch.nn.functional.pad(images, (_SHIFT,) * 4, mode="replicate")
    return padded[:, :, top : top + height, left : left + width]


ATTACKS.register(WitchesBrew.name, WitchesBrew)
