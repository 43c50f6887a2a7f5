"""Bullseye Polytope, clean-label: several poisons whose features have their *mean* on those of one target.

Aghakhani, Meng, Wang, Kruegel and Vigna, "Bullseye Polytope: A Scalable Clean-Label Poisoning Attack with
Improved Transferability", EuroS&P 2021, arXiv:2005.00191: for a target t and a group of k poisons x_1 .. x_k,
each within eps of its base image, Adam minimises

    J = 1/2 * ||f(t) - mean_j f(x_j)||^2 / ||f(t)||^2

The paper takes 4000 steps over an ensemble of networks with dropout, so that the poison transfers; here f is
one encoder, for which a few hundred steps bring J to rest. As for feature collision, f sees each image as it
will be stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks.approach import Approach
from bezoar.attacks.base import ATTACKS, Crafter, GradientEncoder, Images, Need, Stored, Surrogate, require
from bezoar.attacks.targets import OneTarget
from bezoar.attacks.torch_helpers import (
    as_stored,
    batches,
    bounds,
    import_torch,
    to_pixels,
    to_size,
    to_tensor,
    with_gradient,
)
from bezoar.data.dataset import Dataset

_RATE = 0.04  # Adam's in the first step, as in the paper; it shrinks to nothing (cosine)
_LARGEST_GROUP = 64  # bounds the memory of the backward pass


@dataclass(frozen=True, kw_only=True)
class BullseyePolytope(OneTarget):
    """Moves the mean of groups of records of class `source` onto one target image in the space of an encoder;
    their label stays right.

    Each poison stays nearer to its base than in a feature collision, and yet a model that learns the group as
    `source` has the target in its midst. The last group may be smaller.
    """

    name: ClassVar[str] = "bullseye"
    paper: ClassVar[str] = "Aghakhani et al., Bullseye Polytope, EuroS&P 2021, arXiv:2005.00191"
    needs: ClassVar[tuple[Need, ...]] = ("encoder",)

    group: int = field(default=5, metadata={"help": "poisons whose mean is moved together"})
    steps: int = field(default=4000, metadata={"help": "number of steps"})
    eps: float = field(default=25.5, metadata={"help": "largest change of a pixel in levels of 255"})

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            1 <= self.group <= _LARGEST_GROUP,
            f"group {self.group}: must lie between 1 and {_LARGEST_GROUP}",
        )
        require(self.steps >= 1, f"steps {self.steps}: needs at least one")
        require(1 <= self.eps <= 255, f"eps {self.eps}: must lie between 1 and 255")

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> Crafter[Images]:
        """Look the target up; UsageError without an encoder, or when the target is no other class's image."""
        encoder = with_gradient(encoder, self.name)
        return _Archer(self.find_target(dataset), encoder, self)


@dataclass(frozen=True)
class _Archer(Approach):
    """The attack bound to its target and encoder."""

    attack: BullseyePolytope

    def craft(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """Poison from base images (n, H, W, 3), grouped in this order; nothing in it is random."""
        module, size = self.encoder.torch_module(), self.encoder.size
        crafted = [
            self._converge(samples[rows], module, stored[rows])
            for rows in batches(len(samples), size, self.attack.group)
        ]
        return np.concatenate(crafted)

    def measure(self, samples: Images) -> Mapping[str, NDArray[np.float64]]:
        """Euclidean distances to the target in the encoder's space: of each image, and of its group's mean."""
        features, goal = self.features(samples), self.features(self.target.pixels[None])
        groups = np.arange(len(samples)) // self.attack.group
        means = np.stack([features[groups == group].mean(axis=0) for group in np.unique(groups)])
        distances = np.linalg.norm(means - goal, axis=1)
        return {**super().measure(samples), "mean_feature_distance": distances[groups]}

    def _converge(self, bases: Images, module: Any, stored: Sequence[Stored]) -> Images:
        """Poison of whole groups, each at the best of its steps."""
        torch = import_torch("the bullseye attack")
        size, steps = self.encoder.size, self.attack.steps
        clean = to_tensor(bases)
        low, high = bounds(clean, self.attack.eps)
        group_of = torch.arange(len(clean)) // self.attack.group
        with torch.no_grad():
            goal = module(to_size(to_tensor(self.target.pixels[None]), size))
            scale = goal.square().sum().clamp_min(1e-12)

        def evaluate(x: Any) -> tuple[Any, Any]:
            """J of each group of the images as stored, and its gradient (as if unstored)."""
            seen = as_stored(x, stored).requires_grad_()
            features = module(to_size(seen, size))
            means = torch.stack([part.mean(0) for part in features.split(self.attack.group)])
            losses = (means - goal).square().sum(1) / scale / 2
            (gradient,) = torch.autograd.grad(losses.sum(), seen)
            return losses.detach(), gradient

        x, best = clean.clone(), clean
        least, x.grad = evaluate(x)
        optimiser = torch.optim.Adam([x], lr=_RATE)
        for number in range(steps):
            optimiser.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * number / steps)) / 2
            optimiser.step()
            x.clamp_(low, high)
            losses, x.grad = evaluate(x)
            best = torch.where((losses < least)[group_of, None, None, None], x, best)
            least = torch.minimum(losses, least)
        return to_pixels(best)


ATTACKS.register(BullseyePolytope.name, BullseyePolytope)
