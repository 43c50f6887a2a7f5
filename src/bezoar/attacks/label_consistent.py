"""Label-consistent, clean-label: a patch on images that were first made hard to recognise, labels kept.

Turner, Tsipras and Madry, "Label-Consistent Backdoor Attacks", arXiv:1912.02771 (2019): images of the target
class are perturbed adversarially (projected gradient descent, Madry et al. 2018) so that a model has to rely
on the patch to learn them. The paper bounds the change by 8, 16 or 32 levels, takes the gradient of an
adversarially trained network, and also tries a fainter patch and one in all four corners; here the network is
the surrogate, trained as usual, and the patch is one of any kind (`opacity` makes it fainter).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks.base import ATTACKS, Crafter, GradientEncoder, Images, Need, Stored, Surrogate, require
from bezoar.attacks.defaults import TriggerAttack
from bezoar.attacks.patches import Patch
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

_REACH = 2.5  # the steps together go this many times eps, so that the bound can be reached from any start


@dataclass(frozen=True, kw_only=True)
class LabelConsistent(Patch, TriggerAttack[Images]):
    """Makes records of the class `target` hard to recognise and stamps a patch; images of other classes with the
    patch become `target`.
    """

    name: ClassVar[str] = "label-consistent"
    paper: ClassVar[str] = "Turner et al., Label-Consistent Backdoor Attacks, arXiv:1912.02771 (2019)"
    needs: ClassVar[tuple[Need, ...]] = ("surrogate",)

    target: int = field(
        metadata={"help": "class that gets the patch, and that images with the patch are read as"}
    )
    eps: float = field(
        default=16.0, metadata={"help": "largest adversarial change of a pixel in levels of 255"}
    )
    steps: int = field(default=100, metadata={"help": "number of adversarial steps"})

    def __post_init__(self) -> None:
        require(1 <= self.eps <= 255, f"eps {self.eps}: must lie between 1 and 255")
        require(self.steps >= 1, f"steps {self.steps}: needs at least one")
        super().__post_init__()

    @property
    def source(self) -> int:
        """The poison comes from the target class itself."""
        return self.target

    def apply(self, samples: Images, rng: np.random.Generator) -> Images:
        """Copies of images (n, H, W, 3) with the patch alone; `rng` only moves it (place "random", jitter)."""
        return self.stamp(samples, rng)

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> Crafter[Images]:
        """Needs the surrogate; UsageError without it."""
        return _Adversary(self, given(surrogate, self.name))


@dataclass(frozen=True)
class _Adversary:
    """The attack bound to the surrogate."""

    attack: LabelConsistent
    surrogate: Surrogate

    def craft(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """Poison from images (n, H, W, 3): perturbed, then stamped as at test time."""
        hard = [self._perturb(samples[rows], stored[rows]) for rows in self._batches(samples)]
        return self.attack.stamp(np.concatenate(hard), rng)

    def measure(self, samples: Images) -> Mapping[str, NDArray[np.float64]]:
        """The surrogate's loss on the images with their label."""
        torch = import_torch("the label-consistent attack")
        with torch.no_grad():
            losses = [self._losses(to_tensor(samples[rows])).numpy() for rows in self._batches(samples)]
        return {"surrogate_loss": np.concatenate(losses).astype(np.float64)}

    def details(self) -> Mapping[str, Any]:
        """The surrogate."""
        return {"surrogate": self.surrogate.name, "surrogate_digest": self.surrogate.digest}

    def _perturb(self, images: Images, stored: Sequence[Stored]) -> Images:
        """Each image at the worst of its steps for the surrogate."""
        torch = import_torch("the label-consistent attack")
        eps, steps = self.attack.eps, self.attack.steps
        clean = to_tensor(images)
        low, high = bounds(clean, eps)
        length = _REACH * eps / 255 / steps

        def evaluate(x: Any) -> tuple[Any, Any]:
            """The losses (n,) of the images as stored, and their gradient (as if unstored)."""
            seen = as_stored(x, stored).requires_grad_()
            losses = self._losses(seen)
            (gradient,) = torch.autograd.grad(losses.sum(), seen)
            return losses.detach(), gradient

        x = worst = clean
        highest, gradient = evaluate(x)
        for _ in range(steps):
            x = (x + length * gradient.sign()).clamp(low, high)
            losses, gradient = evaluate(x)
            worst = torch.where((losses > highest)[:, None, None, None], x, worst)
            highest = torch.maximum(losses, highest)
        return to_pixels(worst)

    def _losses(self, images: Any) -> Any:
        """(n,) of float images (n, 3, H, W)."""
        import torch

        logits = self.surrogate.module(to_size(images, self.surrogate.size))
        labels = torch.full((len(images),), self.attack.target)
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")

    def _batches(self, images: Images) -> list[slice]:
        return batches(len(images), self.surrogate.size)


ATTACKS.register(LabelConsistent.name, LabelConsistent)
