"""View 1 without a fixed place: the same small patch anywhere in records of one label (see `functional.roaming`)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bezoar.progress import track
from bezoar.scan.functional.combination import fisher
from bezoar.scan.functional.counts import FEW, excess, family_wise
from bezoar.scan.functional.disagreement import foreign_p
from bezoar.scan.functional.patterns import pixel_table
from bezoar.scan.functional.roaming import SIZE, Group, isolated_patches, repeated
from bezoar.scan.functional.roaming_carriers import Carriers, carriers_of
from bezoar.scan.pattern_findings import foreign_without, wrong_labels
from bezoar.scan.result import Finding, Picture, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.space import example, look_alikes

_CANVAS = 32  # the images are shrunk by a whole number to about this side: patches grow with images
_MIN_RECORDS = 5  # independent records that a finding needs
_SHOWN = 12
_PROMISING = 0.05  # uncorrected p-value of a group, from which it is worth looking for all of its carriers


def roaming(scene: Scene, alpha: float) -> Evidence:
    """Patches that recur at no fixed place; poison where the records that show one look foreign to their label."""
    height, width = scene.images.shape[1:3]
    p_values = np.ones(len(scene.label_names))
    scale = max(1, min(height, width) // _CANVAS)
    if min(height, width) // scale <= SIZE + 2:
        return Evidence("roaming patches", p_values)
    table = pixel_table(scene.images, scale)
    with track("roaming patches", height // scale - SIZE - 1) as bar:
        patches = isolated_patches(table, on_row=lambda: bar.advance(1))
    groups = repeated(patches, scene.labels, scene.independent_of)

    @functools.cache
    def carriers(i: int) -> Carriers:
        return carriers_of(scene.images, scene.labels, groups[i].label, groups[i].patch, scale)

    findings, honest = [], set()
    for p_value, i in _tested(groups, lambda i: _foreign_p(scene, carriers(i).rows)):
        group = groups[i]
        p_values[group.label] = min(p_values[group.label], p_value)
        if p_value <= alpha:
            finding = _finding(scene, group, carriers(i), p_value, scale)
            if finding is None or finding.severity is Severity.REVIEW:
                honest.add(group.label)
            if finding is not None:
                findings.append(finding)
    planted = {finding.target for finding in findings if finding.severity is Severity.POISON}
    p_values[list(honest - planted)] = 1.0  # recurring, but under right labels
    return Evidence("roaming patches", p_values, tuple(_once(findings)))


def _tested(groups: list[Group], look_foreign: Callable[[int], float]) -> list[tuple[float, int]]:
    """Family-wise p-values of the groups and their numbers, most significant first.

    Each label's groups are held against those of the other labels: a trigger makes several groups (its own patch, and what
    windows next to it show), which must not be their own null. Too few others to know the null: not tested. As for patterns at
    one place, two tests share the error where none of the others is as strong: whether the group stands clear, and whether it
    both stands clear and looks foreign (Fisher's combination).
    """
    z = np.array([float(excess(group.independent, group.elsewhere)) for group in groups])
    of_label = np.array([group.label for group in groups])
    tested = []
    for i, group in enumerate(groups):
        others = z[of_label != group.label]
        if len(others) >= FEW and group.independent >= _MIN_RECORDS:
            clear = float(family_wise(np.r_[z[i], others], 1)[0])
            joint = 1.0
            if z[i] > others.max() and clear <= _PROMISING:
                joint = fisher(clear, look_foreign(i))
            tested.append((min(1.0, 2 * len(groups) * min(clear, joint)), i))
    return sorted(tested, key=lambda item: (item[0], -groups[item[1]].independent))


def _foreign_p(scene: Scene, members: NDArray[np.int64]) -> float:
    """Chance that as many of these rows of one label look foreign, if honest ones do as often as others."""
    if not len(members):
        return 1.0
    of_label = np.flatnonzero(scene.labels == scene.labels[members[0]])
    foreign = foreign_without(scene.space, members)
    return foreign_p(np.unique(members), of_label, foreign, scene.independent_of)


def _once(findings: list[Finding]) -> list[Finding]:
    """Without findings whose records an earlier one holds for the most part."""
    kept: list[Finding] = []
    for finding in findings:
        if not any(np.isin(finding.records, other.records).mean() >= 0.5 for other in kept):
            kept.append(finding)
    return kept


def _finding(scene: Scene, group: Group, found: Carriers, p_value: float, scale: int) -> Finding | None:
    """None where nothing tells the records that show the patch from those of other labels."""
    space, name, rows = scene.space, scene.label_names[group.label], found.rows
    if len(rows) < _MIN_RECORDS:
        return None
    carriers = np.zeros(len(scene.labels), dtype=bool)
    carriers[rows] = True
    wrong = group.label in wrong_labels(space, rows, carriers)
    looks = look_alikes(space, rows, carriers)
    foreign, count = np.unique(looks[looks != group.label], return_counts=True)
    seen = (
        f"{group.independent} independent records labelled {name!r} show the same patch of {SIZE * scale} x {SIZE * scale} "
        f"pixels, each at a place of its own, and it continues into nothing around it; in as many records of any other label "
        f"at most {group.elsewhere:.0f} show it. "
    )
    return Finding(
        kind="roaming-pattern",
        severity=Severity.POISON if wrong else Severity.REVIEW,
        title=f"{len(rows)} records labelled {name!r} carry the same small patch at changing places",
        explanation=seen
        + (
            f"Their neighbours say that many of them belong to other labels: a model trained on this will probably read any "
            f"image with this patch as {name!r}."
            if wrong
            else "Their labels look right: part of what the class shows, or a mark on it."
        ),
        records=space.records[rows],
        p_value=p_value,
        target=group.label,
        origins=tuple(int(label) for label in foreign[np.argsort(-count, kind="stable")][:5])
        if wrong
        else (),
        pictures=(Picture(np.clip(group.patch, 0, 255).round().astype(np.uint8), "the patch"),),
        examples=tuple(
            example(space, int(row), scene.gallery, carriers, int(look), _box(scene, place, scale))
            for row, look, place in list(zip(rows, looks, found.place, strict=True))[:_SHOWN]
        ),
        details={
            "independent": group.independent,
            "elsewhere": round(group.elsewhere, 2),
            "tolerance": group.tolerance,
        },
    )


def _box(scene: Scene, place: NDArray[np.int64], scale: int) -> tuple[float, float, float, float]:
    """Where a patch sits, as shares of the image: top, left, bottom, right."""
    height, width = scene.images.shape[1:3]
    top, left = (float(v) for v in place)
    side = SIZE * scale
    return top / height, left / width, (top + side) / height, (left + side) / width
