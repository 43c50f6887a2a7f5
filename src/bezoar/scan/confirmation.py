"""Does a recovered trigger do what it is suspected of? A network trained on the data is shown it on records without it.

The control is a network trained on the same data without the suspects: if they planted a backdoor, the trigger turns records to
its label in the first network and not in the second (Gu et al. 2017, arXiv 1708.06733). Other marks are no control: a network
takes the same pixels in random order for the trigger, too (docs/adr/0004). A small network that did not learn a trigger in a
few passes proves nothing in its favour, so findings keep their severity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from bezoar.models.threads import one_thread
from bezoar.models.train import train_classifier
from bezoar.scan.result import Finding, Severity
from bezoar.scan.scene import Scene
from bezoar.scan.training_view import small
from bezoar.seeds import generator

if TYPE_CHECKING:
    from bezoar.models.train import Classifier

_KIND = "repeated-pattern"
_EPOCHS, _MOST_IMAGES = 8, 100_000  # that the network is shown
_ASKED, _FEWEST = 300, 20  # records that are shown the trigger; that a label has to keep without the suspects
_AGREE = 24.0  # levels that a pixel of the trigger varies by between carriers, median
_ADDED = 0.1  # share of records that the trigger has to turn, beyond those that it turns without the suspects
_LEVEL = 0.001


@dataclass(frozen=True, slots=True)
class Flips:
    """Shares of records that the trigger turned to the label, in both networks, and whether clearly more in the first."""

    suspect: float
    control: float
    confirmed: bool


def confirmed(findings: Sequence[Finding], scene: Scene) -> list[Finding]:
    """The findings; those with a recovered patch say what it does to networks. MissingExtraError without torch."""
    suspects = np.zeros(len(scene.labels), dtype=bool)
    for finding in filter(_testable, findings):
        suspects |= np.isin(scene.space.records, finding.records)
    kept = np.bincount(scene.labels[~suspects], minlength=len(scene.label_names))
    told = [_testable(finding) and kept[finding.target] >= _FEWEST for finding in findings]
    if not any(told):
        return list(findings)
    with one_thread():
        networks = _trained(scene, np.ones_like(suspects)), _trained(scene, ~suspects)
        return [
            _told(finding, scene, *networks) if one else finding
            for finding, one in zip(findings, told, strict=True)
        ]


def _trained(scene: Scene, rows: NDArray[np.bool_]) -> Classifier:
    images = small(scene.images[rows])
    epochs = min(_EPOCHS, max(1, _MOST_IMAGES // len(images)))
    return train_classifier(
        images, scene.labels[rows], len(scene.label_names), epochs=epochs, seed=scene.seed
    )


def flips(
    suspect: Classifier,
    control: Classifier,
    images: NDArray[np.uint8],
    trigger: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    at: tuple[int, int],
    target: int,
) -> Flips:
    """Show both networks images uint8 (n, H, W, 3) with the `trigger` uint8 (h, w, 3) `at` row, column.

    Only pixels in `mask` (h, w) are stamped, and only images asked about that neither network reads as `target` without it.
    Significant by Fisher's exact test (one-sided), and a tenth of them at least beyond the control.
    """
    plain = small(images)
    able = (suspect.predict(plain) != target) & (control.predict(plain) != target)
    n = int(able.sum())
    if not n:
        return Flips(0.0, 0.0, False)
    stamped = images[able]
    h, w = mask.shape
    stamped[:, at[0] : at[0] + h, at[1] : at[1] + w][:, mask] = trigger[mask]
    ours, theirs = (int((one.predict(small(stamped)) == target).sum()) for one in (suspect, control))
    p_value = float(fisher_exact([[ours, n - ours], [theirs, n - theirs]], alternative="greater").pvalue)
    return Flips(ours / n, theirs / n, p_value <= _LEVEL and (ours - theirs) / n >= _ADDED)


def _testable(finding: Finding) -> bool:
    return finding.kind == _KIND and finding.severity is not Severity.NATURAL and finding.target is not None


def _told(finding: Finding, scene: Scene, suspect: Classifier, control: Classifier) -> Finding:
    """The finding with what its trigger did."""
    target, details = finding.target, finding.details
    carriers = np.isin(scene.space.records, finding.records)
    rng = generator(scene.seed, "confirmation", str(target))
    others = rng.permutation(np.flatnonzero(~carriers & (scene.labels != target)))[:_ASKED]
    top, left = details["top"], details["left"]
    patches = scene.images[carriers, top : top + details["height"], left : left + details["width"]]
    trigger = np.median(patches, axis=0)
    mask = np.median(np.abs(patches - trigger).max(axis=3), axis=0) <= _AGREE
    if target is None or len(others) < _FEWEST or not mask.any():
        return finding
    found = flips(suspect, control, scene.images[others], trigger.astype(np.uint8), mask, (top, left), target)
    words = (
        f" Stamped on records of other labels, the recovered pattern turned {found.suspect:.0%} of them to "
        f"{scene.label_names[target]!r} in a network trained on this data, and {found.control:.0%} in one trained without the "
        "suspects."
    )
    if not found.confirmed:
        words += " So a short training does not learn it as a trigger; a longer one may."
    return replace(
        finding,
        explanation=finding.explanation + words,
        details={
            **details,
            "confirmed": found.confirmed,
            "flipped": round(found.suspect, 4),
            "flipped_without_suspects": round(found.control, 4),
        },
    )
