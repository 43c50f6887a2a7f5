"""View 2: signals over whole images (blends, sinusoids) that a minority of a label carries; see `functional.spectrum`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.progress import track
from bezoar.scan.functional.patterns import thumbnails
from bezoar.scan.functional.spectrum import (
    SIDE,
    Planes,
    Whitening,
    class_means,
    planes,
    sinusoids,
    to_image,
    whitening_of,
)
from bezoar.scan.functional.spectrum_mixture import Count, Mode, bounded, modes, settled, shares
from bezoar.scan.pattern_findings import wrong_labels
from bezoar.scan.result import Finding, Picture, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.space import example, look_alikes
from bezoar.seeds import generator

_LEAST = 32  # records of a label that are searched at all
_SEARCHED = 1500  # records of a label that are searched at most
_FITTED = 20_000  # records that the whitening is fitted to at most
_MIN_RECORDS = 5  # independent records of the tested half that a finding needs
_CONCENTRATION = 5.0  # times the other labels' share of carriers
_OUTSIDERS = 2000  # records of other labels that are asked whether they carry it
_JURY = 8  # nearest thumbnails that say whether carriers are alike in content
_ALIKE = 0.25  # of the way from chance to perfect, that they may agree
_STANDS_OUT = (
    4.0  # standard deviations of others by which carriers must differ from the labels that they look like
)
_LOOKED_AT = 8  # modes of a label that are examined
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class _Found:
    """A mode of one label, and the rows of the scene among which it was found."""

    label: int
    mode: Mode
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Signal:
    """What a label's carriers share: rows of the scene, template in planes, projections of the label's rows."""

    label: int
    carriers: NDArray[np.int64]
    template: NDArray[np.float32]
    p_value: float
    independent: int
    expected: float
    wrong: bool


def spectrum(scene: Scene, alpha: float) -> Evidence:
    """One finding per signal that a minority of a label carries, whatever they show."""
    n_labels = len(scene.label_names)
    p_values = np.ones(n_labels)
    flat = planes(scene.images)
    shape = (min(SIDE, scene.images.shape[1]), min(SIDE, scene.images.shape[2]))
    rng = generator(scene.seed, "spectrum")
    fitted = np.sort(rng.permutation(len(flat))[:_FITTED])
    whitening = whitening_of(flat[fitted], scene.labels[fitted], shape)
    found, tests = _searched(scene, flat, whitening, sinusoids(whitening, shape), rng)
    findings = []
    taken = np.zeros(len(flat), dtype=bool)
    for item in found:
        p_value = min(1.0, float(np.exp(item.mode.log_p)) * tests)
        if p_value > alpha or item.mode.independent < _MIN_RECORDS:
            continue
        signal = _examined(scene, flat, whitening, item, p_value)
        if signal is None or taken[signal.carriers].mean() >= 0.5:
            continue
        taken[signal.carriers] = True
        p_values[signal.label] = min(p_values[signal.label], p_value)
        findings.append(_finding(scene, signal, shape))
    return Evidence("spectrum", p_values, tuple(findings))


def _searched(
    scene: Scene,
    flat: Planes,
    whitening: Whitening,
    waves: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[list[_Found], int]:
    """The modes of every label, most significant first, and how many were tested in all."""
    found: list[_Found] = []
    tests = 0
    labels, sizes = np.unique(scene.labels, return_counts=True)
    with track("signals over whole images", int((sizes >= _LEAST).sum())) as bar:
        for label in labels[sizes >= _LEAST].tolist():
            rows = np.flatnonzero(scene.labels == label)
            rows = np.sort(rng.permutation(rows)[:_SEARCHED])
            white = bounded(whitening.whitened(flat[rows]))
            best, tested = modes(white, waves, _counted(scene, rows), rng)
            found += [_Found(label, mode, rows) for mode in best[:_LOOKED_AT]]
            tests += tested
            bar.advance(1)
    return sorted(found, key=lambda item: item.mode.log_p), tests


def _counted(scene: Scene, rows: NDArray[np.int64]) -> Count:
    return lambda some: scene.independent_of(rows[some])


def _examined(
    scene: Scene, flat: Planes, whitening: Whitening, item: _Found, p_value: float
) -> _Signal | None:
    """The signal behind a mode, in all records of the label; None where it is a part of what the classes show.

    A planted signal is in this label only, and it is either under wrong labels (and then foreign to the labels that its carriers
    look like, too), or in records that share nothing else.
    """
    rows = np.flatnonzero(scene.labels == item.label)
    white = bounded(whitening.whitened(flat[rows]))
    started = np.isin(rows, item.rows[np.r_[item.mode.members, item.mode.carriers]])
    carries = settled(white, started)
    if item.mode.wave is not None and carries[started].mean() < 0.5:
        carries = started
    if not _MIN_RECORDS <= carries.sum() < len(rows) - 1:
        return None
    carriers, rest = rows[carries], rows[~carries]
    mask = np.zeros(len(flat), dtype=bool)
    mask[carriers] = True
    wrong = item.label in wrong_labels(scene.space, carriers, mask)
    looks = look_alikes(scene.space, carriers, mask) if wrong else scene.labels[carriers]
    if not _foreign_everywhere(scene, flat, whitening, carriers, looks, mask, len(rows)):
        return None
    if not wrong and not _unlike(scene.images[rows], carries):
        return None
    return _Signal(
        item.label,
        carriers[np.argsort(-shares(white, carries)[carries], kind="stable")],
        flat[carriers].mean(axis=0) - flat[rest].mean(axis=0),
        p_value,
        item.mode.independent,
        item.mode.expected,
        wrong,
    )


def _foreign_everywhere(
    scene: Scene,
    flat: Planes,
    whitening: Whitening,
    carriers: NDArray[np.int64],
    looks: NDArray[np.int32],
    mask: NDArray[np.bool_],
    size: int,
) -> bool:
    """Whether carriers stand apart from the classes that they look like, and other labels hold few records that do as they do."""
    rng = generator(scene.seed, "spectrum", "outsiders")
    others = np.flatnonzero(~mask)
    others = np.sort(rng.permutation(others)[:_OUTSIDERS])
    pool = np.flatnonzero(~mask)
    centres = class_means(flat[pool], scene.labels[pool])
    chosen = np.r_[carriers, others]
    near = np.r_[looks, scene.labels[others]]
    white = whitening.whitened(flat[chosen] - centres[near])
    length = np.sqrt(np.einsum("ij,ij->i", white, white))
    white /= np.maximum(1.0, length / max(float(np.median(length)), 1e-6))[:, None]
    ours = np.arange(len(chosen)) < len(carriers)
    share = shares(white, ours)
    if not np.isfinite(share).all() or not (share[ours] > 0).any():
        return False
    if _STANDS_OUT * float(share[~ours].std()) > 1.0:
        return False
    label = scene.labels[others]
    have = share[~ours] > 0.5
    rate = len(carriers) / size
    return all(
        have[label == k].mean() * _CONCENTRATION <= rate
        for k in np.unique(label)
        if (label == k).sum() >= _LEAST
    )


def _unlike(images: NDArray[np.uint8], carries: NDArray[np.bool_]) -> bool:
    """Whether the carriers' nearest thumbnails in their label are carriers hardly more often than chance makes them."""
    thumbs = thumbnails(images)
    some = np.flatnonzero(carries)[:1000]
    cosines = thumbs[some] @ thumbs.T
    cosines[np.arange(len(some)), some] = -2.0
    k = min(_JURY, len(thumbs) - 1)
    nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    chance = (carries.sum() - 1) / (len(carries) - 1)
    return bool(carries[nearest].mean() - chance <= _ALIKE * (1 - chance))


