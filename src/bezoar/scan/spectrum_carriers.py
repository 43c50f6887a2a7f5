"""Who carries a signal over the whole image, and whether it is planted or a part of what the classes show.

A second mode or a group that stands apart is no poison by itself: classes have variants, tracks, cameras. `examined` says which
of a label's records carry the signal and asks what only planted signals answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.patterns import thumbnails
from bezoar.scan.functional.spectrum import Planes, Whitening, Whitenings, class_means, near_frequency
from bezoar.scan.functional.spectrum_mixture import Mode, along_wave, bounded, settled, shares
from bezoar.scan.scene import Scene
from bezoar.scan.space import look_alikes
from bezoar.seeds import generator

LEAST = 16  # records of a label that are searched at all
MIN_RECORDS = 5  # independent records of the tested half that a finding needs
_FAMILIES = 2  # of tests: second modes, groups that look foreign
# that it needs where the carriers' labels look right: a place or a camera marks a few
_MIN_RIGHTLY_LABELLED = 12
# share of the label that they are at most: what nearly all of a class have is the class's
_MOST_RIGHTLY_LABELLED = 0.6
# spread, in shares of the way, of those that carry a signal where the honest ones stand apart
_ONE_STRENGTH = 0.15
_CONCENTRATION = 5.0  # times the other labels' share of carriers
_OUTSIDERS = 2000  # records of other labels that are asked whether they carry it
_JURY = 8  # nearest thumbnails that say whether carriers are alike in content
REFERENCES = 8  # groups of honest records that carriers are held against
# independent carriers that it takes to call a signal planted by their labels: more than the frames of one track
FEWEST_FOREIGN = 11
# share of those that still look like the label by which fewer carriers must, and standard errors of the difference
_RELABELLED, _CLEARLY = 0.3, 2.5
# share of the carriers that look foreign, without their company, at least: those that do not would be the label's own
LEAST_FOREIGN = 0.8
_FEW_LABELS = 3  # so few leave no choice of origins
# waves over the image, from which a wave is taken out before its carriers are compared: fewer are what variants of a class
# differ in, light and shade, bars and horizons
_FEWEST_WAVES = 4.0
# share of the carriers that may look like one label: a variant of a class looks like its neighbour
_ONE_ORIGIN = 0.7
_ASKED = 1000  # carriers that are asked for them
_ALIKE = 0.25  # of the way from chance to perfect, that they may agree
# standard deviations of others by which carriers must differ from the labels that they look like
_STANDS_OUT = 4.0


@dataclass(frozen=True, slots=True)
class Found:
    """A group of rows of the scene under one label, and how unlikely it is among `tests` of its kind."""

    label: int
    rows: NDArray[np.int64]
    log_p: float
    independent: int
    expected: float
    mode: Mode | None  # None where it is the labels that tell the group apart

    def p_value(self, tests: Mapping[bool, int]) -> float:
        """Family-wise over both kinds of tests."""
        return float(min(1.0, np.exp(self.log_p) * tests[self.mode is None] * _FAMILIES))


@dataclass(frozen=True, slots=True)
class Signal:
    """What a label's carriers share: rows of the scene, template in planes, projections of the label's rows."""

    label: int
    carriers: NDArray[np.int64]
    template: NDArray[np.float32]
    p_value: float
    independent: int
    expected: float
    wrong: bool
    halved: bool  # sought on one half, tested on the other
    blur: float  # variance of the label's records about their group's mean, in squares of the way between the means


def examined(
    scene: Scene, flat: Planes, whitenings: Whitenings, item: Found, p_value: float
) -> Signal | None:
    """The signal behind a mode, in all records of the label; None where it is a part of what the classes show.

    Where most of a label is planted it is the honest records that stand apart: the others are examined, too, if they are all at
    one strength. What is left of a class when one group is taken out of it is not.
    """
    rows = np.flatnonzero(scene.labels == item.label)
    whitening = whitenings.of(item.label)
    white = bounded(whitening.whitened(flat[rows]))
    started = np.isin(rows, item.rows)
    if item.mode is not None and item.mode.wave is not None:
        carries = along_wave(white, whitening.sinusoids, item.mode.wave, started)
    else:
        carries = settled(white, started)
    sides = [carries]
    others = shares(white, ~carries)[~carries] if 2 <= carries.sum() < len(rows) - 1 else np.ones(0)
    if len(others) and others.std() <= _ONE_STRENGTH:
        sides.append(~carries)
    for side in sides:
        signal = _judged(scene, flat, whitening, item, p_value, rows, white, side)
        if signal is not None:
            return signal
    return None


def _judged(
    scene: Scene,
    flat: Planes,
    whitening: Whitening,
    item: Found,
    p_value: float,
    rows: NDArray[np.int64],
    white: NDArray[np.float32],
    carries: NDArray[np.bool_],
) -> Signal | None:
    """The same where those of the label's `rows` in `carries` are the carriers.

    A planted signal is in this label only, in records that share nothing else, and it is foreign to the labels that its
    carriers look like, too. Under right labels only waves count: classes have variants of their own, and those are no waves.
    """
    if not MIN_RECORDS <= carries.sum() < len(rows) - 1:
        return None
    carriers, rest = rows[carries], rows[~carries]
    mask = np.zeros(len(flat), dtype=bool)
    mask[carriers] = True
    looks = look_alikes(scene.space, carriers, mask)
    wrong = _foreign_to_label(scene, item.label, carriers, looks, mask)
    a_wave = item.mode is not None and item.mode.wave is not None
    few = carries.mean() <= _MOST_RIGHTLY_LABELLED
    way = shares(white, carries)
    share = way[carries]
    if wrong and not (share > 0).any():  # no direction leads from the others to all of them: they are no mode
        return None
    if not wrong and not (a_wave and few and item.independent >= _MIN_RIGHTLY_LABELLED):
        return None
    looks = looks if wrong else scene.labels[carriers]
    frequency = whitening.frequencies[item.mode.wave.pair] if item.mode and item.mode.wave else None
    if frequency is not None and np.hypot(*frequency) < _FEWEST_WAVES:
        frequency = None
    if not _unlike(scene, item.label, carriers, looks, mask, frequency):
        return None
    if not _foreign_everywhere(scene, flat, whitening, carriers, looks, mask, len(rows)):
        return None
    return Signal(
        item.label,
        carriers[np.argsort(-share, kind="stable")],
        flat[carriers].mean(axis=0) - flat[rest].mean(axis=0),
        p_value,
        item.independent,
        item.expected,
        wrong,
        item.mode is not None,
        float(carries.mean() * share.var() + (~carries).mean() * way[~carries].var()),
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
        if (label == k).sum() >= LEAST
    )


def _foreign_to_label(
    scene: Scene, label: int, carriers: NDArray[np.int64], looks: NDArray[np.int32], mask: NDArray[np.bool_]
) -> bool:
    """Whether carriers, without each other's company, look like several other labels, and far more so than honest company does.

    Honest company are as many records of the label that are each other's neighbours: a variant of a sign, or all frames of a
    track, look foreign too when nothing like them is left. Where that is most of the label few still look like it, and the
    carriers are held against those few.
    """
    rng = generator(scene.seed, "spectrum", "company")
    rest = np.flatnonzero((scene.labels == label) & ~mask)
    size = min(len(carriers), len(rest) // 2)
    independent = scene.independent_of(carriers)
    if size < MIN_RECORDS or independent < FEWEST_FOREIGN:
        return False
    usual = []
    for start in rng.permutation(rest)[:REFERENCES]:
        nearness = scene.space.unit[rest] @ scene.space.unit[start]
        company = rest[np.argpartition(-nearness, size - 1)[:size]]
        without = mask.copy()
        without[company] = True
        usual.append((look_alikes(scene.space, company, without) != label).mean())
    base = float(np.mean(usual))
    unit = np.sqrt(max(base, 0.05) * (1 - min(base, 0.95)) / independent)
    foreign = looks[looks != label]
    if len(foreign) < LEAST_FOREIGN * len(looks):
        return False
    if len(foreign) / len(looks) - base < max(_RELABELLED * (1 - base), _CLEARLY * unit):
        return False
    return len(scene.label_names) <= _FEW_LABELS or bool(
        np.bincount(foreign).max() <= _ONE_ORIGIN * len(foreign)
    )


def _unlike(
    scene: Scene,
    label: int,
    carriers: NDArray[np.int64],
    looks: NDArray[np.int32],
    mask: NDArray[np.bool_],
    frequency: NDArray[np.int64] | None,
) -> bool:
    """Whether the nearest thumbnails of carriers are carriers hardly more often than chance makes them.

    They are sought in the label and in those that the carriers look like, without the signal, which thumbnails may show: all that
    sets carriers apart where they look like other labels, else the wave of `frequency` alone. Frames of one track, under a light
    of their own, are each other's nearest; an attacker's victims are chosen without regard to what they show.
    """
    pool = np.flatnonzero(np.isin(scene.labels, np.r_[label, looks]))
    thumbs = scene.thumbs[pool]
    elsewhere = bool((looks != label).any())
    if elsewhere or frequency is not None:
        carried = scene.images[carriers]
        signal = carried.mean(axis=0) - _usual(scene, label, carried, looks)
        if frequency is not None and not elsewhere:
            signal = near_frequency(signal, frequency)
        without = carried - signal.astype(np.float32)
        thumbs[mask[pool]] = thumbnails(np.clip(without, 0, 255).round().astype(np.uint8))
    some = np.flatnonzero(mask[pool])[:_ASKED]
    cosines = thumbs[some] @ thumbs.T
    cosines[np.arange(len(some)), some] = -2.0
    k = min(_JURY, len(pool) - 1)
    nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    chance = (len(carriers) - 1) / (len(pool) - 1)
    return bool(mask[pool][nearest].mean() - chance <= _ALIKE * (1 - chance))


def _usual(
    scene: Scene, label: int, carried: NDArray[np.uint8], looks: NDArray[np.int32]
) -> NDArray[np.float64]:
    """The mean image (H, W, 3) of the labels in `looks` (n,), as often as they are there, without those `carried` by `label`."""
    count = np.bincount(scene.labels, minlength=len(scene.totals))
    count[label] -= len(carried)
    mean = np.zeros(scene.images.shape[1:])
    for look, times in zip(*np.unique(looks, return_counts=True), strict=True):
        total = scene.totals[look].astype(np.float64)
        if look == label:
            total -= carried.sum(axis=0, dtype=np.float64)
        mean += times / len(looks) * total / max(count[look], 1)
    return mean
