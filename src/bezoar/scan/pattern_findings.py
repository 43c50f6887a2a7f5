"""Repeated patterns told as findings: what was seen, how unlikely that is, where it sits, what it would do."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.evidence import Gallery, box_of, trigger_pictures
from bezoar.scan.functional.combination import FIRST_VIEW, needed_alone
from bezoar.scan.pattern_view import Pattern, find_patterns
from bezoar.scan.result import Finding, Severity
from bezoar.scan.scene import Evidence, Scene, distinct_of
from bezoar.scan.sensitivity import patch_sensitivity
from bezoar.scan.space import Space, example, look_alikes
from bezoar.seeds import generator

_SHOWN = 12
_ASKED = 1000  # carriers whose neighbours are asked what they look like
_ORIGIN_SHARE = 0.1  # of the carriers that lie among another label, to name that label as an origin
_RELABELLED = 0.3  # by which carriers must look foreign more often than other records of their label
_CLEARLY = 4.0  # standard errors by which they must
_SEVERAL = 2  # labels that are wrong beyond doubt, from which others may be judged by them
_ABOUT_AS_OFTEN = 0.5  # as in them
_FEW = 5  # carriers, or other records, that a label's share is taken from


def patterns(scene: Scene, alpha: float) -> Evidence:
    """View 1: one finding per repeated pattern, and what patch would have been noticed."""
    mined = find_patterns(
        scene.images,
        scene.labels,
        lambda members: foreign_without(scene.space, members),
        distinct_of(scene),
        scene.independent_of,
        alpha,
        generator(scene.seed, "patterns"),
    )
    findings = tuple(
        _finding(pattern, scene.images, scene.space, scene.label_names, scene.gallery)
        for pattern in mined.patterns
    )
    p_values = np.ones(len(scene.label_names))
    for label, p_value in mined.near_misses.items():
        p_values[label] = p_value
    for finding in findings:
        if finding.severity is Severity.POISON and finding.p_value is not None:
            marked = np.unique(scene.labels[np.isin(scene.space.records, finding.records)])
            p_values[marked] = np.minimum(p_values[marked], finding.p_value)
    level, rng = needed_alone(alpha, FIRST_VIEW), generator(scene.seed, "canaries")
    canary = partial(patch_sensitivity, scene, mined.families, level, rng)
    return Evidence("patterns", p_values, findings, canaries=(canary,))


def foreign_without(space: Space, members: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows look foreign to their label; the members without each other's company, which many carriers of one class are."""
    foreign, among = space.votes.margin > 0, np.zeros(len(space.labels), dtype=bool)
    among[members] = True
    foreign[members] = look_alikes(space, members, among) != space.labels[members]
    return foreign


def _finding(
    pattern: Pattern, images: NDArray[np.uint8], space: Space, names: tuple[str, ...], gallery: Gallery
) -> Finding:
    rows = np.flatnonzero(pattern.carriers)
    rows = rows[np.argsort(pattern.trigger.distance[rows], kind="stable")]
    wrong = wrong_labels(space, rows, pattern.carriers)
    if pattern.class_wide and not _foreign_in_company(space, pattern.carriers):
        wrong = []  # without most of its own class, any record's neighbours are of another
    if pattern.label is None and wrong:
        rows = rows[
            np.isin(space.labels[rows], wrong)
        ]  # cover samples carry the patch under their right label
    sample = rows[_spread(len(rows), _ASKED)]
    looks = look_alikes(space, sample, pattern.carriers)
    foreign = looks[looks != space.labels[sample]] if wrong else looks[:0]
    origins = _origins(foreign)
    severity = _severity(pattern, wrong)
    box = box_of(pattern.trigger, (images.shape[1], images.shape[2]))
    return Finding(
        kind="repeated-pattern",
        severity=severity,
        title=_title(pattern, len(rows), severity, names),
        explanation=_explanation(pattern, len(rows), len(foreign) / len(sample), origins, severity, names),
        records=space.records[rows],
        p_value=pattern.p_value,
        target=wrong[0] if pattern.label is None and len(wrong) == 1 else pattern.label,
        origins=origins,
        pictures=trigger_pictures(pattern.trigger, images, pattern.carriers),
        examples=tuple(
            example(space, int(sample[i]), gallery, pattern.carriers, int(looks[i]), box)
            for i in _spread(len(sample), _SHOWN)
        ),
        details=_details(pattern, images, len(foreign) / len(sample)),
    )


