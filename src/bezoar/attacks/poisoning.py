"""Poisoning a copy of a dataset: choose records, craft, relabel, and keep the ground truth.

Only the chosen records are decoded, and only their bytes change; the dataset itself is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar import __version__
from bezoar.attacks.base import (
    Attack,
    CoverCrafter,
    Covered,
    Crafter,
    GradientEncoder,
    Stored,
    Surrogate,
    require,
)
from bezoar.attacks.media import Medium, medium_of
from bezoar.attacks.truth import PoisonedRecord, Role, Truth
from bezoar.data.dataset import Dataset
from bezoar.errors import InputError, UsageError
from bezoar.progress import track
from bezoar.seeds import generator

_Craft = Callable[[Any, np.random.Generator, Sequence[Stored]], Any]


@dataclass(frozen=True)
class PoisonedCopy:
    """A dataset with poison in it, not yet written, and the ground truth."""

    dataset: Dataset
    truth: Truth


def poison(
    dataset: Dataset,
    attack: Attack,
    *,
    rate: float,
    seed: int,
    encoder: GradientEncoder | None = None,
    surrogate: Surrogate | None = None,
) -> PoisonedCopy:
    """A poisoned copy of `dataset`, lazy as the dataset itself.

    `rate` is the share of *all* records to poison, in (0, 1); cover records come on top of it. Which records
    may be poisoned is the attack's to say; unreadable ones are passed over. `encoder` (fitted) and
    `surrogate` (trained on `dataset`) are for attacks that need them. UsageError when the attack does not fit
    the dataset or there are too few candidates.
    """
    wanted = _wanted(dataset, attack, rate)
    crafter = attack.prepare(dataset, encoder, surrogate)
    n_classes = len(dataset.label_names)
    allowed = np.flatnonzero(attack.candidates(dataset.labels, n_classes))
    made = _craft(_Work(dataset, crafter, crafter.craft, seed, ""), allowed, wanted)
    if len(made) < wanted:
        raise UsageError(_too_few(dataset, attack, wanted, len(made)))
    chosen = np.array(sorted(made))
    rng = generator(seed, "poison", "labels")
    new_labels = attack.relabel(dataset.labels[chosen], n_classes, rng)
    labels = dict(zip(chosen.tolist(), new_labels.tolist(), strict=True))
    cover = _cover(dataset, attack, crafter, made, seed)
    truth = Truth(
        attack=attack.name,
        paper=attack.paper,
        parameters=asdict(attack),  # type: ignore[call-overload]  # every attack is a dataclass
        details=crafter.details(),
        rate=float(rate),
        seed=seed,
        bezoar=__version__,
        clean_digest=dataset.digest,
        size=len(dataset),
        label_names=dataset.label_names,
        records=tuple(_records(dataset, made, cover, labels)),
    )
    contents = {index: each.content for index, each in {**made, **cover}.items()}
    return PoisonedCopy(dataset.with_changes(contents, labels), truth)


@dataclass(frozen=True, slots=True)
class _Made:
    content: bytes
    figures: dict[str, float]


def _wanted(dataset: Dataset, attack: Attack, rate: float) -> int:
    """How many records to poison; UsageError when the attack's labels or the rate make no sense here."""
    if attack.modality not in (None, dataset.modality):
        raise UsageError(
            f"{dataset.path}: holds {dataset.modality}; {attack.name} poisons {attack.modality}s"
        )
    for role, label in (("source", attack.source), ("target", attack.target)):
        if label is not None and not 0 <= label < len(dataset.label_names):
            classes = len(dataset.label_names)
            raise UsageError(
                f"{role} label {label}: {dataset.path} has {classes} classes, 0 to {classes - 1}"
            )
    require(
        0 < rate < 1, f"rate {rate}: must be a share between 0 and 1 (0.01 poisons one record in a hundred)"
    )
    wanted = round(rate * len(dataset))
    require(wanted > 0, f"rate {rate} of {len(dataset)} records is less than one record; raise the rate")
    return wanted


def _too_few(dataset: Dataset, attack: Attack, wanted: int, found: int) -> str:
    if attack.source is not None:
        where = f"of class {dataset.label_name(attack.source)!r}"
    elif attack.target is not None:
        where = "outside the target class"
    else:
        where = "to choose from"
    highest = found / len(dataset)
    return (
        f"{wanted} records to poison, but {dataset.path} has only {found} readable ones {where}; "
        f"lower the rate to {highest:.4g} or less"
    )


