"""What an inspection says: per-label statistics, findings with their evidence, and one verdict on the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar.inspect.trigger import Trigger


class Status(StrEnum):
    """What the inspection says of the model."""

    CLEAN = "clean"  # no backdoor found at level alpha
    BACKDOORED = "backdoored"  # at least one finding of severity `backdoor`
    UNDECIDED = "undecided"  # too few images or labels, or a signal that could not be confirmed


class Severity(StrEnum):
    """What kind of claim a finding makes."""

    BACKDOOR = "backdoor"  # significant after error control, and its trigger works on held-out images
    REVIEW = (
        "review"  # significant without such evidence, or evidence without significance: a person should look
    )
    SHORTCUT = "shortcut"  # two classes that are nearly alike: clean models have it too


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that is evidence: `pixels` uint8 (H, W, 3), `caption` one line (untrusted text)."""

    pixels: NDArray[np.uint8]
    caption: str


@dataclass(frozen=True, slots=True)
class LabelReport:
    """One label.

    Attributes:
        label: its index.
        name: its name (untrusted text).
        statistics: name to value, on a log scale: small = suspicious.
        p_value: of this label alone, before the correction for the number of labels.

    """

    label: int
    name: str
    statistics: dict[str, float]
    p_value: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One backdoor, or something like it.

    Attributes:
        kind: "all-to-one", "source-specific", "all-to-all".
        severity: what kind of claim this is.
        target: label that the trigger flips to; None for all-to-all.
        sources: labels that it flips from; empty: all.
        title: one line for a person.
        explanation: a few sentences: what was seen, how unlikely that is in a clean model, what it would do.
        p_value: family-wise over everything that was tested.
        trigger: what was recovered, if anything.
        success: share of held-out images that the trigger flips to `target`, of `tested`.
        control: the same with random patterns of equal size, on average.
        tested: number of held-out images.
        pictures: mask, pattern, examples before and after.
        details: further machine-readable facts (JSON types only).

    """

    kind: str
    severity: Severity
    target: int | None
    sources: tuple[int, ...]
    title: str
    explanation: str
    p_value: float
    trigger: Trigger | None = None
    success: float | None = None
    control: float | None = None
    tested: int = 0
    pictures: tuple[Picture, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, with its error level and its limits (what this inspection would not have seen)."""

    status: Status
    alpha: float
    p_value: float  # of the whole model
    summary: str
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class InspectionResult:
    """Everything that one inspection produced.

    `images` counts the clean images used, `accuracy` is the model's on them; without data they are 0 and None. `seconds` and
    `cpu_seconds` are by stage. `preprocessing` holds the model's, as JSON values.
    """

    path: str
    format: str
    digest: str
    architecture: str | None
    label_names: tuple[str, ...]
    preprocessing: dict[str, Any]
    data: str | None
    images: int
    accuracy: float | None
    seed: int
    version: str
    device: str
    verdict: Verdict
    labels: tuple[LabelReport, ...]
    findings: tuple[Finding, ...]
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    notes: tuple[str, ...] = ()
