"""One suspect examined: triggers of each kind are recovered, shown to held-out images, and held against rivals. Loads torch.

Kinds are tried in turn until one is confirmed, so that what is easily shown is found soon. All this is done for suspects only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from bezoar.inspect.evidence import Evidence, against_rivals, predictions, tried
from bezoar.inspect.functional.folding import Prepared
from bezoar.inspect.functional.inversion import recover
from bezoar.inspect.pictures import trigger_pictures
from bezoar.inspect.result import Picture
from bezoar.inspect.shortcuts import is_shortcut, nearest, reaches
from bezoar.inspect.suspects import Suspect
from bezoar.inspect.trigger import Kind, Trigger
from bezoar.seeds import generator

FEWEST_TESTED = 10  # held-out images: with fewer, no test reaches its level
_RIVALS = 3
_STEPS = 100
_SHOWN = 6  # examples
_MOST_FITTED, _MOST_TESTED = 256, 500  # images


@dataclass(frozen=True, slots=True)
class Sample:
    """Images float32 (N, C, H, W) in [0, 1] and their labels (N,)."""

    images: torch.Tensor
    labels: NDArray[np.int64]

    def where(self, rows: NDArray[np.bool_], most: int) -> Sample:
        """At most that many of the images in `rows` (N,), spread evenly."""
        chosen = np.flatnonzero(rows)
        places = np.unique(np.linspace(0, len(chosen) - 1, min(most, len(chosen))).astype(np.int64))
        return Sample(self.images[torch.from_numpy(chosen[places])], self.labels[chosen[places]])


@dataclass(frozen=True, slots=True)
class Case:
    """A suspect and what is held against it.

    Attributes:
        suspect: who.
        evidence: of the kind of trigger that explains most; None where there is none.
        why_not: why there is none, in words.
        shortcut: whether the pair is two classes that are nearly alike.

    """

    suspect: Suspect
    evidence: Evidence | None = None
    why_not: str = ""
    shortcut: bool = False


@dataclass(frozen=True)
class Inquiry:
    """What it takes to examine suspects of one network.

    Attributes:
        network: float32 images in [0, 1] to logits.
        fast: the same, prepared for inversion.
        sample: to recover triggers from.
        held_out: to show them to.
        ranking: the labels that are in no doubt, the most suspicious first: rivals are taken from them.
        seed: of every random choice.
        in_time: whether there is time for further inversions.

    """

    network: torch.nn.Module
    fast: Prepared
    sample: Sample
    held_out: Sample
    ranking: tuple[int, ...]
    seed: int
    in_time: Callable[[], bool]

    def examine(self, suspect: Suspect) -> Case:
        """The case against one suspect."""
        targets = suspect.targets(self.held_out.labels)
        shown = self.held_out.where(
            (targets >= 0) & (predictions(self.network, self.held_out.images) != targets), _MOST_TESTED
        )
        if len(shown.labels) < FEWEST_TESTED:
            return Case(suspect, why_not=f"there were only {len(shown.labels)} held-out images to show it to")
        best: Evidence | None = None
        for kind in suspect.triggers:
            if not self.in_time():
                break
            evidence = self._of_kind(kind, suspect, shown)
            if best is None or _strength(evidence) > _strength(best):
                best = evidence
            if best.confirmed:
                break
        if best is None:
            return Case(suspect, why_not="the budget was spent")
        return Case(suspect, best, shortcut=self._is_shortcut(suspect, best))

    def pictures(self, case: Case, names: Sequence[str]) -> tuple[Picture, ...]:
        """What was recovered, and held-out images of different labels that it flips."""
        if case.evidence is None:
            return ()
        trigger, labels = case.evidence.trigger, self.held_out.labels
        targets = case.suspect.targets(labels)
        before = predictions(self.network, self.held_out.images)
        after = predictions(self.network, self.held_out.images, trigger)
        flipped = np.flatnonzero((after == targets) & (before == labels))
        first_of_label = np.unique(labels[flipped], return_index=True)[1]
        others = np.setdiff1d(np.arange(len(flipped)), first_of_label)
        rows = flipped[np.concatenate([first_of_label, others])[:_SHOWN]]
        return trigger_pictures(
            trigger,
            self.held_out.images[torch.from_numpy(rows)],
            [names[label] for label in before[rows]],
            [names[label] for label in after[rows]],
        )

    def _of_kind(self, kind: Kind, suspect: Suspect, shown: Sample) -> Evidence:
        source, target = suspect.lead
        rng = generator(self.seed, "evidence", kind, str(suspect.lead))
        trigger = self._recovered(kind, source, target)
        evidence = tried(self.network, trigger, shown.images, suspect.targets(shown.labels), rng)
        if not evidence.works:
            return evidence
        pool = self.held_out.where(self._from(self.held_out, source), _MOST_TESTED)
        others = [label for label in self._hardest(source) if label not in (source, target)]
        return against_rivals(
            evidence,
            self.network,
            pool.images,
            pool.labels,
            others[:_RIVALS],
            lambda other: self._recovered(kind, source, other),
        )

    def _recovered(self, kind: Kind, source: int | None, target: int) -> Trigger:
        rows = self._from(self.sample, source) & (self.sample.labels != target)
        images = self.sample.where(rows, _MOST_FITTED).images
        return recover(self.fast, images, target, kind=kind, seed=self.seed, steps=_STEPS)

    def _hardest(self, source: int | None) -> list[int]:
        """The labels to take rivals from, those that a short way may lead to first."""
        if source is None:
            return list(self.ranking)
        return [label for label in nearest(self._reaches, source) if label in self.ranking]

    def _is_shortcut(self, suspect: Suspect, evidence: Evidence) -> bool:
        source, target = suspect.lead
        if source is None or suspect.target is None:
            return False
        return is_shortcut(evidence, self._reaches, source, target)

    @cached_property
    def _reaches(self) -> NDArray[np.float64]:
        return reaches(self.network, self.held_out.images, self.held_out.labels)

    def _from(self, sample: Sample, source: int | None) -> NDArray[np.bool_]:
        return np.ones(len(sample.labels), bool) if source is None else sample.labels == source


def _strength(evidence: Evidence) -> tuple[bool, float, float]:
    return evidence.works, np.nan_to_num(evidence.ahead, nan=-1.0), evidence.success
