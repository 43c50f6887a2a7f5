"""View 2: signals over whole images (blends, sinusoids) that a minority of a label carries; see `functional.spectrum`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.progress import track
from bezoar.scan.functional.combination import ANOTHER_VIEW, needed_alone
from bezoar.scan.functional.disagreement import foreign_p, vote
from bezoar.scan.functional.patterns import thumbnails
from bezoar.scan.functional.spectrum import (
    SIDE,
    Planes,
    Whitening,
    Whitenings,
    class_means,
    planes,
    sinusoids,
    to_image,
)
from bezoar.scan.functional.spectrum_mixture import (
    Count,
    Mode,
    along_wave,
    bounded,
    groups,
    modes,
    settled,
    shares,
)
from bezoar.scan.result import Finding, Picture, Sensitivity, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.sensitivity import smallest_noticed
from bezoar.scan.space import example, look_alikes
from bezoar.seeds import generator

_LEAST = 16  # records of a label that are searched at all
_FAMILIES = 2  # of tests: second modes, groups that look foreign
_SEARCHED = 1500  # records of a label that are searched at most
_FITTED = 20_000  # records that the whitening is fitted to at most
_MIN_RECORDS = 5  # independent records of the tested half that a finding needs
_MIN_RIGHTLY_LABELLED = (
    12  # that it needs where the carriers' labels look right: a place or a camera marks a few
)
_MOST_RIGHTLY_LABELLED = (
    0.6  # share of the label that they are at most: what nearly all of a class have is the class's
)
_ONE_STRENGTH = (
    0.1  # spread, in shares of the way, of those that carry a signal where the honest ones stand apart
)
_CONCENTRATION = 5.0  # times the other labels' share of carriers
_OUTSIDERS = 2000  # records of other labels that are asked whether they carry it
_JURY = 8  # nearest thumbnails that say whether carriers are alike in content
_REFERENCES = 8  # groups of honest records that carriers are held against
# independent carriers that it takes to call a signal planted by their labels: more than the frames of one track
_FEWEST_FOREIGN = 11
# share, and standard errors, by which carriers must look more foreign than those
_RELABELLED, _CLEARLY = 0.3, 2.5
_FEW_LABELS = 3  # so few leave no choice of origins
_ONE_ORIGIN = (
    0.7  # share of the carriers that may look like one label: a variant of a class looks like its neighbour
)
_ASKED = 1000  # carriers that are asked for them
_ALIKE = 0.25  # of the way from chance to perfect, that they may agree
_STANDS_OUT = (
    4.0  # standard deviations of others by which carriers must differ from the labels that they look like
)
_MOSTLY = 0.5  # of a group's records that have to look foreign
_BLENDED = 0.2  # opacity of the canaries
_LOOKED_AT = 8  # modes of a label that are examined
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class _Found:
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
class _Signal:
    """What a label's carriers share: rows of the scene, template in planes, projections of the label's rows."""

    label: int
    carriers: NDArray[np.int64]
    template: NDArray[np.float32]
    p_value: float
    independent: int
    expected: float
    wrong: bool
    halved: bool  # sought on one half, tested on the other


def spectrum(scene: Scene, alpha: float) -> Evidence:
    """One finding per signal that a minority of a label carries, whatever they show."""
    n_labels = len(scene.label_names)
    p_values = np.ones(n_labels)
    flat = planes(scene.images)
    shape = (min(SIDE, scene.images.shape[1]), min(SIDE, scene.images.shape[2]))
    rng = generator(scene.seed, "spectrum")
    fitted = np.sort(rng.permutation(len(flat))[:_FITTED])
    whitenings = Whitenings(flat[fitted], scene.labels[fitted], shape)
    found, tests = _searched(scene, flat, whitenings, shape, rng)
    findings = []
    taken = np.zeros(len(flat), dtype=bool)
    for p_value, item in sorted(
        ((item.p_value(tests), item) for item in found), key=lambda pair: (pair[0], pair[1].log_p)
    ):
        if p_value > alpha or item.independent < _MIN_RECORDS:
            continue
        signal = _examined(scene, flat, whitenings, shape, item, p_value)
        if signal is None or taken[signal.carriers].mean() >= 0.5:
            continue
        taken[signal.carriers] = True
        p_values[signal.label] = min(p_values[signal.label], p_value)
        findings.append(_finding(scene, signal, shape))
    noticed = _sensitivity(scene, flat, whitenings, alpha, tests, shape)
    return Evidence("spectrum", p_values, tuple(findings), sensitivity=(noticed,))


def _searched(
    scene: Scene,
    flat: Planes,
    whitenings: Whitenings,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[list[_Found], dict[bool, int]]:
    """What was found under every label, and how many were tested in all: modes (False), groups that look foreign (True)."""
    found: list[_Found] = []
    tests = {False: 0, True: 0}
    foreign = scene.space.votes.margin > 0
    labels, sizes = np.unique(scene.labels, return_counts=True)
    with track("signals over whole images", int((sizes >= _LEAST).sum())) as bar:
        for label in labels[sizes >= _LEAST].tolist():
            rows = np.flatnonzero(scene.labels == label)
            rows = np.sort(rng.permutation(rows)[:_SEARCHED])
            whitening = whitenings.of(label)
            white, waves = bounded(whitening.whitened(flat[rows])), sinusoids(whitening, shape)
            more, tested = _searched_in(scene, label, rows, white, foreign, waves, rng)
            found += more
            for kind in tests:
                tests[kind] += tested[kind]
            bar.advance(1)
    return found, tests


def _searched_in(
    scene: Scene,
    label: int,
    rows: NDArray[np.int64],
    white: NDArray[np.float32],
    foreign: NDArray[np.bool_],
    waves: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[list[_Found], dict[bool, int]]:
    """The same for one label, whose `rows` are whitened in `white` and of which those in `foreign` look mislabelled."""
    best, tested = modes(white, waves, _counted(scene, rows), rng, foreign[rows])
    found = [
        _Found(
            label, rows[np.r_[mode.members, mode.carriers]], mode.log_p, mode.independent, mode.expected, mode
        )
        for mode in best[:_LOOKED_AT]
    ]
    apart = [rows[group] for group in groups(white, rng)]
    judged = [_foreign(scene, label, rows, group, foreign) for group in apart]
    found += sorted(filter(None, judged), key=lambda item: item.log_p)[:_LOOKED_AT]
    return found, {False: tested, True: len(apart)}


def _sensitivity(
    scene: Scene,
    flat: Planes,
    whitenings: Whitenings,
    alpha: float,
    tests: Mapping[bool, int],
    shape: tuple[int, int],
) -> Sensitivity:
    """The smallest rate at which noise blended into random records, under one label, is found by this view alone."""
    rng = generator(scene.seed, "canaries", "blend")
    level = needed_alone(alpha, ANOTHER_VIEW)
    n_labels = len(scene.label_names)

    def found(count: int) -> bool:
        label = int(scene.labels[rng.integers(len(scene.labels))])
        hosts = rng.permutation(np.flatnonzero(scene.labels != label))[:count]
        relabelled = scene.labels.copy()
        relabelled[hosts] = label
        rows = np.flatnonzero(relabelled == label)
        if len(rows) < _LEAST:
            return False
        noise = rng.integers(0, 256, (1, *shape, 3)).astype(np.uint8)
        planted = flat[rows]
        ours = np.isin(rows, hosts)
        planted[ours] = (1 - _BLENDED) * planted[ours] + _BLENDED * planes(noise)
        kept = np.sort(rng.permutation(len(rows))[:_SEARCHED])
        foreign = scene.space.votes.margin > 0
        foreign[hosts] = vote(scene.space.neighbours, relabelled, n_labels, hosts).margin > 0
        whitening = whitenings.of(label)
        white, waves = bounded(whitening.whitened(planted[kept])), sinusoids(whitening, shape)
        seen, more = _searched_in(scene, label, rows[kept], white, foreign, waves, rng)
        all_tests = {kind: tests[kind] + more[kind] for kind in tests}
        return any(
            item.p_value(all_tests) <= level
            and np.isin(item.rows, hosts).mean() >= _MOSTLY
            and scene.independent_of(np.intersect1d(item.rows, hosts)) >= _FEWEST_FOREIGN
            for item in seen
        )

    poison = f"noise blended in at opacity {_BLENDED}, relabelled"
    return smallest_noticed(poison, "random noise in random records of a copy", len(scene.labels), found)


def _foreign(
    scene: Scene,
    label: int,
    rows: NDArray[np.int64],
    group: NDArray[np.int64],
    foreign: NDArray[np.bool_],
) -> _Found | None:
    """A group of the label's `rows`, judged by how many of its records look foreign to the label; None if most do not."""
    if foreign[group].mean() < _MOSTLY:
        return None
    p_value = foreign_p(group, rows, foreign, scene.independent_of)
    usual = float(foreign[np.setdiff1d(rows, group)].mean()) * len(group)
    strange = scene.independent_of(group[foreign[group]])
    return _Found(label, group, float(np.log(max(p_value, 1e-300))), strange, usual, None)


