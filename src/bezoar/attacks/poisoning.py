"""Poisoning a copy of a dataset: choose records, craft, relabel, and keep the ground truth.

Only the chosen records are decoded, and only their bytes change; the dataset itself is never touched.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bezoar import __version__
from bezoar.attacks.base import Attack, Crafter, GradientEncoder, require
from bezoar.attacks.truth import PoisonedRecord, Truth
from bezoar.data import NO_LABEL, Dataset, decode, encode, write
from bezoar.errors import InputError, UsageError
from bezoar.files import atomic_file, refuse_existing
from bezoar.progress import track
from bezoar.seeds import generator

_BATCH_BYTES = 64 * 2**20  # decoded pixels held at once
_BATCH_RECORDS = 256


@dataclass(frozen=True)
class PoisonedCopy:
    """A dataset with poison in it, not yet written, and the ground truth."""

    dataset: Dataset
    truth: Truth


def poison(
    dataset: Dataset, attack: Attack, *, rate: float, seed: int, encoder: GradientEncoder | None = None
) -> PoisonedCopy:
    """A poisoned copy of `dataset`, lazy as the dataset itself.

    `rate` is the share of *all* records to poison, in (0, 1). Candidates are the records of
    `attack.source`, or those of any class but the target; unreadable ones are passed over. `encoder`
    (fitted) is for attacks that need one. UsageError when the attack does not fit the dataset or there are
    too few candidates.
    """
    wanted = _wanted(dataset, attack, rate)
    crafter = attack.prepare(dataset, encoder)
    order = generator(seed, "poison", "records").permutation(_candidates(dataset, attack))
    if len(order) < wanted:
        raise UsageError(_too_few(dataset, attack, wanted, len(order)))
    made = _craft(dataset, crafter, order, wanted, seed)
    if len(made) < wanted:
        raise UsageError(_too_few(dataset, attack, wanted, len(made)))
    chosen = sorted(made)
    labels = {
        index: int(dataset.labels[index]) if attack.target is None else attack.target for index in chosen
    }
    records = [
        PoisonedRecord(dataset.key(index), int(dataset.labels[index]), labels[index], made[index].figures)
        for index in chosen
    ]
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
        records=tuple(records),
    )
    return PoisonedCopy(dataset.with_changes({index: made[index].content for index in chosen}, labels), truth)


def write_poisoned(copy: PoisonedCopy, out: Path, truth_path: Path | None = None) -> Truth:
    """Write the copy to `out`, in its format, and the ground truth beside it (by default `<out>.truth.json`).

    Returns the truth with the keys as written. Either both are written or neither is. UsageError when the
    truth would lie inside the copy, or anything inside the original.
    """
    out = Path(out)
    sidecar = Path(truth_path) if truth_path is not None else out.with_name(out.name + ".truth.json")
    _refuse_inside(sidecar, out, "the ground truth must stay outside the poisoned copy")
    for path in (sidecar, out):
        _refuse_inside(path, copy.dataset.path, "a poisoned copy must stay outside the original dataset")
    refuse_existing(out)
    written = False
    try:
        with atomic_file(sidecar) as file:
            keys = write(copy.dataset, out)
            written = True
            truth = _with_keys(copy, keys)
            file.write(truth.to_json())
    except BaseException:
        if written:
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        raise
    return truth


@dataclass(frozen=True, slots=True)
class _Made:
    content: bytes
    figures: dict[str, float]


def _wanted(dataset: Dataset, attack: Attack, rate: float) -> int:
    """How many records to poison; UsageError when the attack's labels or the rate make no sense here."""
    require(
        dataset.modality == "image", f"{dataset.path}: holds {dataset.modality}; {attack.name} poisons images"
    )
    for role, label in (("source", attack.source), ("target", attack.target)):
        if label is not None and not 0 <= label < len(dataset.label_names):
            classes = len(dataset.label_names)
            raise UsageError(
                f"{role} label {label}: {dataset.path} has {classes} classes, 0 to {classes - 1}"
            )
    require(attack.source is None or attack.source != attack.target, "source and target are the same label")
    require(
        0 < rate < 1, f"rate {rate}: must be a share between 0 and 1 (0.01 poisons one record in a hundred)"
    )
    wanted = round(rate * len(dataset))
    require(wanted > 0, f"rate {rate} of {len(dataset)} records is less than one record; raise the rate")
    return wanted


