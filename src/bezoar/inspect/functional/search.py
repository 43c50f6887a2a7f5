"""Triggers for many labels at once: one batch, one optimiser, one penalty per label (after Wang et al. 2019, "Neural Cleanse").

Neural Cleanse looks for the smallest trigger that sends every image to a label, one label after the other, and adapts the
weight of the size after every epoch. Here all labels share each step, and each has its weight adapted after every step. Imports
torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from bezoar.inspect.functional.folding import at_once
from bezoar.inspect.functional.paint import RATES, Parameters, cells_of, stamp, start, triggers
from bezoar.inspect.trigger import Kind, Trigger

_GOAL = 0.9  # of the images must flip before size counts for more
_RISE, _FALL = 1.25, 1 / 1.4  # of a penalty, per step in which the goal was met, or missed
_FIRST: dict[Kind, float] = {"patch": 0.5, "shift": 2.0, "warp": 20.0}  # penalties, in nats per unit of size
_DECAY = (0.5, 0.9)  # Adam's
_STEEPEST = 1e15  # gradient, of strange networks: its square is a number, for torch's warp crashes on nan
_AFTER = 3  # steps that do not count for the effort
_LATE = 8  # last steps that count for the size


class Aim(Protocol):
    """What the images of each group are to become."""

    def of(self, groups: torch.Tensor) -> Aim:
        """The aim of these groups alone."""
        ...

    def loss(self, chances: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses (G,) and the share of images that got there (G,), of log-probabilities (G, n, K) of images `rows` (G, n)."""
        ...


