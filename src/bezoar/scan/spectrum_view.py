"""View 2: signals over whole images (blends, sinusoids) that a minority of a label carries; see `functional.spectrum`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bezoar.progress import track
from bezoar.scan.functional.combination import ANOTHER_VIEW, needed_alone
from bezoar.scan.functional.disagreement import vote
from bezoar.scan.functional.spectrum import (
    SIDE,
    Planes,
    Whitenings,
    planes,
    to_image,
)
from bezoar.scan.functional.spectrum_mixture import (
    Count,
    bounded,
    groups,
    modes,
    products,
)
from bezoar.scan.result import Finding, Picture, Sensitivity, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.sensitivity import smallest_found
from bezoar.scan.space import example, look_alikes
from bezoar.scan.spectrum_carriers import FEWEST_FOREIGN, LEAST, MIN_RECORDS, Found, Signal, examined
from bezoar.scan.spectrum_groups import foreign_groups
from bezoar.seeds import generator

_SEARCHED = 1500  # records of a label that are searched at most
_FITTED = 20_000  # records that the whitening is fitted to at most
_MOSTLY = 0.5  # of a group's records, from which an earlier signal, or the canaries, explain it
_BLENDED = 0.2  # opacity of the canaries
_LOOKED_AT = 8  # modes of a label that are examined
_RIVALS = (
    3  # further searches that led to an overlapping group, and are asked whether theirs is the clearer one
)
_SHOWN = 12


def spectrum(scene: Scene, alpha: float) -> Evidence:
    """One finding per signal that a minority of a label carries, whatever they show."""
    n_labels = len(scene.label_names)
    p_values = np.ones(n_labels)
    flat = planes(scene.images)
    shape = (min(SIDE, scene.images.shape[1]), min(SIDE, scene.images.shape[2]))
    rng = generator(scene.seed, "spectrum")
    fitted = np.sort(rng.permutation(len(flat))[:_FITTED])
    whitenings = Whitenings(flat[fitted], scene.labels[fitted], shape)
    found, tests = _searched(scene, flat, whitenings, rng)
    findings = []
    taken = np.zeros(len(flat), dtype=bool)
    ranked = [item for item in sorted(found, key=lambda item: (item.p_value(tests), item.log_p))
              if item.p_value(tests) <= alpha and item.independent >= MIN_RECORDS]  # fmt: skip
    for i, item in enumerate(ranked):
        if taken[item.rows].mean() >= _MOSTLY:
            continue
        signal = examined(scene, flat, whitenings, item, item.p_value(tests))
        if signal is None or taken[signal.carriers].mean() >= _MOSTLY:
            continue
        p_values[signal.label] = min(p_values[signal.label], signal.p_value)
        rivals = [
            other for other in ranked[i + 1 :] if np.isin(other.rows, signal.carriers).mean() >= _MOSTLY
        ]
        further = [
            examined(scene, flat, whitenings, other, other.p_value(tests)) for other in rivals[:_RIVALS]
        ]
        signal = min([signal, *filter(None, further)], key=lambda each: each.blur)
        taken[signal.carriers] = True
        findings.append(_finding(scene, signal, shape))
    canary = partial(_sensitivity, scene, flat, whitenings, alpha, tests, shape)
    return Evidence("spectrum", p_values, tuple(findings), canaries=(canary,))


def _searched(
    scene: Scene,
    flat: Planes,
    whitenings: Whitenings,
    rng: np.random.Generator,
) -> tuple[list[Found], dict[bool, int]]:
    """What was found under every label, and how many were tested in all: modes (False), groups that look foreign (True)."""
    found: list[Found] = []
    tests = {False: 0, True: 0}
    foreign = scene.space.votes.margin > 0
    labels, sizes = np.unique(scene.labels, return_counts=True)
    with track("signals over whole images", int((sizes >= LEAST).sum())) as bar:
        for label in labels[sizes >= LEAST].tolist():
            rows = np.flatnonzero(scene.labels == label)
            rows = np.sort(rng.permutation(rows)[:_SEARCHED])
            whitening = whitenings.of(label)
            white = bounded(whitening.whitened(flat[rows]))
            gram = products(white)
            for kind, (more, tested) in (
                (False, _second_modes(scene, label, rows, white, gram, foreign, whitening.sinusoids, rng)),
                (
                    True,
                    foreign_groups(scene, scene.labels, label, rows, groups(gram, rng), _LOOKED_AT, rng),
                ),
            ):
                found += more
                tests[kind] += tested
            bar.advance(1)
    return found, tests


def _second_modes(
    scene: Scene,
    label: int,
    rows: NDArray[np.int64],
    white: NDArray[np.float32],
    gram: NDArray[np.float64],
    foreign: NDArray[np.bool_],
    waves: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[list[Found], int]:
    """The best second modes of one label, whose `rows` are whitened in `white`, and how many were tested."""
    best, tested = modes(white, gram, waves, _counted(scene, rows), rng, foreign[rows])
    found = [
        Found(
            label, rows[np.r_[mode.members, mode.carriers]], mode.log_p, mode.independent, mode.expected, mode
        )
        for mode in best[:_LOOKED_AT]
    ]
    return found, tested


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
        if len(rows) < LEAST:
            return False
        noise = rng.integers(0, 256, (1, *shape, 3)).astype(np.uint8)
        planted = flat[rows]
        ours = np.isin(rows, hosts)
        planted[ours] = (1 - _BLENDED) * planted[ours] + _BLENDED * planes(noise)
        kept = np.sort(rng.permutation(len(rows))[:_SEARCHED])
        foreign = scene.space.votes.margin > 0
        foreign[hosts] = vote(scene.space.neighbours, relabelled, n_labels, hosts).margin > 0
        whitening = whitenings.of(label)
        white = bounded(whitening.whitened(planted[kept]))
        gram, own = products(white), rng.spawn(1)[0]  # so that no trial depends on what others looked for

        def seen(items: list[Found], tested: int, kind: bool) -> bool:
            all_tests = {**tests, kind: tests[kind] + tested}
            return any(
                item.p_value(all_tests) <= level
                and np.isin(item.rows, hosts).mean() >= _MOSTLY
                and scene.independent_of(np.intersect1d(item.rows, hosts)) >= FEWEST_FOREIGN
                for item in items
            )

        return seen(  # the quicker one first
            *foreign_groups(scene, relabelled, label, rows[kept], groups(gram, own), _LOOKED_AT, own), True
        ) or seen(
            *_second_modes(scene, label, rows[kept], white, gram, foreign, whitening.sinusoids, own), False
        )

    poison = f"noise blended in at opacity {_BLENDED}, relabelled"
    return smallest_found(poison, "random noise in random records of a copy", len(scene.labels), found)


def _counted(scene: Scene, rows: NDArray[np.int64]) -> Count:
    return lambda some: scene.independent_of(rows[some])


def _finding(scene: Scene, signal: Signal, shape: tuple[int, int]) -> Finding:
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
            else f"Neighbours outside the one group place {signal.independent} independent records of it among other labels; "
            f"of as many honest records that are each other's neighbours they place at most about {signal.expected:.1f} there. "
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
