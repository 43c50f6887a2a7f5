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
_LOOK = 16  # steps after which a further search goes on only where it is ahead of all before
_ROUNDS = (3, 1)  # searches, each to a label where none before led; where labels are few, and many
_FEW = 16
_MOST_SOURCES = 64
_FEWEST = 8  # images of a label, to say anything about it: fewer are led anywhere in clean networks, too


@dataclass(frozen=True, slots=True)
class Exits:
    """Per label the log size (K,) of the patch that leads away from it, nan where there are too few images, and where to (K,)."""

    sizes: torch.Tensor
    labels: torch.Tensor


def exits(network: Prepared, images: torch.Tensor, own: torch.Tensor, n_labels: int, seed: int) -> Exits:
    """Of images (N, C, H, W) that the network gives the labels `own` (N,)."""
    known, pools = pools_of_labels(own, n_labels, _PER_STEP * 4)
    barred = known[:, None]
    least, ahead = (torch.full(known.shape, torch.inf, device=known.device) for _ in range(2))
    ways = torch.full_like(known, -1)
    rounds = min(_ROUNDS[n_labels > _FEW], n_labels - 1)
    for _ in range(rounds if len(known) else 0):
        search = Search.begin(network, images, pools, Away(barred), "patch", per_step=_PER_STEP, seed=seed)
        early = search.run(_LOOK).size
        reached = _reached(search, barred)
        going = torch.nonzero(early < ahead)[:, 0]
        ahead = torch.minimum(ahead, early)
        if len(going):
            search.keep(going)
            found = search.run(_STEPS - _LOOK).size
            reached[going] = _reached(search, barred[going])
            smaller = going[found < least[going]]
            least[going] = torch.minimum(least[going], found)
            ways[smaller] = reached[smaller]
        barred = torch.cat([barred, reached[:, None]], 1)
    sizes, labels = torch.full((n_labels,), torch.nan), torch.full((n_labels,), -1)
    sizes[known.cpu()], labels[known.cpu()] = least.cpu(), ways.cpu()
    return Exits(sizes, labels)


def pools_of_labels(own: torch.Tensor, n_labels: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The labels that have enough images (S,), and of each `length` rows (S, length), in turn; of very many labels, some."""
    counts = torch.bincount(own, minlength=n_labels)
    known = torch.nonzero(counts >= _FEWEST)[:, 0]
    if len(known) > _MOST_SOURCES:
        known = known[torch.linspace(0, len(known) - 1, _MOST_SOURCES, device=known.device).round().long()]
    turns = [torch.nonzero(own == label)[:, 0] for label in known]
    rows = [turn.repeat(-(-length // len(turn)))[:length] for turn in turns]
    return known, torch.stack(rows) if rows else own.new_empty((0, length))


def _reached(search: Search, barred: torch.Tensor) -> torch.Tensor:
    """Where most of the probability of each group's images lies under its trigger (S,)."""
    chances = search.answers(search.pools[:, :_PER_STEP])
    return chances.mean(1).scatter(1, barred, -torch.inf).argmax(1)