@dataclass(frozen=True, slots=True)
class Towards:
    """Each image is to flip to a label of its own, `labels` (G, N) for all N images."""

    labels: torch.Tensor

    def of(self, groups: torch.Tensor) -> Towards:
        """The aim of these groups alone."""
        return Towards(self.labels[groups])

    def loss(self, chances: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy."""
        wanted = self.labels.gather(1, rows)
        return -chances.gather(2, wanted[..., None]).mean((1, 2)), _share(chances, wanted)


@dataclass(frozen=True, slots=True)
class Away:
    """Each group's images are to flip together to any one label but those `barred` (G, B), of which their own is one.

    Which one is left open: the label that is nearest draws the most, and draws more the nearer it comes.
    """

    barred: torch.Tensor

    def of(self, groups: torch.Tensor) -> Away:
        """The aim of these groups alone."""
        return Away(self.barred[groups])

    def loss(self, chances: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Minus the log of the sum over other labels of their geometric mean probabilities."""
        others = chances.mean(1).scatter(1, self.barred, -torch.inf)
        return -others.logsumexp(1), _share(chances, others.argmax(1, keepdim=True))


def _share(chances: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (chances.argmax(2) == wanted).float().mean(1)


@dataclass
class Search:
    """Triggers for G groups, on images (N, C, H, W); `pools` (G, M) says which of them each group may see, in which order."""

    network: nn.Module
    images: torch.Tensor
    pools: torch.Tensor
    aim: Aim
    kind: Kind
    per_step: int
    parameters: Parameters

    @classmethod
    def begin(
        cls,
        network: nn.Module,
        images: torch.Tensor,
        pools: torch.Tensor,
        aim: Aim,
        kind: Kind,
        *,
        per_step: int,
        seed: int,
        finest: bool = False,
    ) -> Search:
        """A search that has not taken a step; all groups start from the same trigger, drawn from `seed`."""
        shape = (images.shape[1], images.shape[2], images.shape[3])
        draw = torch.Generator().manual_seed(seed)
        drawn = start(kind, len(pools), shape, cells_of(kind, shape, finest), draw)
        parameters = {name: value.to(images.device) for name, value in drawn.items()}
        return cls(network, images, pools, aim, kind, per_step, parameters)

    def __post_init__(self) -> None:
        self._moments = {
            name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in self.parameters.items()
        }
        self._penalty = torch.full((len(self.pools),), _FIRST[self.kind], device=self.images.device)
        self._smallest = torch.full_like(self._penalty, torch.inf)
        self._kept = dict(self.parameters)
        self._sizes: list[torch.Tensor] = []
        self._losses: list[torch.Tensor] = []
        self._success: list[torch.Tensor] = []

    def run(self, steps: int, per_step: int | None = None) -> Search:
        """Take that many steps, from now on with `per_step` images of each group."""
        self.per_step = per_step or self.per_step
        for _ in range(steps):
            self._step()
        return self

    def keep(self, which: torch.Tensor) -> None:
        """Go on with these groups alone."""
        self.pools, self._penalty = self.pools[which], self._penalty[which]
        self.aim = self.aim.of(which)
        self.parameters = {name: p[which] for name, p in self.parameters.items()}
        self._smallest = self._smallest[which]
        self._kept = {name: p[which] for name, p in self._kept.items()}
        self._moments = {name: (a[which], b[which]) for name, (a, b) in self._moments.items()}
        for track in (self._sizes, self._losses, self._success):
            track[:] = [values[which] for values in track]

    @property
    def effort(self) -> torch.Tensor:
        """Log of the mean loss on the way (G,): how reluctantly images flip, whatever size it takes."""
        return torch.stack(self._losses[_AFTER:]).mean(0).clamp(min=1e-4).log()

    @property
    def size(self) -> torch.Tensor:
        """Log size (G,), with a surcharge where too few images flip."""
        late = torch.stack(self._sizes[-_LATE:]).clamp(min=1e-5).log().mean(0)
        return late + 3 * (_GOAL - torch.stack(self._success[-_LATE:]).mean(0)).clamp(min=0)

    @property
    def triggers(self) -> list[Trigger]:
        """The smallest that met the goal in some step; the last where none did."""
        return triggers(self.kind, self._kept, self.images.shape[2:])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def answers(self, rows: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (G, n, K) of images `rows` (G, n) under the triggers."""
        parts = []
        for group in torch.arange(len(rows), device=rows.device).split(self._groups(rows.shape[1])):
            stamped, _ = stamp(
                self.kind, {name: p[group] for name, p in self._kept.items()}, self.images[rows[group]]
            )
            parts.append(self.network(stamped.flatten(0, 1)).unflatten(0, stamped.shape[:2]))
        return torch.cat(parts).log_softmax(2)

    def _groups(self, per_step: int) -> int:
        """How many may be looked at together."""
        return max(1, at_once(self.images) // per_step)

    def _step(self) -> None:
        step, n = len(self._sizes), self.per_step
        turn = torch.arange(step * n, (step + 1) * n, device=self.images.device) % self.pools.shape[1]
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        groups = torch.arange(len(self.pools), device=self.images.device).split(self._groups(n))
        parts = [self._forward(group, self.pools[group][:, turn]) for group in groups]
        sizes, losses, success = (torch.cat(values) for values in zip(*parts, strict=True))
        self._remember(sizes, success)
        self._move(step + 1)
        self._penalty *= torch.where(success >= _GOAL, _RISE, _FALL)
        self._sizes.append(sizes)
        self._losses.append(losses)
        self._success.append(success)

    def _forward(
        self, some: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Add the gradients of some groups; their sizes, losses and success."""
        parameters = {name: p[some] for name, p in self.parameters.items()}
        stamped, sizes = stamp(self.kind, parameters, self.images[rows])
        logits = self.network(stamped.flatten(0, 1)).unflatten(0, rows.shape)
        losses, success = self.aim.of(some).loss(logits.log_softmax(2), rows)
        (losses + self._penalty[some] * sizes).sum().backward()
        return sizes.detach(), losses.detach(), success

    def _remember(self, sizes: torch.Tensor, success: torch.Tensor) -> None:
        """Keep what met the goal with a smaller trigger than before, or whatever there is while nothing has met it."""
        better = (success >= _GOAL) & (sizes < self._smallest)
        self._smallest = torch.where(better, sizes, self._smallest)
        newer = better | self._smallest.isinf()
        for name, parameter in self.parameters.items():
            chosen = newer.reshape(-1, *[1] * (parameter.dim() - 1))
            self._kept[name] = torch.where(chosen, parameter.detach(), self._kept[name])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _move(self, step: int) -> None:
        """Adam (Kingma and Ba 2015): elementwise, so that groups do not touch each other."""
        for name, parameter in self.parameters.items():
            gradient = parameter.grad.nan_to_num(0, 0, 0).clamp(-_STEEPEST, _STEEPEST)
            mean, square = self._moments[name]
            mean.lerp_(gradient, 1 - _DECAY[0])
            square.lerp_(gradient.square(), 1 - _DECAY[1])
            spread = (square / (1 - _DECAY[1] ** step)).sqrt() + 1e-12
            moved = parameter.detach() - RATES[self.kind] * mean / (1 - _DECAY[0] ** step) / spread
            self.parameters[name] = moved
