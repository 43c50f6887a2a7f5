"""A few cheap statistics for every label of a model, and what they say together (docs/adr/0010). Imports torch.

Small = suspicious, on a log scale. For a label as target: `latent`, how far features must move (no gradient); `margin`, how sure
the network can be made of it (no data); `patch`, how small a mask is enough; `shift` and `warp`, how reluctantly images flip
under a pattern that is added to all of them, and under a smooth warp; `wave`, how little the phase of a plane wave matters;
`noise`, `shade` and `speck`, how far from it random patterns leave images (no gradient). For a label as source: `source`, how
small a mask leads away from it; `corner`, how little loss towards some other label random patches leave (no gradient). For the
whole model: `exchange`, how badly one pattern exchanges all labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bezoar.inspect.calibration import WEIGHTS, calibration
from bezoar.inspect.functional.corners import corner_exits
from bezoar.inspect.functional.exchange import exchange
from bezoar.inspect.functional.folding import Prepared, at_once, prepare
from bezoar.inspect.functional.head import last_layer
from bezoar.inspect.functional.latent import shortest_moves
from bezoar.inspect.functional.margin import largest_margins
from bezoar.inspect.functional.random_patterns import distances
from bezoar.inspect.functional.search import Search, Towards
from bezoar.inspect.functional.sources import exits
from bezoar.inspect.functional.waves import phase_contrasts
from bezoar.inspect.trigger import Kind
from bezoar.seeds import generator

_MOST_IMAGES = 512
_PLANS: dict[Kind, tuple[tuple[int, int], ...]] = {  # steps, and how many images of each label they look at
    "shift": ((12, 8),),
    "warp": ((12, 8),),
    "patch": ((28, 5), (12, 10)),  # at first it is only on its way
}
_DECISIVE = 1e-6
_SHARES = {
    "target": 0.6,
    "wave": 0.05,
    "corner": 0.1,
    "source": 0.15,
    "exchange": 0.1,
}  # of the error allowed


@dataclass(frozen=True, slots=True)
class Pair:
    """A suspicion that images of one label, and not of others, flip to another; `p_value` is family-wise over pairs."""

    source: int
    target: int
    p_value: float


@dataclass(frozen=True)
class Triage:
    """What triage says of K labels.

    Attributes:
        statistics: name to value (K,), the weightiest first, log scale, small = suspicious; nan where not measured.
        p_values: float64 (K,), per label, before the correction for the number of labels; 1 where nothing was measured.
        family: of the whole model, family-wise over labels, statistics and pairs.
        pairs: the most suspicious (source, target), best first.
        seconds, cpu_seconds: by stage.

    """

    statistics: dict[str, NDArray[np.float64]]
    p_values: NDArray[np.float64]
    family: float
    pairs: tuple[Pair, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)


def triage(
    network: nn.Module,
    shape: tuple[int, int, int],
    n_labels: int,
    images: torch.Tensor | None,
    labels: NDArray[np.integer] | None,
    *,
    seed: int,
    budget: float | None = None,
    stage_done: Callable[[], None] = lambda: None,
) -> Triage:
    """Look at every label of `network`: float32 images (N, C, H, W) in [0, 1] to logits (N, K).

    `images` are clean ones of `shape` (C, H, W); without them only what needs no data is measured. `labels` (N,), where they are
    known, leave out images that the network misreads. `budget` caps the CPU seconds: once they are spent, no stage is begun; nor
    is one when those before it have found a target beyond doubt. `stage_done` is called after each.
    """
    clock = _Clock(budget, stage_done)
    statistics: dict[str, NDArray[np.float64]] = {}
    leads: dict[str, NDArray[np.int64]] = {}
    moved: tuple[tuple[int, int], ...] = ()
    with clock.stage("prepare"):
        fast = network if isinstance(network, Prepared) else prepare(network, shape, seed)
        chosen = None if images is None else _chosen(fast, images, labels, seed)
    with clock.stage("margin"):
        statistics["margin"] = _numpy(largest_margins(fast, shape, n_labels, seed))
    if chosen is not None:
        pictures, own = chosen
        with clock.stage("latent"):
            head = last_layer(fast.network, pictures, n_labels)
            if head is not None:
                statistics["latent"] = _numpy(shortest_moves(head.features, head.weight, head.bias))
        with clock.stage("wave"):
            statistics["wave"] = _numpy(phase_contrasts(fast, pictures, own))
        with clock.stage("random"):
            near = distances(fast, pictures, own, seed)
            statistics |= {name: _numpy(values) for name, values in near.items()}
            ways = corner_exits(fast, pictures, own, n_labels, seed)
            statistics["corner"], leads["corner"] = _numpy(ways.sizes), ways.labels.numpy()
        for kind in _PLANS:
            if not clock.over and not _decided(statistics, n_labels):
                with clock.stage(kind):
                    statistics[kind] = _searched(fast, pictures, own, n_labels, kind, seed)
        if not clock.over and not _decided(statistics, n_labels):
            with clock.stage("source"):
                ways = exits(fast, pictures, own, n_labels, seed)
                statistics["source"], leads["source"] = _numpy(ways.sizes), ways.labels.numpy()
        if not clock.over and not _decided(statistics, n_labels):
            with clock.stage("exchange"):
                found = exchange(fast, pictures, own, n_labels, seed)
                if found is not None:
                    statistics["exchange"], moved = np.full(n_labels, found.gap), found.pairs
    p_values, family, pairs = judge(statistics, n_labels, leads, moved)
    order = [*WEIGHTS, *sorted(statistics.keys() - WEIGHTS.keys())]
    statistics = {name: statistics[name] for name in order if name in statistics}
    return Triage(statistics, p_values, family, pairs, clock.seconds, clock.cpu_seconds)


def judge(
    statistics: Mapping[str, NDArray[np.float64]],
    n_labels: int,
    leads: Mapping[str, NDArray[np.int64]],
    moved: Sequence[tuple[int, int]],
) -> tuple[NDArray[np.float64], float, tuple[Pair, ...]]:
    """p-values (K,) of each label as a target, the model's, and the suspicious pairs, from the calibrated nulls.

    `leads` says by statistic where patches led to from each source (K,), `moved` which pairs the pattern that exchanges labels
    moved.
    """
    clean = calibration()
    share = _SHARES["target"] if "wave" in statistics else 1.0  # without images there is nothing else to test
    p_values = np.minimum(clean.together(statistics, n_labels) / share, 1.0)
    if "wave" in statistics:
        waves = clean.least("wave", statistics["wave"])
        p_values = np.minimum(p_values, waves / n_labels / _SHARES["wave"])  # they are family-wise
    pairs = []
    if "corner" in leads:
        alone = clean.least("corner", statistics["corner"]) / _SHARES["corner"]
        pairs = [Pair(source, int(leads["corner"][source]), p) for source, p in enumerate(alone.tolist())]
    if "source" in leads:
        among = clean.deflated("source", clean.tail("source", statistics["source"])) * n_labels
        either = 2 * np.fmin(among, clean.least("source", statistics["source"])) / _SHARES["source"]
        pairs += [Pair(source, int(leads["source"][source]), p) for source, p in enumerate(either.tolist())]
    if "exchange" in statistics:
        p = clean.least("exchange", statistics["exchange"])[0] / _SHARES["exchange"]
        pairs += [Pair(source, target, float(p)) for source, target in moved]
    pairs = sorted((pair for pair in pairs if pair.p_value < 1), key=lambda pair: pair.p_value)
    family = min([float(p_values.min(initial=1.0)) * n_labels, *(pair.p_value for pair in pairs[:1]), 1.0])
    return p_values, family, tuple(pairs)


def _decided(statistics: Mapping[str, NDArray[np.float64]], n_labels: int) -> bool:
    """Whether one label is a target beyond doubt, whatever else may be measured."""
    p_values, _, _ = judge(statistics, n_labels, {}, ())
    return bool(p_values.min() * n_labels <= _DECISIVE)


def _searched(
    network: Prepared, images: torch.Tensor, own: torch.Tensor, n_labels: int, kind: Kind, seed: int
) -> NDArray[np.float64]:
    plan = _PLANS[kind]
    labels = torch.arange(n_labels, device=images.device)[:, None].expand(-1, len(images))
    pools = _pools(own, n_labels)
    search = Search.begin(network, images, pools, Towards(labels), kind, per_step=plan[0][1], seed=seed)
    for steps, per_step in plan:
        search.run(steps, per_step)
    return _numpy(search.size if kind == "patch" else search.effort)


def _pools(own: torch.Tensor, n_labels: int) -> torch.Tensor:
    """For each label the images (K, M) that the network does not give it anyway, all as many."""
    others = [torch.nonzero(own != label)[:, 0] for label in range(n_labels)]
    fewest = min(len(rows) for rows in others)
    return torch.stack([rows[:fewest] for rows in others])


def _chosen(
    network: Prepared, images: torch.Tensor, labels: NDArray[np.integer] | None, seed: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A mixed few of the images, and what the network calls them; None when that is one label alone."""
    order = generator(seed, "inspect", "images").permutation(len(images))[:_MOST_IMAGES]
    some = images[torch.from_numpy(order)].to(network.device, torch.float32)
    with torch.no_grad():
        own = torch.cat([network(batch).argmax(1) for batch in some.split(at_once(some))])
    if labels is not None:
        right = own.cpu().numpy() == np.asarray(labels)[order]
        if right.any():
            some, own = some[torch.from_numpy(right)], own[torch.from_numpy(right)]
    return (some, own) if len(own.unique()) > 1 else None


def _numpy(values: torch.Tensor) -> NDArray[np.float64]:
    numbers = values.detach().double().cpu().numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)


class _Clock:
    def __init__(self, budget: float | None, stage_done: Callable[[], None]) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._budget, self._stage_done = budget, stage_done

    @property
    def over(self) -> bool:
        return self._budget is not None and sum(self.cpu_seconds.values()) > self._budget

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - wall
            self.cpu_seconds[name] = time.process_time() - cpu
        self._stage_done()
