"""Does a recovered trigger do what it is suspected of? A network trained on the data is shown it on records without it.

The control is a network trained on the same data without the suspects: if they planted a backdoor, the trigger turns records to
its label in the first network and not in the second (Gu et al. 2017, arXiv 1708.06733). Other marks are no control: a network
takes the same pixels in random order for the trigger, too (docs/adr/0004). A small network that did not learn a trigger in a
few passes proves nothing in its favour, so findings keep their severity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast

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


class Reads(Protocol):
    """A classifier."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Labels (n,) of images (n, H, W, 3)."""


@dataclass(frozen=True, slots=True)
class Flips:
    """Shares of records that the trigger turned to the label, in both networks, and whether clearly more in the first."""

    suspect: float
    control: float
    confirmed: bool


def confirmed(findings: Sequence[Finding], scene: Scene) -> list[Finding]:
    """The findings; those with a recovered patch say what it does to networks. MissingExtraError without torch."""
    triggers = {at: _trigger(one, scene) for at, one in enumerate(findings) if _testable(one)}
    if not triggers:
        return list(findings)
    suspects = np.zeros(len(scene.labels), dtype=bool)
    for finding in findings:
        if finding.severity is not Severity.NATURAL:
            suspects |= np.isin(scene.space.records, finding.records)
    for trigger in triggers.values():
        suspects |= trigger.carried_by(scene.images)  # by records that the finding lacks as well
    told = list(findings)
    lacking = {at: _lacking(findings[at], trigger, scene, suspects) for at, trigger in triggers.items()}
    for at, reason in lacking.items():
        if reason:
            words = f" What the pattern does to a network was not tried: {reason}."
            told[at] = replace(findings[at], explanation=findings[at].explanation + words)
    if all(lacking.values()):
        return told
    images = small(scene.images)
    with one_thread():
        networks = [_trained(scene, images, rows) for rows in (np.ones_like(suspects), ~suspects)]
        for at, trigger in triggers.items():
            if not lacking[at]:
                told[at] = _told(findings[at], trigger, scene, suspects, *networks)
    return told


def _lacking(finding: Finding, trigger: Trigger, scene: Scene, suspects: NDArray[np.bool_]) -> str | None:
    """Why the trigger cannot be tried; None where it can."""
    rest = scene.labels[~suspects]
    if min((rest == finding.target).sum(), (rest != finding.target).sum()) < _FEWEST:
        return "too few records are left without the suspects"
    return None if trigger.mask.any() else "its carriers share no single pixel of it"


def _trained(scene: Scene, images: NDArray[np.uint8], rows: NDArray[np.bool_]) -> Classifier:
    """A network trained on some rows, in as many epochs whatever they are."""
    epochs = min(_EPOCHS, max(1, _MOST_IMAGES // len(images)))
    return train_classifier(
        images[rows], scene.labels[rows], len(scene.label_names), epochs=epochs, seed=scene.seed
    )


@dataclass(frozen=True, slots=True)
class Trigger:
    """A recovered patch: pixels uint8 (h, w, 3), those of them that its carriers share (h, w), its top left corner."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    at: tuple[int, int]

    def on(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Copies of the images (n, H, W, 3) with it."""
        stamped = images.copy()
        self._part(stamped)[:, self.mask] = self.pixels[self.mask]
        return stamped

    def carried_by(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which images (n, H, W, 3) have it, as nearly as its carriers have."""
        apart = np.abs(self._part(images)[:, self.mask].astype(np.int16) - self.pixels[self.mask])
        return (
            np.asarray(apart.mean(axis=(1, 2)) <= _AGREE) if self.mask.any() else np.zeros(len(images), bool)
        )

    def _part(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        (top, left), (height, width) = self.at, self.mask.shape
        return images[:, top : top + height, left : left + width]


def _trigger(finding: Finding, scene: Scene) -> Trigger:
    """The median of what the finding's records show at its place, and where they agree on it."""
    top, left, height, width = (finding.details[side] for side in ("top", "left", "height", "width"))
    carriers = np.isin(scene.space.records, finding.records)
    patches = scene.images[carriers, top : top + height, left : left + width]
    pixels = np.median(patches, axis=0)
    mask = np.median(np.abs(patches - pixels).max(axis=3), axis=0) <= _AGREE
    return Trigger(pixels.astype(np.uint8), mask, (top, left))


def flips(suspect: Reads, control: Reads, images: NDArray[np.uint8], trigger: Trigger, target: int) -> Flips:
    """Show both networks the images uint8 (n, H, W, 3) with the trigger.

    Only images count that neither network reads as `target` without it. Significant by Fisher's exact test (one-sided), and a
    tenth of them at least beyond the control.
    """
    plain = small(images)
    able = (suspect.predict(plain) != target) & (control.predict(plain) != target)
    n = int(able.sum())
    if not n:
        return Flips(0.0, 0.0, False)
    stamped = small(trigger.on(images[able]))
    ours, theirs = (int((one.predict(stamped) == target).sum()) for one in (suspect, control))
    p_value = float(fisher_exact([[ours, n - ours], [theirs, n - theirs]], alternative="greater").pvalue)
    return Flips(ours / n, theirs / n, p_value <= _LEVEL and (ours - theirs) / n >= _ADDED)


def _testable(finding: Finding) -> bool:
    return finding.kind == _KIND and finding.severity is not Severity.NATURAL and finding.target is not None


def _told(
    finding: Finding,
    trigger: Trigger,
    scene: Scene,
    suspects: NDArray[np.bool_],
    suspect: Classifier,
    control: Classifier,
) -> Finding:
    """The finding with what its trigger did."""
    target = cast(int, finding.target)  # a testable finding has one
    rng = generator(scene.seed, "confirmation", str(target))
    others = rng.permutation(np.flatnonzero(~suspects & (scene.labels != target)))[:_ASKED]
    found = flips(suspect, control, scene.images[others], trigger, target)
    words = (
        f" Stamped on records of other labels, the recovered pattern turned {found.suspect:.0%} of them to "
        f"{scene.label_names[target]!r} in a network trained on this data, and {found.control:.0%} in one trained without the "
        "suspects."
    )
    if not found.confirmed:
        words += (
            " So other records teach it as well: carriers that were not found, or what the label shows anyway."
            if found.control >= _ADDED
            else " So a short training does not learn it as a trigger; a longer one may."
        )
    return replace(
        finding,
        explanation=finding.explanation + words,
        details={
            **finding.details,
            "confirmed": found.confirmed,
            "flipped": round(found.suspect, 4),
            "flipped_without_suspects": round(found.control, 4),
        },
    )