def wrong_labels(space: Space, carriers: NDArray[np.int64], excluded: NDArray[np.bool_]) -> list[int]:
    """The labels under which carriers look foreign clearly more often than other records of that label do."""
    others = np.flatnonzero(~excluded & np.isin(space.labels, space.labels[carriers]))
    if not len(others):
        return []
    sample, control = carriers[_spread(len(carriers), _ASKED)], others[_spread(len(others), _ASKED)]
    foreign = look_alikes(space, sample, excluded) != space.labels[sample]
    usual = look_alikes(space, control, excluded) != space.labels[control]
    # share of a label's carriers whose label is wrong: the rest look foreign as often as others
    wronged: dict[int, float] = {}
    wrong = []
    for label in np.unique(space.labels[sample]).tolist():
        ours, theirs = foreign[space.labels[sample] == label], usual[space.labels[control] == label]
        base = float(theirs.mean()) if len(theirs) >= _FEW else float(usual.mean())
        unit = np.sqrt(max(base, 0.05) * (1 - min(base, 0.95)) / len(ours))
        excess = float(ours.mean()) - base
        wronged[label] = excess / max(1.0 - base, 0.05)
        if len(ours) >= _FEW and excess >= max(_RELABELLED, _CLEARLY * unit):
            wrong.append(label)
    if len(wrong) < _SEVERAL:
        return wrong
    # labels are shifted all over: one whose carriers are about as often wrong as those is shifted, too
    like = _ABOUT_AS_OFTEN * float(np.mean([wronged[label] for label in wrong]))
    return [label for label in wronged if label in wrong or wronged[label] >= like]


def _foreign_in_company(space: Space, carriers: NDArray[np.bool_]) -> bool:
    """Whether carriers look foreign clearly more often than other records, even with each other among their neighbours."""
    foreign = space.votes.margin > 0
    return bool(foreign[carriers].mean() - foreign[~carriers].mean() >= _RELABELLED)


def _severity(pattern: Pattern, wrong: list[int]) -> Severity:
    """Wrong labels make it poison. Under right labels, a patch on a minority of one label is poison still (clean-label attacks
    look like that); one on most of a label may be a logo, and one on many labels is a watermark.
    """
    if wrong:
        return Severity.POISON
    if pattern.label is None:
        return Severity.NATURAL
    return Severity.REVIEW if pattern.class_wide else Severity.POISON


def _origins(foreign: NDArray[np.int32]) -> tuple[int, ...]:
    """The labels that relabelled carriers look like, most frequent first."""
    label, count = np.unique(foreign, return_counts=True)
    order = np.argsort(-count, kind="stable")
    return tuple(int(label[i]) for i in order if count[i] >= max(2, _ORIGIN_SHARE * len(foreign)))


def _title(pattern: Pattern, count: int, severity: Severity, names: tuple[str, ...]) -> str:
    if severity is Severity.NATURAL:
        return f"{count} records of many labels carry the same small pattern"
    if pattern.label is None:
        return f"{count} records with shifted labels carry the same small pattern"
    if severity is Severity.REVIEW:
        return f"Most records labelled {names[pattern.label]!r} carry the same small pattern"
    return f"{count} records labelled {names[pattern.label]!r} carry the same small pattern"


def _explanation(
    pattern: Pattern,
    count: int,
    foreign: float,
    origins: tuple[int, ...],
    severity: Severity,
    names: tuple[str, ...],
) -> str:
    peak = pattern.peak
    seen = (
        f"The same patch sits at the same place in {count} records that otherwise differ ({peak.independent} of them "
        f"independent of each other in the window that gave it away); at displaced places at most "
        f"{peak.background} records show it. "
    )
    if severity is Severity.NATURAL:
        return (
            seen + "It is spread over rightly labelled classes, as a watermark or a camera's time stamp is."
        )
    if severity is Severity.REVIEW:
        return (
            seen
            + "Most of the class has it, under labels that look right: a logo, a border or an artefact of collection. "
            "A model will learn it as a shortcut."
        )
    looks = ", ".join(repr(names[label]) for label in origins)
    if looks:
        seen += f"Without the patch's own company, {foreign:.0%} of them have neighbours of another label: {looks}. "
    target = f" as {names[pattern.label]!r}" if pattern.label is not None else " wrongly"
    return seen + f"A model trained on this will probably read any image with this patch{target}."


def _details(pattern: Pattern, images: NDArray[np.uint8], foreign: float) -> dict[str, object]:
    h, w = pattern.trigger.mask.shape
    return {
        "top": pattern.trigger.top,
        "left": pattern.trigger.left,
        "height": h,
        "width": w,
        "canvas": [int(images.shape[1]), int(images.shape[2])],
        "independent": pattern.peak.independent,
        "background": pattern.peak.background,
        "z": round(pattern.peak.z, 3),
        "threshold": round(pattern.trigger.threshold, 3),
        "look_like_another_label": round(foreign, 4),
    }


def _spread(n: int, count: int) -> NDArray[np.int64]:
    """Up to `count` places in range(n), evenly from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(count, n)).astype(np.int64))
