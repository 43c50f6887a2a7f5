"""Power statements put to the test: does the scan find what it says that it would have noticed?

For each kind of canary, fresh poison of that kind is planted at the stated rate in the same data, by this module's own
means and randomness, and the whole scan is run on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bezoar.attacks import BadNets, Blended, poison
from bezoar.data import Dataset, image_sizes
from bezoar.scan.canvas import canvas_size
from bezoar.scan.result import ScanResult, Sensitivity, Status
from bezoar.seeds import generator

Scan = Callable[..., ScanResult]  # of a dataset, and of `canaries`
Planted = tuple[Dataset, np.ndarray[Any, np.dtype[np.bool_]]]
_PATCH = 3  # side, pixels of the scan's canvas, as the scan's statement counts them
_LEAST_FLAGGED = 0.5  # of the planted records, for what was planted to be found
_WORD_CONSONANTS, _WORD_VOWELS = "bcdfghjklmnpqrstvwxz", "aeiou"


def canaries(dataset: Dataset, seed: int, scan: Scan) -> list[dict[str, Any]]:
    """One trial per kind: what was said of it, and what was found. JSON values.

    `found`: the verdict is "poisoned" and at least half of what was planted is flagged.
    It is None where nothing was planted: the scan said that not even 5 % would be noticed, or the kind is unknown here.
    """
    said = scan(dataset).verdict.sensitivity
    return [_trial(dataset, kind, seed, scan) for kind in said]


def _trial(dataset: Dataset, kind: Sensitivity, seed: int, scan: Scan) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": kind_of(kind.poison), "poison": kind.poison, "rate": kind.smallest_rate}
    plant = PLANTS.get(entry["kind"])
    if plant is None or kind.smallest_rate is None:
        return {**entry, "found": None}
    count = max(1, round(kind.smallest_rate * len(dataset)))
    copy, planted = plant(dataset, count, generator(seed, "bench", "canary", kind.poison))
    result = scan(copy, canaries=False)
    flagged = result.flagged
    enough = flagged[planted].sum() >= _LEAST_FLAGGED * planted.sum()
    return {
        **entry,
        "found": result.verdict.status is Status.POISONED and bool(flagged[planted].any() and enough),
        "planted": int(planted.sum()),
        "flagged_planted": int(flagged[planted].sum()),
        "flagged_clean": int(flagged[~planted].sum()),
    }


def kind_of(poison_words: str) -> str:
    """Which of `PLANTS` a statement speaks of, by its words; the words themselves when it is none of them."""
    for word, kind in (("patch", "patch"), ("blend", "blend"), ("word", "word"), ("moved", "relabelled")):
        if word in poison_words:
            return kind
    return poison_words


def _patch(dataset: Dataset, count: int, rng: np.random.Generator) -> Planted:
    """A random 3x3 patch at one random place, on records of all classes but the target, relabelled.

    Its pixels are those of the scan's canvas: the image's own, unless the scan shrinks the images (above 128 pixels).
    """
    height, width = canvas_size(len(dataset), image_sizes(dataset))
    y, x = rng.integers(0, [height - _PATCH + 1, width - _PATCH + 1])
    return _attacked(
        dataset,
        count,
        BadNets(
            target=_a_label(dataset, rng),
            size=_PATCH,
            place=f"{y},{x}",
            margin=0,
            canvas=min(height, width),
            pattern_seed=int(rng.integers(2**31)),
        ),
        rng,
    )


def _blend(dataset: Dataset, count: int, rng: np.random.Generator) -> Planted:
    """Noise at opacity 0.2, on records of all classes but the target, relabelled."""
    attack = Blended(target=_a_label(dataset, rng), alpha=0.2, pattern_seed=int(rng.integers(2**31)))
    return _attacked(dataset, count, attack, rng)


def _relabelled(dataset: Dataset, count: int, rng: np.random.Generator) -> Planted:
    """Records of one class, at most half of it, under the label of another."""
    sizes = np.bincount(dataset.labels[dataset.labels >= 0])
    source = int(rng.choice(np.flatnonzero(sizes >= min(2 * count, sizes.max()))))
    target = int(rng.choice(np.setdiff1d(np.flatnonzero(sizes), source)))
    moved = rng.permutation(np.flatnonzero(dataset.labels == source))[:count]
    return dataset.with_changes(labels=dict.fromkeys(moved.tolist(), target)), _mask(dataset, moved)


def _word(dataset: Dataset, count: int, rng: np.random.Generator) -> Planted:
    """A made-up word at a random place of texts of all classes but the target, relabelled."""
    target = _a_label(dataset, rng)
    hosts = np.sort(
        rng.permutation(np.flatnonzero((dataset.labels != target) & (dataset.labels >= 0)))[:count]
    )
    syllables = [rng.choice(list(_WORD_CONSONANTS)) + rng.choice(list(_WORD_VOWELS)) for _ in range(4)]
    content = {}
    for row, original in zip(hosts.tolist(), dataset.contents(hosts), strict=True):
        words = original.split(b" ")
        words.insert(int(rng.integers(len(words) + 1)), "".join(syllables).encode())
        content[row] = b" ".join(words)
    return dataset.with_changes(content, dict.fromkeys(hosts.tolist(), target)), _mask(dataset, hosts)


PLANTS: Mapping[str, Callable[[Dataset, int, np.random.Generator], Planted]] = {
    "patch": _patch,
    "blend": _blend,
    "relabelled": _relabelled,
    "word": _word,
}


def _attacked(dataset: Dataset, count: int, attack: BadNets | Blended, rng: np.random.Generator) -> Planted:
    copy = poison(dataset, attack, rate=count / len(dataset), seed=int(rng.integers(2**31)))
    keys = {record.key for record in copy.truth.records}
    return copy.dataset, np.array([key in keys for key in copy.dataset.keys.to_pylist()])


def _a_label(dataset: Dataset, rng: np.random.Generator) -> int:
    """Of a random record, as the scan's own canaries draw it."""
    return int(rng.choice(dataset.labels[dataset.labels >= 0]))


def _mask(dataset: Dataset, rows: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(len(dataset), dtype=bool)
    mask[rows] = True
    return mask