def _counted(scene: Scene, rows: NDArray[np.int64]) -> Count:
    return lambda some: scene.independent_of(rows[some])


def _examined(
    scene: Scene, flat: Planes, whitenings: Whitenings, shape: tuple[int, int], item: _Found, p_value: float
) -> _Signal | None:
    """The signal behind a mode, in all records of the label; None where it is a part of what the classes show.

    Where most of a label is planted it is the honest records that stand apart: the others are examined, too, if they are all at
    one strength. What is left of a class when one group is taken out of it is not.
    """
    rows = np.flatnonzero(scene.labels == item.label)
    whitening = whitenings.of(item.label)
    white = bounded(whitening.whitened(flat[rows]))
    started = np.isin(rows, item.rows)
    if item.mode is not None and item.mode.wave is not None:
        carries = along_wave(white, sinusoids(whitening, shape), item.mode.wave, started)
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
    item: _Found,
    p_value: float,
    rows: NDArray[np.int64],
    white: NDArray[np.float32],
    carries: NDArray[np.bool_],
) -> _Signal | None:
    """The same where those of the label's `rows` in `carries` are the carriers.

    A planted signal is in this label only, in records that share nothing else, and it is foreign to the labels that its
    carriers look like, too. Under right labels only waves count: classes have variants of their own, and those are no waves.
    """
    if not _MIN_RECORDS <= carries.sum() < len(rows) - 1:
        return None
    carriers, rest = rows[carries], rows[~carries]
    mask = np.zeros(len(flat), dtype=bool)
    mask[carriers] = True
    looks = look_alikes(scene.space, carriers, mask)
    wrong = _foreign_to_label(scene, item.label, carriers, looks, mask)
    looks = looks if wrong else scene.labels[carriers]
    if not _foreign_everywhere(scene, flat, whitening, carriers, looks, mask, len(rows)):
        return None
    a_wave = item.mode is not None and item.mode.wave is not None
    few = carries.mean() <= _MOST_RIGHTLY_LABELLED
    if not wrong and not (a_wave and few and item.independent >= _MIN_RIGHTLY_LABELLED):
        return None
    if not _unlike(scene, item.label, carriers, looks, mask):
        return None
    return _Signal(
        item.label,
        carriers[np.argsort(-shares(white, carries)[carries], kind="stable")],
        flat[carriers].mean(axis=0) - flat[rest].mean(axis=0),
        p_value,
        item.independent,
        item.expected,
        wrong,
        item.mode is not None,
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


def _foreign_to_label(
    scene: Scene, label: int, carriers: NDArray[np.int64], looks: NDArray[np.int32], mask: NDArray[np.bool_]
) -> bool:
    """Whether carriers, without each other's company, look like several other labels, and far more so than honest company does.

    Honest company are as many records of the label that are each other's neighbours: a variant of a sign, or all frames of a
    track, look foreign too when nothing like them is left.
    """
    rng = generator(scene.seed, "spectrum", "company")
    rest = np.flatnonzero((scene.labels == label) & ~mask)
    size = min(len(carriers), len(rest) // 2)
    independent = scene.independent_of(carriers)
    if size < _MIN_RECORDS or independent < _FEWEST_FOREIGN:
        return False
    usual = []
    for start in rng.permutation(rest)[:_REFERENCES]:
        nearness = scene.space.unit[rest] @ scene.space.unit[start]
        company = rest[np.argpartition(-nearness, size - 1)[:size]]
        without = mask.copy()
        without[company] = True
        usual.append((look_alikes(scene.space, company, without) != label).mean())
    base = float(np.mean(usual))
    unit = np.sqrt(max(base, 0.05) * (1 - min(base, 0.95)) / independent)
    foreign = looks[looks != label]
    if len(foreign) / len(looks) - base < max(_RELABELLED, _CLEARLY * unit):
        return False
    return len(scene.label_names) <= _FEW_LABELS or bool(
        np.bincount(foreign).max() <= _ONE_ORIGIN * len(foreign)
    )


def _unlike(
    scene: Scene, label: int, carriers: NDArray[np.int64], looks: NDArray[np.int32], mask: NDArray[np.bool_]
) -> bool:
    """Whether the nearest thumbnails of carriers are carriers hardly more often than chance makes them.

    They are sought in the label and in those that the carriers look like; where those are others, without the signal, which
    thumbnails may show. Frames of one track, under a light of their own, are each other's nearest; an attacker's victims are
    chosen without regard to what they show.
    """
    pool = np.flatnonzero(np.isin(scene.labels, np.r_[label, looks]))
    thumbs = thumbnails(scene.images[pool])
    if (looks != label).any():
        honest = pool[~mask[pool]]
        usual = class_means(scene.images[honest], scene.labels[honest])
        share = np.bincount(looks, minlength=len(usual)) / len(looks)
        signal = scene.images[carriers].mean(axis=0) - np.einsum("k,khwc->hwc", share, usual)
        cleaned = np.clip(scene.images[carriers] - signal, 0, 255).round().astype(np.uint8)
        thumbs[mask[pool]] = thumbnails(cleaned)
    some = np.flatnonzero(mask[pool])[:_ASKED]
    cosines = thumbs[some] @ thumbs.T
    cosines[np.arange(len(some)), some] = -2.0
    k = min(_JURY, len(pool) - 1)
    nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    chance = (len(carriers) - 1) / (len(pool) - 1)
    return bool(mask[pool][nearest].mean() - chance <= _ALIKE * (1 - chance))


def _finding(scene: Scene, signal: _Signal, shape: tuple[int, int]) -> Finding:
    space, name = scene.space, scene.label_names[signal.label]
    mask = np.zeros(len(scene.labels), dtype=bool)
    mask[signal.carriers] = True
    looks = look_alikes(space, signal.carriers, mask)
    foreign, count = np.unique(looks[looks != signal.label], return_counts=True)
    seen = (
        f"{len(signal.carriers)} records labelled {name!r} carry one faint signal over the whole image, at one strength, and the "
        f"others lack it: along it the label falls into two groups. "
        + (
            f"It was found on one half of the records; on the other half {signal.independent} independent records lie beyond the "
            f"gap, where the others' spread explains {signal.expected:.1f}. "
            if signal.halved
            else f"Neighbours place {signal.independent} independent records of the one group among other labels, where about "
            f"{signal.expected:.1f} would be usual. "
        )
        + "In no other label do records differ from their class in this way. "
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
