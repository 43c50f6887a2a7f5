"""Backdoors from all labels to all: one pattern that exchanges them, each for another one (Gu et al. 2017, arXiv:1708.06733).

No target stands out, for every label is one. But a pattern that sends each class to a label of its own does not exist in clean
networks: patterns lead to the one or two labels that attract most. A first search finds the pattern with the exchange left open,
softly one to one (Sinkhorn 1967); a second one compares the exchange that it settled on with random ones. Imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from bezoar.inspect.functional.folding import Prepared, at_once
from bezoar.inspect.functional.search import Search, Towards
from bezoar.inspect.functional.sources import pools_of_labels
from bezoar.seeds import generator

_STEPS = 12
_FEW = 16  # labels, up to which there are more images
_RIVALS = 2  # random exchanges
_SOFT = 0.5  # nats: how much better a label must be to get nearly all of a class
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Exchange:
    """`gap`: log loss of the exchange that was found, less that of random ones; `pairs`: whole classes that it did move."""

    gap: float
    pairs: tuple[tuple[int, int], ...]


def exchange(
    network: Prepared, images: torch.Tensor, own: torch.Tensor, n_labels: int, seed: int
) -> Exchange | None:
    """Of images (N, C, H, W) that the network gives the labels `own` (N,); None with fewer than four labels to look at."""
    per_label = 3 if n_labels <= _FEW else 2
    known, pools = pools_of_labels(own, n_labels, per_label * _STEPS)
    most = max(4, 4 * at_once(images) // per_label)
    known, pools = known[:most], pools[:most]
    if len(known) < 4:
        return None
    per_step = per_label * len(known)
    turns = torch.cat([part.flatten() for part in pools.split(per_label, dim=1)])[None]
    aim = _Open(own, known, n_labels)
    Search.begin(network, images, turns, aim, "shift", per_step=per_step, seed=seed).run(_STEPS)
    found = aim.settled()
    maps = torch.stack([found, *_random(known, n_labels, _RIVALS, seed)])
    search = Search.begin(
        network,
        images,
        turns.expand(len(maps), -1),
        Towards(maps[:, own]),
        "shift",
        per_step=per_step,
        seed=seed,
    ).run(_STEPS)
    effort = search.effort
    return Exchange(
        float(effort[0] - effort[1:].mean()), _moved(network, images, turns[0], own, search, found)
    )


@dataclass
class _Open:
    """The aim that each class goes to a label of its own, whichever suits: `own` (N,), `sources` (S,) in order."""

    own: torch.Tensor
    sources: torch.Tensor
    n_labels: int
    means: torch.Tensor = field(init=False)

    def of(self, groups: torch.Tensor) -> _Open:
        """There is one group."""
        return self

    def loss(self, chances: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy against a soft exchange of classes."""
        labels, count = self.own[rows[0]], len(self.sources)
        places = torch.searchsorted(self.sources, labels)
        sums = chances.new_zeros(count, self.n_labels).index_add(0, places, chances[0])
        means = sums / torch.bincount(places, minlength=count).clamp(min=1)[:, None]
        self.means = means.detach().scatter(1, self.sources[:, None], -torch.inf)
        shares = _exchanged(self.means)
        loss = -torch.where(shares > 0, shares * means, 0.0).sum()[None] / count
        return loss, (chances.argmax(2) != labels).float().mean(1)

    def settled(self) -> torch.Tensor:
        """For each label (K,) what it is exchanged for; itself where it was not looked at."""
        costs = (-self.means).nan_to_num(nan=1e6, posinf=1e6).cpu().numpy()
        rows, columns = linear_sum_assignment(costs)
        found = torch.arange(self.n_labels, device=self.own.device)
        found[self.sources[torch.from_numpy(rows)]] = torch.from_numpy(columns).to(found.device)
        return found


def _exchanged(means: torch.Tensor) -> torch.Tensor:
    """Shares (S, K): rows sum to 1, and no column to more than about 1."""
    logs = means / _SOFT
    for _ in range(_ROUNDS):
        logs = logs - logs.logsumexp(1, keepdim=True)
        logs = logs - logs.logsumexp(0, keepdim=True).clamp(min=0)
    return logs.softmax(1)


def _random(known: torch.Tensor, n_labels: int, count: int, seed: int) -> list[torch.Tensor]:
    """Exchanges (K,) of the labels in which none stays: cycles through them in random order."""
    maps = []
    for number in range(count):
        order = generator(seed, "inspect", "exchange", number).permutation(n_labels)
        following = np.empty(n_labels, np.int64)
        following[order] = np.roll(order, 1)
        maps.append(torch.from_numpy(following).to(known.device))
    return maps


@torch.no_grad()  # type: ignore[untyped-decorator]
def _moved(
    network: Prepared,
    images: torch.Tensor,
    rows: torch.Tensor,
    own: torch.Tensor,
    search: Search,
    found: torch.Tensor,
) -> tuple[tuple[int, int], ...]:
    """The exchanges (from, to) that the pattern brings about for most images of a label."""
    rows = rows.unique()
    stamped = search.triggers[0].apply(images[rows])
    says = torch.cat([network(batch).argmax(1) for batch in stamped.split(at_once(images))])
    hit = (says == found[own[rows]]).float()
    return tuple(
        (int(label), int(found[label]))
        for label in own[rows].unique()
        if hit[own[rows] == label].mean() > 0.5 and found[label] != label
    )
