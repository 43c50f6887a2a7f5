"""Backdoors of one source: the smallest patch that sends the images of one label, and of no other, to any one other label.

A trigger that works on one class alone (Tang et al. 2021, "TaCT", USENIX Security) leaves a target's other sources far away, so
it shows per source and not per target. The target is left open, for to try all pairs would take K times as long; further searches
may not go where the first one went, which is mostly to a label that resembles the source. Imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bezoar.inspect.functional.folding import Prepared
from bezoar.inspect.functional.search import Away, Search

_PER_STEP = 6
_STEPS = 36
_ROUNDS = (3, 1)  # searches, each to a label where none before led; where labels are few, and many
_FEW = 16
_FEWEST = 8  # images of a label, to say anything about it: fewer are led anywhere in clean networks, too


@dataclass(frozen=True, slots=True)
class Exits:
    """Per label the log size (K,) of the patch that leads away from it, nan where there are too few images, and where to (K,)."""

    sizes: torch.Tensor
    labels: torch.Tensor


def exits(network: Prepared, images: torch.Tensor, own: torch.Tensor, n_labels: int, seed: int) -> Exits:
    """Of images (N, C, H, W) that the network gives the labels `own` (N,)."""
    sizes = torch.full((n_labels,), torch.nan)
    labels = torch.full((n_labels,), -1)
    known, pools = pools_of_labels(own, n_labels, _PER_STEP * 4)
    barred = known[:, None]
    rounds = min(_ROUNDS[n_labels > _FEW], n_labels - 1)
    for _ in range(rounds if len(known) else 0):
        search = Search.begin(network, images, pools, Away(barred), "patch", per_step=_PER_STEP, seed=seed)
        found = search.run(_STEPS).size.cpu()
        reached = _reached(network, images[pools[:, :_PER_STEP]], search, barred)
        smaller = ~(found >= sizes[known.cpu()])  # also where there is none yet
        sizes[known.cpu()[smaller]] = found[smaller]
        labels[known.cpu()[smaller]] = reached.cpu()[smaller]
        barred = torch.cat([barred, reached[:, None]], 1)
    return Exits(sizes, labels)


def pools_of_labels(own: torch.Tensor, n_labels: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The labels that have enough images (S,), and of each `length` rows (S, length), in turn."""
    counts = torch.bincount(own, minlength=n_labels)
    known = torch.nonzero(counts >= _FEWEST)[:, 0]
    turns = [torch.nonzero(own == label)[:, 0] for label in known]
    rows = [turn.repeat(-(-length // len(turn)))[:length] for turn in turns]
    return known, torch.stack(rows) if rows else own.new_empty((0, length))


@torch.no_grad()  # type: ignore[untyped-decorator]
def _reached(network: Prepared, images: torch.Tensor, search: Search, barred: torch.Tensor) -> torch.Tensor:
    """Where most of the probability of each group's images (S, n, C, H, W) lies under its trigger."""
    found = []
    for group, trigger, labels in zip(images, search.triggers, barred, strict=True):
        chances = network(trigger.apply(group)).log_softmax(1).mean(0)
        chances[labels] = -torch.inf
        found.append(chances.argmax())
    return torch.stack(found)
