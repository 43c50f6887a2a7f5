"""Which backdoors a triage points at: one label, some sources of one label, or a shift of many labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bezoar.inspect.functional.outliers import left_out
from bezoar.inspect.trigger import Kind

if TYPE_CHECKING:
    from bezoar.inspect.triage import Pair, Triage

KINDS: tuple[Kind, ...] = ("patch", "shift", "warp")

IN_DOUBT = 0.1  # family-wise p-value up to which a label gets a full inversion
FEWEST_LABELS = 4  # with fewer, none stands out among the others whatever it looks like
_MOST = 4  # suspects of a kind
_MANY_TARGETS = 3  # of pairs in doubt, from which they are told as one shift of labels


@dataclass(frozen=True, slots=True)
class Suspect:
    """A backdoor that there may be.

    Attributes:
        kind: as a finding's.
        ways: label to what it would be turned into; labels that are left alone are missing.
        p_value: family-wise over everything that was tested.
        lead: the pair (source, target) or, without a source, the label to recover a trigger for.
        triggers: kinds to look for, the most promising first.

    """

    kind: str
    ways: dict[int, int]
    p_value: float
    lead: tuple[int | None, int]
    triggers: tuple[Kind, ...] = KINDS

    @property
    def target(self) -> int | None:
        """The only target; None where there are several."""
        return self.lead[1] if len(set(self.ways.values())) == 1 else None

    def targets(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """What images with these labels (N,) would be turned into, -1 where they are left alone."""
        return np.array([self.ways.get(int(label), -1) for label in labels], np.int64)


def suspects(looked: Triage) -> list[Suspect]:
    """The suspects of a triage, most significant first.

    A label's own family-wise p-value is its p-value times their number, and not less than that of the whole model. Among very few
    labels none can stand out, so every one is a suspect.
    """
    n_labels = len(looked.p_values)
    corrected = np.maximum(np.minimum(looked.p_values * n_labels, 1), looked.family)
    found = [
        Suspect(
            "all-to-one",
            {source: int(label) for source in range(n_labels) if source != label},
            float(corrected[label]),
            (None, int(label)),
            _promising(looked, int(label)),
        )
        for label in np.argsort(looked.p_values, kind="stable")[:_MOST]
        if n_labels < FEWEST_LABELS or corrected[label] <= IN_DOUBT
    ]
    taken = {suspect.target for suspect in found}
    return found + _of_pairs([pair for pair in looked.pairs if pair.target not in taken], looked.family)


def _promising(looked: Triage, label: int) -> tuple[Kind, ...]:
    """The kinds of trigger, the one whose statistic sets the label furthest apart first."""
    apart = {
        kind: left_out(looked.statistics[kind])[label] if kind in looked.statistics else 0.0 for kind in KINDS
    }
    return tuple(sorted(KINDS, key=lambda kind: float(np.nan_to_num(apart[kind]))))


def _of_pairs(pairs: Sequence[Pair], family: float) -> list[Suspect]:
    in_doubt = sorted((pair for pair in pairs if pair.p_value <= IN_DOUBT), key=lambda pair: pair.p_value)
    by_target: dict[int, list[Pair]] = {}
    for pair in in_doubt:
        by_target.setdefault(pair.target, []).append(pair)
    if len(by_target) >= _MANY_TARGETS:
        ways = {pair.source: pair.target for pair in reversed(in_doubt)}
        return [_suspect("all-to-all", ways, in_doubt[0], family)]
    return [
        _suspect("source-specific", {pair.source: target for pair in group}, group[0], family)
        for target, group in list(by_target.items())[:_MOST]
    ]


def _suspect(kind: str, ways: dict[int, int], first: Pair, family: float) -> Suspect:
    return Suspect(kind, ways, max(first.p_value, family), (first.source, first.target))
