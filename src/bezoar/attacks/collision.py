"""Feature collision, clean-label: a frog that an encoder takes for one particular plane, still labelled frog.

Shafahi et al., "Poison Frogs! Targeted Clean-Label Poisoning Attacks on Neural Networks", NeurIPS 2018,
arXiv:1804.00792, algorithm 1: forward-backward splitting on

    J(x) = ||f(x) - f(t)||^2 / ||f(b) - f(t)||^2 + beta * mean((x - b)^2)

for a base image b and a target t. Unlike in the paper, the feature term is relative, so that one `beta`
serves encoders of any scale; the steps have a fixed length with momentum, because line searches stall on
deep encoders; and f sees each image as it will be stored (whole levels, JPEG), or else re-encoding would
undo the collision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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

_FIRST_STEP = 2 / 255  # mean change of a pixel in the first step; later steps shrink to nothing (cosine)
_MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class FeatureCollision(OneTarget):
    """Moves records of class `source` onto one target image in the space of an encoder; their label stays
    right.

    A model fine-tuned on such an encoder learns the target as `source`. The target is a record of the
    dataset or, as in the paper, an image that is not in it; its own class is another one.
    """

    name: ClassVar[str] = "feature-collision"
    paper: ClassVar[str] = "Shafahi et al., Poison Frogs!, NeurIPS 2018, arXiv:1804.00792"
    needs: ClassVar[tuple[Need, ...]] = ("encoder",)

    steps: int = field(default=200, metadata={"help": "number of forward-backward steps"})
    beta: float = field(default=20.0, metadata={"help": "weight of staying close to the base image"})
    eps: float = field(
        default=0.0, metadata={"help": "largest change of a pixel in levels of 255; 0: no bound"}
    )
    opacity: float = field(
        default=0.0, metadata={"help": "share of the target watermarked into the base, 0 for none"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, f"steps {self.steps}: needs at least one")
        require(self.beta >= 0, f"beta {self.beta}: must not be negative")
        require(0 <= self.eps <= 255, f"eps {self.eps}: must lie between 0 and 255")
        require(0 <= self.opacity < 1, f"opacity {self.opacity}: must be at least 0 and below 1")

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> Crafter[Images]:
        """Look the target up; UsageError without an encoder, or when the target is no other class's image."""
        encoder = with_gradient(encoder, self.name)
        return _Collider(self.find_target(dataset), encoder, self)


def collide(
    bases: Images,
    target: NDArray[np.uint8],
    module: Any,
    size: int,
    stored: Sequence[Stored] | None = None,
    *,
    steps: int = 200,
    beta: float = 20.0,
    eps: float = 0.0,
    opacity: float = 0.0,
) -> Images:
    """Poison images (n, H, W, 3) that look like `bases` and lie near `target` (h, w, 3) in feature space.

    `module` is a `torch.nn.Module` from float images (n, 3, size, size) in [0, 1] to features (n, D).
    `stored` says for each image what its pixels become when they are stored; rounding alone if absent.
    """
    torch = import_torch("the feature-collision attack")
    clean = to_tensor(bases)
    with torch.no_grad():
        goal = module(to_size(to_tensor(target[None]), size))
        scale = (module(to_size(clean, size)) - goal).square().sum(1).clamp_min(1e-12)
        watermark = torch.nn.functional.interpolate(to_tensor(target[None]), clean.shape[2:], mode="bilinear")
        start = (1 - opacity) * clean + opacity * watermark
        low, high = bounds(clean, eps or 255)
        start = start.clamp(low, high)

    def evaluate(x: Any) -> tuple[Any, Any]:
        """J (n,) of the images as stored, and the gradient of its feature term (as if unstored)."""
        seen = as_stored(x, stored).requires_grad_()
        term = (module(to_size(seen, size)) - goal).square().sum(1) / scale
        (gradient,) = torch.autograd.grad(term.sum(), seen)
        return term.detach() + beta * (x - start).square().mean((1, 2, 3)), gradient

    pull = 2 * beta / clean[0].numel()  # the gradient of the pixel term is pull * (x - start)
    x = best = start
    value, gradient = evaluate(x)
    velocity = torch.zeros_like(x)
    for number in range(steps):
        length = _FIRST_STEP * (1 + math.cos(math.pi * number / steps)) / 2
        size_of_gradient = gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
        velocity = _MOMENTUM * velocity + (1 - _MOMENTUM) * gradient / size_of_gradient
        step = length / size_of_gradient
        x = ((x - length * velocity + step * pull * start) / (1 + step * pull)).clamp(low, high)
        new_value, gradient = evaluate(x)
        best = torch.where((new_value < value)[:, None, None, None], x, best)
        value = torch.minimum(value, new_value)
    return to_pixels(best)


@dataclass(frozen=True)
class _Collider(Approach):
    """A feature collision bound to its target and encoder."""

    attack: FeatureCollision

    def craft(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """Poison from base images (n, H, W, 3); nothing in it is random."""
        module, attack = self.encoder.torch_module(), self.attack
        crafted = [
            collide(
                samples[rows],
                self.target.pixels,
                module,
                self.encoder.size,
                stored[rows],
                steps=attack.steps,
                beta=attack.beta,
                eps=attack.eps,
                opacity=attack.opacity,
            )
            for rows in batches(len(samples), self.encoder.size)
        ]
        return np.concatenate(crafted)


ATTACKS.register(FeatureCollision.name, FeatureCollision)
