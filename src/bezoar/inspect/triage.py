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
from bezoar.inspect.functional.folding import OutOfTime, Prepared, at_once, prepare
from bezoar.inspect.functional.head import last_layer
from bezoar.inspect.functional.latent import shortest_moves
from bezoar.inspect.functional.margin import largest_margins
from bezoar.inspect.functional.random_patterns import distances
from bezoar.inspect.functional.search import Search, Towards
from bezoar.inspect.functional.sources import exits
from bezoar.inspect.functional.waves import phase_contrasts
from bezoar.inspect.shortlist import FEW, shortlist
from bezoar.inspect.trigger import Kind
from bezoar.seeds import generator

_MOST_IMAGES = 512
_MOST_COMPARED = (
    1500  # labels, each with each, by `latent`: 1,000 take 20 CPU seconds, 2,000 eight times that
)
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
        closely: the labels (G,) that were looked at closely: all, unless there are very many.
        cut: the stages that the budget left no time for.
        seconds, cpu_seconds: by stage.

    """

    statistics: dict[str, NDArray[np.float64]]
    p_values: NDArray[np.float64]
    family: float
    pairs: tuple[Pair, ...] = ()
    closely: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    cut: tuple[str, ...] = ()
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
    stage_done: Callable[[], None] = lambda: None,
) -> Triage:
    """Look at every label of `network`: float32 images (N, C, H, W) in [0, 1] to logits (N, K).

    `images` are clean ones of `shape` (C, H, W); without them only what needs no data is measured. `labels` (N,), where they are
    known, leave out images that the network misreads. A stage in which the deadline of a prepared network passes is left without
    a result; none is begun when those before it have found a target beyond doubt. `stage_done` is called after each.
    """
    clock = _Clock(stage_done)
    statistics: dict[str, NDArray[np.float64]] = {}
    leads: dict[str, NDArray[np.int64]] = {}
    moved: tuple[tuple[int, int], ...] = ()
    chosen = None
    fast = network if isinstance(network, Prepared) else prepare(network, shape, seed)
    with clock.stage("choose"):
        if images is not None:
            chosen = _chosen(fast, images, labels, seed)
    if chosen is not None:
        pictures, own = chosen
        with clock.stage("latent"):
            head = last_layer(fast.network, pictures, n_labels)
            if head is not None and n_labels <= _MOST_COMPARED:
                statistics["latent"] = _numpy(shortest_moves(head.features, head.weight, head.bias))
        with clock.stage("wave"):
            statistics["wave"] = _numpy(phase_contrasts(fast, pictures, own))
        with clock.stage("random"):
            near = distances(fast, pictures, own, seed)
            statistics |= {name: _numpy(values) for name, values in near.items()}
            ways = corner_exits(fast, pictures, own, n_labels, seed)
            statistics["corner"], leads["corner"] = _numpy(ways.sizes), ways.labels.numpy()
    sighted = {name: values for name, values in statistics.items() if name in WEIGHTS}
    if chosen is None and n_labels > FEW:
        with clock.stage("sight"):
            everything = torch.arange(n_labels, device=fast.device)
            sighted = {"margin": _numpy(largest_margins(fast, shape, everything, seed, hasty=True))}
    closely = shortlist(sighted, n_labels, seed)
    some = torch.from_numpy(closely).to(fast.device)
    with clock.stage("margin"):
        statistics["margin"] = _placed(largest_margins(fast, shape, some, seed), closely, n_labels)
    if chosen is not None:
        for kind in _PLANS:
            if not _decided(statistics, n_labels):
                with clock.stage(kind):
                    found = _searched(fast, pictures, own, some, kind, seed)
                    statistics[kind] = _placed(found, closely, n_labels)
        if not _decided(statistics, n_labels):
            with clock.stage("source"):
                ways = exits(fast, pictures, own, n_labels, seed)
                statistics["source"], leads["source"] = _numpy(ways.sizes), ways.labels.numpy()
        if not _decided(statistics, n_labels):
            with clock.stage("exchange"):
                swap = exchange(fast, pictures, own, n_labels, seed)
                if swap is not None:
                    gap = swap.gap if np.isfinite(swap.gap) else np.nan
                    statistics["exchange"], moved = np.full(n_labels, gap), swap.pairs
    p_values, family, pairs = judge(statistics, n_labels, leads, moved)
    order = [*WEIGHTS, *sorted(statistics.keys() - WEIGHTS.keys())]
    statistics = {name: statistics[name] for name in order if name in statistics}
    return Triage(
        statistics, p_values, family, pairs, closely, tuple(clock.cut), clock.seconds, clock.cpu_seconds
    )


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
    network: Prepared,
    images: torch.Tensor,
    own: torch.Tensor,
    labels: torch.Tensor,
    kind: Kind,
    seed: int,
) -> torch.Tensor:
    """Of each of `labels` (G,) the statistic (G,)."""
    plan = _PLANS[kind]
    aim = Towards(labels[:, None].expand(-1, len(images)))
    search = Search.begin(network, images, _pools(own, labels), aim, kind, per_step=plan[0][1], seed=seed)
    for steps, per_step in plan:
        search.run(steps, per_step)
    return search.size if kind == "patch" else search.effort


def _placed(values: torch.Tensor, labels: NDArray[np.int64], n_labels: int) -> NDArray[np.float64]:
    """The statistic (K,) of which `values` (G,) are those of `labels` (G,); nan for the others."""
    placed = np.full(n_labels, np.nan)
    placed[labels] = _numpy(values)
    return placed


def _pools(own: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """For each of `labels` the images (G, M) that the network does not give it anyway, all as many."""
    others = [torch.nonzero(own != label)[:, 0] for label in labels]
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
    def __init__(self, stage_done: Callable[[], None]) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.cut: list[str] = []
        self._stage_done = stage_done

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done; when the time is up, what follows in it is left out."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        except OutOfTime:
            self.cut.append(name)
        finally:
            self.seconds[name] = time.perf_counter() - wall
            self.cpu_seconds[name] = time.process_time() - cpu
        self._stage_done()
