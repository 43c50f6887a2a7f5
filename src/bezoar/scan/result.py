"""What a scan says: per-record scores, findings, and one verdict on the dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Severity(StrEnum):
    """What kind of claim a finding makes."""

    POISON = (
        "poison"  # planted: significant after error control, and it explains a backdoor; `clean` removes it
    )
    REVIEW = "review"  # does not belong, but no test calls it planted: a person should look
    NATURAL = "natural"  # an anomaly that honest data has too: exact duplicates, blank images, watermarks


class Depth(StrEnum):
    """How much a scan looks at."""

    QUICK = "quick"  # patches in pixels, labels among neighbours
    STANDARD = "standard"  # and moving patches, global triggers, floods, collisions, densities
    DEEP = "deep"  # and what a network trained on the data learned (needs torch)


class Status(StrEnum):
    """What the scan says of the dataset as a whole."""

    CLEAN = "clean"  # nothing planted found at level alpha
    POISONED = "poisoned"  # at least one finding of severity `poison`
    UNDECIDED = "undecided"  # too little data, or too little readable, to say either


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that is evidence: `pixels` uint8 (H, W, 3), `caption` one line (untrusted text)."""

    pixels: NDArray[np.uint8]
    caption: str
    mark: tuple[int, int, int, int] | None = None  # (top, left, bottom, right) in pixels: where to look


@dataclass(frozen=True, slots=True)
class Example:
    """One flagged record and what to hold it against: its neighbours in the given and in the other class."""

    record: Picture
    same_label: tuple[Picture, ...] = ()
    other_label: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A group of records with one explanation.

    Attributes:
        kind: machine name, e.g. "repeated-pattern", "label-disagreement", "exact-duplicates", "blank".
        severity: what kind of claim this is.
        title: one line for a person.
        explanation: a few sentences: what was seen, how unlikely that is in clean data, what it would do.
        records: int64 indices of its records, most suspicious first.
        p_value: family-wise over everything this view tested; None where nothing was tested (natural anomalies).
        target: the label that the poison carries (index), where there is one.
        origins: the labels that the records' content looks like (indices).
        pictures: evidence about the group as a whole (the recovered trigger, its mask, ...).
        examples: some of the records, with what to compare them with.
        details: further machine-readable facts (JSON types only).

    """

    kind: str
    severity: Severity
    title: str
    explanation: str
    records: NDArray[np.int64]
    p_value: float | None = None
    target: int | None = None
    origins: tuple[int, ...] = ()
    pictures: tuple[Picture, ...] = ()
    examples: tuple[Example, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record whose content could not be decoded: counted and listed, never fatal, never dropped in silence."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What this scan would have noticed: the smallest poison rate per kind of poison, with how that was found out."""

    poison: str  # e.g. "3x3 patch at one place"
    smallest_rate: float | None  # share of all records; None: not even the largest tried
    how: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The scan's answer, with its error level and its limits."""

    status: Status
    alpha: float
    summary: str  # one or two sentences for a person
    sensitivity: tuple[Sensitivity, ...] = ()


@dataclass(frozen=True)
class ScanResult:
    """Everything one scan produced.

    `scores` has N rows in dataset order: `key`, `label` (name), `readable`, one float column per detector (higher =
    more suspicious; p-values, in columns that end in `_p`, the other way round), `finding` (number of the finding that holds the
    record, -1: none), `flagged` (true when that finding's severity is `poison`). `views` names the views that ran,
    `trusted` is the path of the trusted sample, if any.
    """

    path: str
    format: str
    digest: str
    n_records: int
    label_names: tuple[str, ...]
    label_counts: tuple[int, ...]
    encoder: str
    seed: int
    version: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    unreadable: tuple[Unreadable, ...]
    scores: pa.Table
    seconds: dict[str, float]
    depth: Depth = Depth.STANDARD
    views: tuple[str, ...] = ()
    trusted: str | None = None

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Mask (N,) of the records that `clean` removes."""
        return np.asarray(self.scores["flagged"].to_numpy(zero_copy_only=False), dtype=np.bool_)
