"""One suspect examined: triggers of each kind are recovered, shown to held-out images, and held against rivals. Loads torch.

Kinds are tried in turn until one is confirmed, the most promising first. All this is done for suspects only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from bezoar.inspect.evidence import Evidence, against_rivals, logits, predictions, tried
from bezoar.inspect.functional.folding import Prepared
from bezoar.inspect.functional.inversion import recover
from bezoar.inspect.pictures import trigger_pictures
from bezoar.inspect.result import Picture
from bezoar.inspect.shortcuts import is_shortcut, nearest, reaches
from bezoar.inspect.suspects import Suspect
from bezoar.inspect.trigger import Kind, Trigger
from bezoar.seeds import generator

FEWEST_TESTED = 10  # held-out images: with fewer, no test reaches its level
_FEWEST_FITTED = 5  # images that a trigger can be recovered from
_RIVALS = 3
_STEPS = 100
_MOST_FITTED = 256  # images
_MOST_TESTED, _LEAST_TESTED, _PIXELS = 500, 100, 2**22  # images, and pixels at which there are fewer of them
_SHOWN = 6  # examples


@dataclass(frozen=True, slots=True)
class Sample:
    """Images float32 (N, C, H, W) in [0, 1] and their labels (N,)."""

    images: torch.Tensor
    labels: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Sample:
        """The images in these rows."""
        return Sample(self.images[torch.from_numpy(rows)], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Case:
    """A suspect and what is held against it.

    Attributes:
        suspect: who.
        evidence: of the kind of trigger that explains most; None where there is none.
        why_not: why there is none, in words.
        shortcut: whether it is a pair of classes that are nearly alike.

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
        progress: told of every inversion that is done.

    """

    network: torch.nn.Module
    fast: Prepared
    sample: Sample
    held_out: Sample
    ranking: tuple[int, ...]
    seed: int
    in_time: Callable[[], bool]
    progress: Callable[[], None] = lambda: None

    def examine(self, suspect: Suspect) -> Case:
        """The case against one suspect."""
        source, target = suspect.lead
        rows = self._shown(suspect)
        if len(rows) < FEWEST_TESTED:
            return Case(suspect, why_not=f"there were only {len(rows)} held-out images to show it to")
        if len(self._fitted(source, target)) < _FEWEST_FITTED:
            return Case(suspect, why_not="there were too few images to recover it from")
        best: Evidence | None = None
        for kind in suspect.triggers:
            if not self.in_time():
                break
            evidence = self._of_kind(kind, suspect, rows)
            if best is None or _strength(evidence) > _strength(best):
                best = evidence
            if best.confirmed:
                break
        if best is None:
            return Case(suspect, why_not="the budget was spent")
        if source is None or suspect.target is None:
            return Case(suspect, best)
        return Case(suspect, best, shortcut=is_shortcut(best, self._reaches, source, target))

    def pictures(self, case: Case, names: Sequence[str]) -> tuple[Picture, ...]:
        """What was recovered, and held-out images that it flips, of as many labels as there are."""
        if case.evidence is None:
            return ()
        rows = self._shown(case.suspect)
        shown, before = self.held_out.take(rows), self._plain[rows]
        after = predictions(self.network, shown.images, case.evidence.trigger)
        flipped = np.flatnonzero((after == case.suspect.targets(shown.labels)) & (before == shown.labels))
        first_of_label = np.unique(shown.labels[flipped], return_index=True)[1]
        others = np.setdiff1d(np.arange(len(flipped)), first_of_label)
        chosen = flipped[np.concatenate([first_of_label, others])[:_SHOWN]]
        return trigger_pictures(
            case.evidence.trigger,
            shown.take(chosen).images,
            [names[label] for label in before[chosen]],
            [names[label] for label in after[chosen]],
        )

    def _of_kind(self, kind: Kind, suspect: Suspect, rows: NDArray[np.int64]) -> Evidence:
        source, target = suspect.lead
        shown = self.held_out.take(rows)
        rng = generator(self.seed, "evidence", kind, str(suspect.lead))
        trigger = self._recovered(kind, source, target)
        evidence = tried(self.network, trigger, shown.images, suspect.targets(shown.labels), rng)
        if not evidence.works:
            return evidence
        own = self.held_out.labels == source if source is not None else np.ones(len(self._plain), bool)
        pool = self._some(own)
        others = [label for label in self._hardest(source) if label not in (source, target)]
        return against_rivals(
            evidence,
            self.network,
            self.held_out.take(pool).images,
            self._plain[pool],
            [label for label in others if len(self._fitted(source, label)) >= _FEWEST_FITTED][:_RIVALS],
            lambda other: self._recovered(kind, source, other),
        )

    def _shown(self, suspect: Suspect) -> NDArray[np.int64]:
        """The held-out images that a suspect's trigger should flip, and that the network does not give its label anyway."""
        targets = suspect.targets(self.held_out.labels)
        return self._some((targets >= 0) & (self._plain != targets))

    def _some(self, which: NDArray[np.bool_]) -> NDArray[np.int64]:
        """As many of these held-out images as are needed, spread evenly."""
        height, width = self.held_out.images.shape[2:]
        return _spread(
            np.flatnonzero(which), min(_MOST_TESTED, max(_LEAST_TESTED, _PIXELS // (height * width)))
        )

    def _fitted(self, source: int | None, target: int) -> NDArray[np.int64]:
        """The images to recover a trigger from."""
        own = self.sample.labels == source if source is not None else True
        return _spread(np.flatnonzero(own & (self.sample.labels != target)), _MOST_FITTED)

    def _recovered(self, kind: Kind, source: int | None, target: int) -> Trigger:
        images = self.sample.take(self._fitted(source, target)).images
        trigger = recover(self.fast, images, target, kind=kind, seed=self.seed, steps=_STEPS)
        self.progress()
        return trigger

    def _hardest(self, source: int | None) -> list[int]:
        """The labels to take rivals from, those that a short way may lead to first."""
        if source is None:
            return list(self.ranking)
        return [label for label in nearest(self._reaches, source) if label in self.ranking]

    @cached_property
    def _answers(self) -> NDArray[np.float32]:
        return logits(self.network, self.held_out.images)

    @cached_property
    def _plain(self) -> NDArray[np.int64]:
        """The network's label of each held-out image."""
        return np.asarray(self._answers.argmax(1), np.int64)

    @cached_property
    def _reaches(self) -> NDArray[np.float64]:
        return reaches(self._answers, self.held_out.labels)


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))]


def _strength(evidence: Evidence) -> tuple[bool, float, float]:
    return evidence.works, float(np.nan_to_num(evidence.ahead, nan=-1.0)), evidence.success
