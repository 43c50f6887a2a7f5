"""Which backdoors a triage points at: one label, some sources of one label, or a shift of many labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bezoar.inspect.functional.outliers import left_out
from bezoar.inspect.trigger import Form

if TYPE_CHECKING:
    from bezoar.inspect.triage import Pair, Triage

Ways = dict[int, int]
SIGNS: dict[Form, tuple[str, ...]] = {
    "patch": ("patch", "speck"),
    "shift": ("shift", "noise", "shade"),
    "warp": ("warp",),
    "wave": ("wave",),
}  # of each form of trigger, the statistics that speak for it
FORMS = tuple(SIGNS)

IN_DOUBT = 0.1  # family-wise p-value up to which a label gets a full inversion
FEWEST_LABELS = 4  # with fewer, none stands out among the others whatever it looks like
_MOST = 4  # suspects of a kind
_MANY_TARGETS = 3  # of pairs in doubt, and half of all labels: from there on they are told as one exchange


@dataclass(frozen=True, slots=True)
class Suspect:
    """A backdoor that there may be.

    Attributes:
        kind: as a finding's.
        ways: label to what it would be turned into, the most significant first; labels that are left alone are missing. Of a
            backdoor from some labels to one, the most significant of them.
        p_value: family-wise over everything that was tested.
        triggers: forms to look for, the most promising first.

    """

    kind: str
    ways: Ways
    p_value: float
    triggers: tuple[Form, ...] = FORMS

    @property
    def target(self) -> int | None:
        """The only target; None where there are several."""
        targets = set(self.ways.values())
        return targets.pop() if len(targets) == 1 else None


def ways_to(target: int, labels: Iterable[int]) -> Ways:
    """From each of the labels, but itself, to one target."""
    return {label: target for label in labels if label != target}


def turned(ways: Ways, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """What images with these labels (N,) would be turned into, -1 where they are left alone."""
    return np.array([ways.get(int(label), -1) for label in labels], np.int64)


def suspects(looked: Triage) -> list[Suspect]:
    """The suspects of a triage: labels first, then pairs, each the most significant first.

    A label's own family-wise p-value is its p-value times their number, and not less than that of the whole model. Among very few
    labels none can stand out, so every one is a suspect.
    """
    n_labels = len(looked.p_values)
    corrected = np.maximum(np.minimum(looked.p_values * n_labels, 1), looked.family)
    found = [
        Suspect(
            "all-to-one",
            ways_to(int(label), range(n_labels)),
            float(corrected[label]),
            _promising(looked, int(label)),
        )
        for label in np.argsort(looked.p_values, kind="stable")[:_MOST]
        if n_labels < FEWEST_LABELS or corrected[label] <= IN_DOUBT
    ]
    return found + _of_pairs(looked.pairs, looked.family, n_labels)


def _promising(looked: Triage, label: int) -> tuple[Form, ...]:
    """The forms of a trigger, the one whose statistics set the label furthest apart first."""
    apart = {name: np.nan_to_num(left_out(values)[label]) for name, values in looked.statistics.items()}
    return tuple(sorted(FORMS, key=lambda form: min(float(apart.get(sign, 0.0)) for sign in SIGNS[form])))


def _of_pairs(pairs: Sequence[Pair], family: float, n_labels: int) -> list[Suspect]:
    in_doubt = sorted((pair for pair in pairs if pair.p_value <= IN_DOUBT), key=lambda pair: pair.p_value)
    by_target: dict[int, list[Pair]] = {}
    for pair in in_doubt:
        by_target.setdefault(pair.target, []).append(pair)
    if len(by_target) >= max(_MANY_TARGETS, n_labels / 2):
        return [_suspect("all-to-all", in_doubt, family)]
    return [_suspect("source-specific", group[:1], family) for group in list(by_target.values())[:_MOST]]


def _suspect(kind: str, pairs: Sequence[Pair], family: float) -> Suspect:
    ways: Ways = {}
    for pair in pairs:
        ways.setdefault(pair.source, pair.target)
    return Suspect(kind, ways, max(pairs[0].p_value, family))
