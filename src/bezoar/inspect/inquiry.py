"""One suspect examined: triggers of each form are recovered, shown to held-out images, and held against rivals. Loads torch.

Kinds are tried in turn until one is confirmed, the most promising first. All this is done for suspects only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from bezoar.inspect.evidence import WORKS, Evidence, against, logits, predictions, tried
from bezoar.inspect.functional.folding import OutOfTime, Prepared
from bezoar.inspect.functional.inversion import recover
from bezoar.inspect.pictures import trigger_pictures
from bezoar.inspect.result import Picture
from bezoar.inspect.shortcuts import is_shortcut, nearest, reaches
from bezoar.inspect.suspects import Suspect, Ways, turned, ways_to
from bezoar.inspect.trigger import Form, Trigger
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
        evidence: of the form of trigger that explains most; None where there is none.
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
        progress: told of every inversion that is done.

    """

    network: torch.nn.Module
    fast: Prepared
    sample: Sample
    held_out: Sample
    ranking: tuple[int, ...]
    seed: int
    progress: Callable[[], None] = lambda: None

    def examine(self, suspect: Suspect) -> Case:
        """The case against one suspect."""
        n_shown = len(self._shown(suspect.ways))
        if n_shown < FEWEST_TESTED:
            return Case(suspect, why_not=f"there were only {n_shown} held-out images to show it to")
        if not self._can_recover(suspect.ways):
            return Case(suspect, why_not="there were too few images to recover it from")
        best: Evidence | None = None
        for form in suspect.triggers:
            try:
                evidence = self._of_form(form, suspect)
            except OutOfTime:
                break
            if best is None or _strength(evidence) > _strength(best):
                best = evidence
            if best.confirmed:
                break
        if best is None:
            return Case(suspect, why_not="the budget was spent")
        if suspect.kind != "source-specific":
            return Case(suspect, best)
        source, target = next(iter(suspect.ways.items()))
        if is_shortcut(best, self._reaches, source, target):
            return Case(suspect, best, shortcut=True)
        return self._widened(Case(suspect, best), target)

    def pictures(self, case: Case, names: Sequence[str]) -> tuple[Picture, ...]:
        """What was recovered, and held-out images that it flips, of as many labels as there are."""
        if case.evidence is None:
            return ()
        rows = self._shown(case.suspect.ways)
        shown, before = self.held_out.take(rows), self._plain[rows]
        after = predictions(self.network, shown.images, case.evidence.trigger)
        flipped = np.flatnonzero(
            (after == turned(case.suspect.ways, shown.labels)) & (before == shown.labels)
        )
        first_of_label = np.unique(shown.labels[flipped], return_index=True)[1]
        others = np.setdiff1d(np.arange(len(flipped)), first_of_label)
        chosen = flipped[np.concatenate([first_of_label, others])[:_SHOWN]]
        return trigger_pictures(
            case.evidence.trigger,
            shown.take(chosen).images,
            [names[label] for label in before[chosen]],
            [names[label] for label in after[chosen]],
        )

    def _of_form(self, form: Form, suspect: Suspect) -> Evidence:
        evidence = self._tried(self._recovered(form, suspect.ways), suspect.ways)
        if not evidence.works:
            return evidence
        for target, ways in self._rivals(suspect):
            rival, shown = self._recovered(form, ways), self.held_out.take(self._shown(ways))
            evidence = against(
                evidence, rival, target, self.network, shown.images, turned(ways, shown.labels)
            )
            if not evidence.confirmed:
                break  # one that comes near is enough
        return evidence

    def _widened(self, case: Case, target: int) -> Case:
        """The case with all labels whose images the trigger flips as well, where it is as clear."""
        if case.evidence is None or not case.evidence.confirmed:
            return case
        trigger, everything = case.evidence.trigger, range(self._answers.shape[1])
        shown = self.held_out.take(self._shown(ways_to(target, everything)))
        flipped = predictions(self.network, shown.images, trigger) == target
        also = [
            int(label) for label in np.unique(shown.labels) if flipped[shown.labels == label].mean() >= WORKS
        ]
        ways = case.suspect.ways | ways_to(target, also)
        kind = "all-to-one" if len(ways) == len(everything) - 1 else case.suspect.kind
        wider = Case(
            replace(case.suspect, kind=kind, ways=ways),
            replace(self._tried(trigger, ways), rivals=case.evidence.rivals),
        )
        return wider if wider.evidence is not None and wider.evidence.confirmed else case

    def _tried(self, trigger: Trigger, ways: Ways) -> Evidence:
        shown = self.held_out.take(self._shown(ways))
        rng = generator(self.seed, "evidence", trigger.kind, *ways.values())
        return tried(self.network, trigger, shown.images, turned(ways, shown.labels), rng)

    def _rivals(self, suspect: Suspect) -> list[tuple[int | None, Ways]]:
        """Where else a trigger could lead: to the labels that a short way may lead to, the shortest first."""
        ways = suspect.ways
        drawn: Iterable[tuple[int | None, Ways]]  # not all at once: each of very many labels has as many ways
        match suspect.kind:
            case "all-to-one":
                everything = range(self._answers.shape[1])
                drawn = (
                    (label, ways_to(label, everything)) for label in self.ranking if label != suspect.target
                )
            case "source-specific":
                near = nearest(self._reaches, next(iter(ways)))
                others = [label for label in near if label in self.ranking and label != suspect.target]
                drawn = ((label, ways_to(label, ways)) for label in others if label not in ways)
            case _:
                targets = list(ways.values())
                rolled = ([*targets[by:], *targets[:by]] for by in range(1, len(targets)))
                maps = (dict(zip(ways, after, strict=True)) for after in rolled)
                drawn = ((None, other) for other in maps if all(label != to for label, to in other.items()))
        usable = (
            entry
            for entry in drawn
            if self._can_recover(entry[1]) and len(self._shown(entry[1])) >= FEWEST_TESTED
        )
        return list(islice(usable, _RIVALS))

    def _can_recover(self, ways: Ways) -> bool:
        return len(self._fitted(ways)) >= _FEWEST_FITTED

    def _recovered(self, form: Form, ways: Ways) -> Trigger:
        sample = self.sample.take(self._fitted(ways))
        targets = torch.from_numpy(turned(ways, sample.labels))
        trigger = recover(self.fast, sample.images, targets, kind=form, seed=self.seed, steps=_STEPS)
        self.progress()
        return trigger

    def _fitted(self, ways: Ways) -> NDArray[np.int64]:
        """The images to recover a trigger from."""
        return _spread(np.flatnonzero(turned(ways, self.sample.labels) >= 0), _MOST_FITTED)

    def _shown(self, ways: Ways) -> NDArray[np.int64]:
        """The held-out images that a trigger should flip, and that the network does not give their new label anyway."""
        targets = turned(ways, self.held_out.labels)
        height, width = self.held_out.images.shape[2:]
        most = min(_MOST_TESTED, max(_LEAST_TESTED, _PIXELS // (height * width)))
        return _spread(np.flatnonzero((targets >= 0) & (self._plain != targets)), most)

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