def _cover(
    dataset: Dataset, attack: Attack, crafter: Crafter[Any], poisoned: Mapping[int, _Made], seed: int
) -> dict[int, _Made]:
    """Cover records by index; none unless the attack plants them. UsageError when there are too few."""
    if not isinstance(attack, Covered) or not isinstance(crafter, CoverCrafter):
        return {}
    wanted = round(attack.cover_ratio * len(poisoned))
    allowed = attack.cover_candidates(dataset.labels, len(dataset.label_names))
    allowed[list(poisoned)] = False
    work = _Work(dataset, crafter, crafter.craft_cover, seed, "cover ")
    made = _craft(work, np.flatnonzero(allowed), wanted)
    if len(made) < wanted:
        raise UsageError(
            f"{wanted} cover records wanted, but {dataset.path} has only {len(made)} readable ones to choose from; "
            "lower the rate or cover_ratio"
        )
    return made


def _records(
    dataset: Dataset,
    made: Mapping[int, _Made],
    cover: Mapping[int, _Made],
    labels: Mapping[int, int],
) -> Iterator[PoisonedRecord]:
    """In the dataset's order."""
    for index, each in sorted({**made, **cover}.items()):
        before = int(dataset.labels[index])
        role: Role = "poison" if index in made else "cover"
        yield PoisonedRecord(dataset.key(index), role, before, labels.get(index, before), each.figures)


@dataclass(frozen=True, slots=True)
class _Work:
    """What to do with records; `purpose` tells the random streams of poison and cover apart."""

    dataset: Dataset
    crafter: Crafter[Any]
    craft: _Craft
    seed: int
    purpose: str


def _craft(work: _Work, allowed: NDArray[np.int64], wanted: int) -> dict[int, _Made]:
    """Poison of `wanted` readable records of `allowed`, by record index; fewer when they run out."""
    made: dict[int, _Made] = {}
    order = generator(work.seed, "poison", work.purpose + "records").permutation(allowed)
    rng = generator(work.seed, "poison", work.purpose + "craft")
    medium = medium_of(work.dataset)
    start = 0
    with track(work.purpose + "poison", wanted) as bar:
        while len(made) < wanted and start < len(order):
            # ascending order is the fast one to read; unreadable records are replaced in the next round
            indices = np.sort(order[start : start + wanted - len(made)])
            start += len(indices)
            for batch in _batches(work.dataset, medium, indices):
                made.update(_craft_batch(work, medium, batch, rng))
                bar.advance(len(batch))
    return made


@dataclass(frozen=True, slots=True)
class _Decoded:
    index: int
    content: bytes
    sample: Any


def _batches(dataset: Dataset, medium: Medium, indices: NDArray[np.int64]) -> Iterator[list[_Decoded]]:
    """Decoded records in runs that can be crafted together; unreadable ones are left out."""
    batch: list[_Decoded] = []
    for index, content in zip(indices.tolist(), dataset.contents(indices), strict=True):
        try:
            record = _Decoded(index, content, medium.decode(content))
        except InputError:
            continue
        if batch and not medium.fits(len(batch), batch[0].sample, record.sample):
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def _craft_batch(
    work: _Work, medium: Medium, batch: list[_Decoded], rng: np.random.Generator
) -> dict[int, _Made]:
    before = medium.join([record.sample for record in batch])
    crafted = work.craft(before, rng, [_storing(medium, record.content) for record in batch])
    contents = [
        record.content if np.array_equal(sample, record.sample) else medium.encode(sample, record.content)
        for sample, record in zip(crafted, batch, strict=True)
    ]
    # what counts is what a reader of the copy will see: lossy formats change the pixels once more
    after = medium.join([medium.decode(content) for content in contents])
    figures = medium.change(before, after)
    for suffix, samples in (("before", before), ("after", after)):
        figures |= {f"{name}_{suffix}": values for name, values in work.crafter.measure(samples).items()}
    return {
        record.index: _Made(
            contents[i], {name: round(float(values[i]), 6) for name, values in figures.items()}
        )
        for i, record in enumerate(batch)
    }


def _storing(medium: Medium, like: bytes) -> Stored:
    return lambda sample: medium.decode(medium.encode(sample, like))