def _finding(scene: Scene, signal: _Signal, shape: tuple[int, int]) -> Finding:
    space, name = scene.space, scene.label_names[signal.label]
    mask = np.zeros(len(scene.labels), dtype=bool)
    mask[signal.carriers] = True
    looks = look_alikes(space, signal.carriers, mask)
    foreign, count = np.unique(looks[looks != signal.label], return_counts=True)
    seen = (
        f"{len(signal.carriers)} records labelled {name!r} carry one faint signal over the whole image, at one strength, and the "
        f"others lack it: along it the label falls into two groups. It was found on one half of the records; on the other half "
        f"{signal.independent} independent records lie beyond the gap, where the others' spread explains "
        f"{signal.expected:.1f}. In no other label do records differ from their class in this way. "
    )
    return Finding(
        kind="global-trigger",
        severity=Severity.POISON,
        title=f"{len(signal.carriers)} records labelled {name!r} carry the same faint signal over the whole image",
        explanation=seen
        + (
            f"Their neighbours say that many of them belong to other labels: a model trained on this will probably read any "
            f"image with this signal as {name!r}."
            if signal.wrong
            else "Their labels look right, but apart from the signal they have no more in common than the others of their label: "
            f"a model trained on this may read any image with this signal as {name!r}."
        ),
        records=space.records[signal.carriers],
        p_value=signal.p_value,
        target=signal.label,
        origins=tuple(int(label) for label in foreign[np.argsort(-count, kind="stable")][:5])
        if signal.wrong
        else (),
        pictures=(
            Picture(_shown(signal.template, shape), "the signal, strengthened: carriers less the others"),
        ),
        examples=tuple(
            example(space, int(row), scene.gallery, mask, int(looks[i]))
            for i, row in list(enumerate(signal.carriers))[:_SHOWN]
        ),
        details={"independent": signal.independent, "expected": round(signal.expected, 3)},
    )


def _shown(template: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The template as a picture: grey where nothing was added, its largest difference at full contrast."""
    image = to_image(template, shape)
    grey = 128 + image * (127 / max(float(np.abs(image).max()), 1e-6))
    return np.asarray(np.clip(grey, 0, 255), dtype=np.uint8)
