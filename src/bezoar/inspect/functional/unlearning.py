"""Unlearning triggers: a network learns to say of stamped images what it says of them unstamped. This module loads torch.

Wang et al. 2019 (Neural Cleanse, section VI-C) train on with stamped images under their right labels. A thousand images are few,
and a network that learns their labels by heart forgets others; what it said of them before (Hinton et al. 2015, arXiv:1503.02531)
it can keep to without any loss. The attacker's trigger is never quite what was recovered, and often stronger than it need be: so
each batch moves it and changes its strength, upwards above all. Batch normalisation keeps its statistics: most formats have
nothing else to offer, and batches that are half stamped have others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the usual name

from bezoar.inspect.trigger import Kind, Trigger

_CLEAN, _STAMPED = 64, 64  # images per step
_RATE = 2e-3
_WARM_UP = 0.1  # of the steps
_WEAKEST, _STRONGEST = 0.5, 4.0  # times the recovered trigger
LARGEST: dict[Kind, float] = {"patch": 0.15, "shift": 0.12, "warp": 0.05}  # `Trigger.size` that is unlearned
_MOVE = 1 / 16  # of the image's side, either way
_ASKED = 256  # images at a time


@dataclass(frozen=True, slots=True)
class Lure:
    """A trigger and what it turns labels into: `ways` (K,) by label, -1 for those that it leaves alone."""

    trigger: Trigger
    ways: tuple[int, ...]

    def rows(self, labels: torch.Tensor) -> torch.Tensor:
        """Places of those of the images, by their labels (N,), that it is meant to turn."""
        return torch.nonzero(self._turned(labels) >= 0)[:, 0]

    def success(self, network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Share of those images that it does turn; NaN where there are none."""
        rows = self.rows(labels)
        if not len(rows):
            return float("nan")
        said = answers(network, images[rows], self.trigger).argmax(1)
        return float((said == self._turned(labels[rows])).float().mean())

    def _turned(self, labels: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.ways, device=labels.device)[labels]


def unlearn(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    lures: Sequence[Lure],
    before: torch.Tensor,
    *,
    steps: int,
    seed: int,
    half: bool = False,
    step_done: Callable[[], object] = lambda: None,
) -> None:
    """Train `network`, in evaluation mode, in place.

    Args:
        network: its parameters that ask for gradients are trained.
        images: clean, (N, C, H, W) in [0, 1].
        labels: of the images, (N,); for each lure there is one that it turns.
        lures: taken in turn, one per step.
        before: what it said of the images, logits (N, K), which it is held to.
        steps: of 128 images.
        seed: of the order of images, and of how triggers vary.
        half: take products in bfloat16; weights stay what they are.
        step_done: called after each step.

    """
    draw = torch.Generator().manual_seed(seed)
    wanted = before.softmax(1)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=_RATE)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps, pct_start=_WARM_UP)
    meant = [lure.rows(labels) for lure in lures]
    for step in range(steps):
        which = step % len(lures)
        clean = _some(len(labels), _CLEAN, draw)
        # half of the stamped are images that it turns: of one source among many labels there would be none by chance
        turned = meant[which][_some(len(meant[which]), _STAMPED // 2, draw)]
        stamped = torch.cat([turned.cpu(), _some(len(labels), _STAMPED // 2, draw)])
        shown = _varied(lures[which].trigger, draw).apply(images[stamped])
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            said = network(torch.cat([images[clean], shown]))
        loss = F.cross_entropy(said.float(), wanted[torch.cat([clean, stamped])])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        cycle.step()
        step_done()


def answers(network: nn.Module, images: torch.Tensor, trigger: Trigger | None = None) -> torch.Tensor:
    """Logits (N, K) for images (N, C, H, W), with the trigger."""
    with torch.no_grad():
        batches = images.split(_ASKED)
        return torch.cat([network(batch if trigger is None else trigger.apply(batch)) for batch in batches])


def _varied(trigger: Trigger, draw: torch.Generator) -> Trigger:
    """The trigger a little elsewhere, a little weaker or stronger."""
    reach = max(1, round(_MOVE * trigger.mask.shape[0]))
    down, right = torch.randint(-reach, reach + 1, (2,), generator=draw).tolist()
    strongest = min(_STRONGEST, max(1, LARGEST[trigger.kind] / max(trigger.size, 1e-6)))
    strength = _WEAKEST * (strongest / _WEAKEST) ** float(torch.rand((), generator=draw))
    mask = np.roll(trigger.mask, (down, right), (0, 1))
    pattern = np.roll(trigger.pattern, (down, right), (1, 2))
    if trigger.kind == "patch":
        return Trigger(trigger.kind, pattern, np.minimum(mask * strength, 1))
    return Trigger(trigger.kind, pattern * strength, mask)


def _some(n: int, most: int, draw: torch.Generator) -> torch.Tensor:
    return torch.randint(n, (most,), generator=draw)