def _candidates(dataset: Dataset, attack: Attack) -> NDArray[np.int64]:
    if attack.source is not None:
        return np.flatnonzero(dataset.labels == attack.source)
    return np.flatnonzero((dataset.labels != attack.target) & (dataset.labels != NO_LABEL))


def _too_few(dataset: Dataset, attack: Attack, wanted: int, found: int) -> str:
    if attack.source is None:
        where = "outside the target class"
    else:
        where = f"of class {dataset.label_name(attack.source)!r}"
    highest = found / len(dataset)
    return (
        f"{wanted} records to poison, but {dataset.path} has only {found} readable ones {where}; "
        f"lower the rate to {highest:.4g} or less"
    )


def _craft(
    dataset: Dataset, crafter: Crafter, order: NDArray[np.int64], wanted: int, seed: int
) -> dict[int, _Made]:
    """Poison for the first `wanted` readable records of `order`, by record index; fewer when they run out."""
    made: dict[int, _Made] = {}
    rng = generator(seed, "poison", "craft")
    start = 0
    with track("poison", wanted) as bar:
        while len(made) < wanted and start < len(order):
            # ascending order is the fast one to read; unreadable records are replaced in the next round
            indices = np.sort(order[start : start + wanted - len(made)])
            start += len(indices)
            for batch in _batches(dataset, indices):
                made.update(_craft_batch(dataset, crafter, batch, rng))
                bar.advance(len(batch))
    return made


@dataclass(frozen=True, slots=True)
class _Decoded:
    index: int
    content: bytes
    pixels: NDArray[np.uint8]


def _batches(dataset: Dataset, indices: NDArray[np.int64]) -> Iterator[list[_Decoded]]:
    """Decoded records in runs of equal image size that fit into memory; unreadable ones are left out."""
    batch: list[_Decoded] = []
    for index, content in zip(indices.tolist(), dataset.contents(indices), strict=True):
        try:
            pixels = decode(content, dataset.raw_shape)
        except InputError:
            continue
        full = len(batch) >= min(_BATCH_RECORDS, max(1, _BATCH_BYTES // pixels.nbytes))
        if batch and (full or batch[0].pixels.shape != pixels.shape):
            yield batch
            batch = []
        batch.append(_Decoded(index, content, pixels))
    if batch:
        yield batch


def _craft_batch(
    dataset: Dataset, crafter: Crafter, batch: list[_Decoded], rng: np.random.Generator
) -> dict[int, _Made]:
    before = np.stack([record.pixels for record in batch])
    stored = [partial(_stored, like=record.content, raw_shape=dataset.raw_shape) for record in batch]
    crafted = crafter.craft(before, rng, stored)
    contents = [
        encode(pixels, record.content, dataset.raw_shape)
        for pixels, record in zip(crafted, batch, strict=True)
    ]
    # what counts is what a reader of the copy will see: lossy formats change the pixels once more
    after = np.stack([decode(content, dataset.raw_shape) for content in contents])
    change = (after.astype(np.float64) - before).reshape(len(batch), -1)
    figures = {"linf": np.abs(change).max(axis=1), "l2": np.linalg.norm(change, axis=1)}
    for suffix, images in (("before", before), ("after", after)):
        figures |= {f"{name}_{suffix}": values for name, values in crafter.measure(images).items()}
    return {
        record.index: _Made(
            contents[i], {name: round(float(values[i]), 6) for name, values in figures.items()}
        )
        for i, record in enumerate(batch)
    }


def _stored(
    pixels: NDArray[np.uint8], *, like: bytes, raw_shape: tuple[int, int, int] | None
) -> NDArray[np.uint8]:
    return decode(encode(pixels, like, raw_shape), raw_shape)


def _with_keys(copy: PoisonedCopy, keys: list[str]) -> Truth:
    """The truth with the keys that the records got when they were written."""
    written = dict(zip(copy.dataset.keys.to_pylist(), keys, strict=True))
    records = tuple(replace(record, key=written[record.key]) for record in copy.truth.records)
    details = dict(copy.truth.details)
    if "target_key" in details:
        details["target_key"] = written[details["target_key"]]
    return replace(copy.truth, details=details, records=records)


def _refuse_inside(path: Path, folder: Path, why: str) -> None:
    if path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{path}: lies in {folder}; {why}; choose another path")
