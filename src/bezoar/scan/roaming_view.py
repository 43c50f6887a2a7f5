"""View 1 without a fixed place: the same small patch anywhere in records of one label (see `functional.roaming`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bezoar.progress import track
from bezoar.scan.functional.counts import FEW, excess, family_wise
from bezoar.scan.functional.patterns import Table, pixel_table
from bezoar.scan.functional.roaming import SIZE, Group, isolated_patches, nearest_places, repeated
from bezoar.scan.pattern_findings import wrong_labels
from bezoar.scan.result import Finding, Picture, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.space import example, look_alikes

_CANVAS = 32  # the images are shrunk by a whole number to about this side: patches grow with images
_MIN_RECORDS = 5  # independent records that a finding needs
_SHOWN = 12


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
    findings = []
    for p_value, group in _tested(groups):
        p_values[group.label] = min(p_values[group.label], p_value)
        if p_value <= alpha:
            findings.append(_finding(scene, table, group, p_value, scale))
    honest = {finding.target for finding in findings if finding.severity is Severity.REVIEW}
    planted = {finding.target for finding in findings if finding.severity is Severity.POISON}
    p_values[[label for label in honest - planted if label is not None]] = (
        1.0  # recurring, but under right labels
    )
    return Evidence("roaming patches", p_values, tuple(_once(findings)))


def _tested(groups: list[Group]) -> list[tuple[float, Group]]:
    """The groups with family-wise p-values, most significant first.

    Each label's groups are held against those of the other labels: a trigger makes several groups (its own patch, and what
    windows next to it show), which must not be their own null. Too few others to know the null: not tested.
    """
    z = np.array([float(excess(group.independent, group.elsewhere)) for group in groups])
    of_label = np.array([group.label for group in groups])
    tested = []
    for i, group in enumerate(groups):
        others = z[of_label != group.label]
        if len(others) >= FEW and group.independent >= _MIN_RECORDS:
            p = family_wise(np.r_[z[i], others], len(groups))[0]
            tested.append((float(p), group))
    return sorted(tested, key=lambda item: (item[0], -item[1].independent))


def _once(findings: list[Finding]) -> list[Finding]:
    """Without findings whose records an earlier one holds for the most part."""
    kept: list[Finding] = []
    for finding in findings:
        if not any(np.isin(finding.records, other.records).mean() >= 0.5 for other in kept):
            kept.append(finding)
    return kept


def _finding(scene: Scene, table: Table, group: Group, p_value: float, scale: int) -> Finding:
    space, name = scene.space, scene.label_names[group.label]
    of_label = np.flatnonzero(scene.labels == group.label)
    distance, places = nearest_places(table[..., of_label], group.patch)
    shown = distance <= group.tolerance
    rows, places = of_label[shown], places[shown]
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
            for row, look, place in list(zip(rows, looks, places, strict=True))[:_SHOWN]
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
    top, left = (float(v) * scale for v in place)
    side = SIZE * scale
    return top / height, left / width, (top + side) / height, (left + side) / width
