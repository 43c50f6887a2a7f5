"""Does a recovered trigger do what it is suspected of? A network trained on the data is shown it on records without it.

Controls sit at the same place: the same pixels in random order. A backdoor makes the trigger, and not its controls, turn
records to its label (Gu et al. 2017, arXiv 1708.06733). A small network that did not learn a trigger in a few passes proves
nothing in its favour, so findings keep their severity.
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
_ASKED, _FEWEST = 300, 20  # records that are shown the trigger
_CONTROLS = 3
_AGREE = 24.0  # levels that a pixel of the trigger varies by between carriers, median
_ADDED = 0.1  # share of records that the trigger has to turn, beyond what controls do
_LEVEL = 0.001


@dataclass(frozen=True, slots=True)
class Flips:
    """Shares of records that turned to the suspected label, and whether the trigger turned clearly more."""

    trigger: float
    control: float
    confirmed: bool


def confirmed(findings: Sequence[Finding], scene: Scene) -> list[Finding]:
    """The findings; those with a recovered patch say what it does to a network. MissingExtraError without torch."""
    if not any(_testable(finding) for finding in findings):
        return list(findings)
    images = small(scene.images)
    epochs = min(_EPOCHS, max(1, _MOST_IMAGES // len(images)))
    with one_thread():
        network = train_classifier(
            images, scene.labels, len(scene.label_names), epochs=epochs, seed=scene.seed
        )
        return [_told(finding, scene, network) if _testable(finding) else finding for finding in findings]


def flips(
    network: Classifier,
    images: NDArray[np.uint8],
    trigger: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    at: tuple[int, int],
    target: int,
    rng: np.random.Generator,
) -> Flips:
    """Show the network images uint8 (n, H, W, 3) with the `trigger` uint8 (h, w, 3) `at` row, column, and with controls.

    Only pixels in `mask` (h, w) are stamped. Significant by Fisher's exact test (one-sided), and a tenth of the records at
    least beyond the controls.
    """
    able = network.predict(small(images)) != target
    if not able.any():
        return Flips(0.0, 0.0, False)

    def turned(pixels: NDArray[np.uint8]) -> int:
        stamped = images[able]
        h, w = mask.shape
        stamped[:, at[0] : at[0] + h, at[1] : at[1] + w][:, mask] = pixels
        return int((network.predict(small(stamped)) == target).sum())

    n = int(able.sum())
    ours = turned(trigger[mask])
    theirs = sum(turned(rng.permutation(trigger[mask], axis=0)) for _ in range(_CONTROLS))
    table = [[ours, n - ours], [theirs, _CONTROLS * n - theirs]]
    p_value = float(fisher_exact(table, alternative="greater").pvalue)
    share, usual = ours / n, theirs / (_CONTROLS * n)
    return Flips(share, usual, p_value <= _LEVEL and share - usual >= _ADDED)


def _testable(finding: Finding) -> bool:
    return finding.kind == _KIND and finding.severity is not Severity.NATURAL and finding.target is not None


def _told(finding: Finding, scene: Scene, network: Classifier) -> Finding:
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
    found = flips(network, scene.images[others], trigger.astype(np.uint8), mask, (top, left), target, rng)
    name = scene.label_names[target]
    words = (
        f" Stamped on records of other labels, the recovered pattern turned {found.trigger:.0%} of them to {name!r} in a network "
        f"trained on this data; the same pixels in random order turned {found.control:.0%}."
    )
    if not found.confirmed:
        words += " So a short training does not learn it as a trigger; a longer one may."
    return replace(
        finding,
        explanation=finding.explanation + words,
        details={
            **details,
            "confirmed": found.confirmed,
            "flipped": round(found.trigger, 4),
            "flipped_by_controls": round(found.control, 4),
        },
    )
