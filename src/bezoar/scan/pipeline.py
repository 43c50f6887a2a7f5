"""The scan: every view over one dataset, error control over all of them, one verdict.

Stages: decode onto a canvas; mine repeated patterns (view 1); place the records in an independent encoder's space (view
3); test; put natural anomalies aside; plant canaries to say what would have been noticed. The level alpha is split
evenly between the two views, and each view is family-wise over everything that it tests, so a clean dataset is
called poisoned with probability at most about alpha.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import bezoar
from bezoar.data import Dataset
from bezoar.embed import Encoder, features, resolve
from bezoar.errors import InputError
from bezoar.scan.anomalies import blanks, content_digests, exact_duplicates
from bezoar.scan.canvas import Canvas, load_canvas
from bezoar.scan.evidence import Gallery
from bezoar.scan.functional.patterns import TOLERANCES, Independence, by_group, by_likeness, thumbnails
from bezoar.scan.neighbour_view import Space, build_space, lone_disagreements, outliers, planted_labels
from bezoar.scan.pattern_findings import pattern_findings
from bezoar.scan.pattern_view import find_patterns, windows_for
from bezoar.scan.result import Finding, ScanResult, Sensitivity, Severity, Status, Verdict
from bezoar.scan.sensitivity import patch_sensitivity
from bezoar.seeds import generator

VIEWS = 2
MIN_USABLE = 200  # fewer records cannot carry a verdict
_LEAST_AGREEMENT = 0.1  # of the way from chance to perfect, that neighbours must agree with the labels
_MOSTLY_EXPLAINED = 0.5  # a finding that an earlier one explains to this share is not told twice


def scan(
    dataset: Dataset,
    *,
    encoder: str | Encoder = "default",
    seed: int = 0,
    alpha: float = 0.01,
    group: str | None = None,
    cache: Path | None = None,
) -> ScanResult:
    """Look for planted records in an image dataset.

    Args:
        dataset: N labelled images, at least two classes.
        encoder: what turns images into features: a specification (see `bezoar.embed.resolve`) or an encoder. To find
            collisions in the space of an encoder that a model is built on, give that encoder.
        seed: of every random choice.
        alpha: probability of calling a clean dataset poisoned, over all views together.
        group: column whose equal values are one source (a track, a page): its records count as one observation.
            Without it, near-duplicates are recognised by their thumbnails.
        cache: folder of the feature cache; None keeps features in memory.

    Raises InputError when the dataset holds no images, no labels, a single class or nothing readable.

    """
    _check(dataset)
    chosen = resolve(encoder) if isinstance(encoder, str) else encoder
    clock = _Clock()
    with clock("decode"):
        canvas = load_canvas(dataset)
        digests = content_digests(dataset)
    gallery = Gallery(dataset)
    labelled = dataset.labels[canvas.readable] >= 0
    rows = canvas.readable[labelled]
    images, labels = canvas.pixels[labelled], dataset.labels[rows]
    _check_classes(dataset, labels, "among its readable records")
    independent_of = _independence(dataset, images, rows, group)
    with clock("patterns"):
        patterns = find_patterns(images, labels, independent_of, alpha / VIEWS, generator(seed, "patterns"))
    with clock("features"):
        rows_of_features, _ = features(dataset, chosen, seed=seed, cache=cache)
    with clock("neighbours"):
        space = build_space(np.asarray(rows_of_features[rows]), rows, labels, len(dataset.label_names))
    with clock("findings"):
        planted = pattern_findings(patterns, images, space, dataset.label_names, gallery)
        for finding in planted_labels(space, dataset.label_names, alpha / VIEWS, gallery):
            planted = _add(planted, finding, len(dataset))
        taken = _mask(planted, len(dataset))
        others = [
            *exact_duplicates(dataset, digests, gallery),
            *blanks(canvas.pixels, canvas.readable, gallery),
            *lone_disagreements(space, taken, gallery),
            *outliers(space, taken, gallery),
        ]
        findings = _most_severe_first([*planted, *others])
    with clock("sensitivity"):
        families = len(windows_for(*images.shape[1:3])) * len(TOLERANCES)
        sensitivity = patch_sensitivity(
            images, labels, independent_of, alpha / VIEWS, families, generator(seed, "canaries")
        )
    return ScanResult(
        path=str(dataset.path),
        format=dataset.format,
        digest=dataset.digest,
        n_records=len(dataset),
        label_names=dataset.label_names,
        label_counts=tuple(
            np.bincount(dataset.labels[dataset.labels >= 0], minlength=len(dataset.label_names)).tolist()
        ),
        encoder=encoder if isinstance(encoder, str) else encoder.name,
        seed=seed,
        version=bezoar.__version__,
        verdict=_verdict(findings, space, len(dataset), alpha, sensitivity),
        findings=tuple(findings),
        unreadable=canvas.unreadable,
        scores=_scores(dataset, canvas, space, findings),
        seconds=clock.seconds,
    )


def _check(dataset: Dataset) -> None:
    if dataset.modality != "image":
        raise InputError(
            f"{dataset.path}: holds {dataset.modality}; scan reads images, so give an image dataset"
        )
    if len(dataset) == 0:
        raise InputError(f"{dataset.path}: holds no records; there is nothing to scan")
    _check_classes(dataset, dataset.labels[dataset.labels >= 0], "among its records")


def _check_classes(dataset: Dataset, labels: NDArray[np.int32], where: str) -> None:
    present = np.unique(labels)
    if len(present) < 2:
        what = (
            "no labels" if len(present) == 0 else f"one class only ({dataset.label_name(int(present[0]))!r})"
        )
        raise InputError(
            f"{dataset.path}: has {what} {where}; a scan compares classes: "
            "give a dataset with at least two, or --label-column"
        )


def _independence(
    dataset: Dataset, images: NDArray[np.uint8], rows: NDArray[np.int64], group: str | None
) -> Independence:
    if group is None:
        return by_likeness(thumbnails(images))
    values = dataset.column(group)[rows].astype(str)
    return by_group(np.unique(values, return_inverse=True)[1])


def _add(findings: list[Finding], finding: Finding, n: int) -> list[Finding]:
    """Append `finding` without the records that earlier ones hold; drop it when they explain most of it."""
    rest = finding.records[~_mask(findings, n)[finding.records]]
    if len(rest) < (1 - _MOSTLY_EXPLAINED) * len(finding.records):
        return findings
    return [*findings, replace(finding, records=rest)]


def _most_severe_first(findings: list[Finding]) -> list[Finding]:
    """Poison, review, natural: a record that several findings hold counts to the first."""
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _mask(findings: list[Finding], n: int) -> NDArray[np.bool_]:
    """Records (N,) that a finding of severity `poison` holds."""
    mask = np.zeros(n, dtype=bool)
    for finding in findings:
        if finding.severity is Severity.POISON:
            mask[finding.records] = True
    return mask


def _verdict(
    findings: list[Finding], space: Space, n: int, alpha: float, sensitivity: Sensitivity
) -> Verdict:
    planted = [finding for finding in findings if finding.severity is Severity.POISON]
    if planted:
        count = int(_mask(planted, n).sum())
        groups = "one group" if len(planted) == 1 else f"{len(planted)} groups"
        words = f"{count:,} of {n:,} records ({count / n:.2%}) look planted, in {groups}."
        return Verdict(Status.POISONED, alpha, words, (sensitivity,))
    usable = len(space.records)
    if usable < MIN_USABLE or usable < n / 2:
        words = f"Only {usable} of {n} records are readable and labelled: too few to call this dataset clean."
        return Verdict(Status.UNDECIDED, alpha, words, (sensitivity,))
    if not _labels_mean_something(space):
        words = "To this encoder the labels look random, so relabelled records could not stand out: try another encoder."
        return Verdict(Status.UNDECIDED, alpha, words, (sensitivity,))
    if sensitivity.smallest_rate is None:
        words = (
            "Nothing planted was found, but not even a patch on 5 % of the records would have been noticed."
        )
        return Verdict(Status.UNDECIDED, alpha, words, (sensitivity,))
    words = (
        f"Nothing planted was found; a patch on {sensitivity.smallest_rate:.1%} of the records would have been. "
        "Poison without a pattern and without relabelling is not excluded."
    )
    return Verdict(Status.CLEAN, alpha, words, (sensitivity,))


def _labels_mean_something(space: Space) -> bool:
    """Whether neighbours agree with the labels more often than the largest class alone would make them."""
    chance = np.bincount(space.labels).max() / len(space.labels)
    agreement = (space.votes.margin < 0).mean()
    return bool(agreement >= min(chance + _LEAST_AGREEMENT * (1 - chance), 1.0))


def _scores(dataset: Dataset, canvas: Canvas, space: Space, findings: list[Finding]) -> pa.Table:
    """The per-record table; a record that several findings hold is counted to the first."""
    n = len(dataset)
    readable = np.zeros(n, dtype=bool)
    readable[canvas.readable] = True
    finding = np.full(n, -1, dtype=np.int32)
    for number in reversed(range(len(findings))):
        finding[findings[number].records] = number
    columns = {
        "label_disagreement": space.votes.margin,
        "mahalanobis": space.outlier_score,
        "mahalanobis_p": space.outlier_p,
    }
    scores = {}
    for name, values in columns.items():
        column = np.full(n, np.nan)
        column[space.records] = values
        scores[name] = pa.array(column, mask=np.isnan(column))
    names = np.array([*dataset.label_names, "(none)"], dtype=object)
    return pa.table(
        {
            "key": dataset.keys,
            "label": pa.array(names[dataset.labels].tolist(), type=pa.string()),
            "readable": readable,
            **scores,
            "finding": finding,
            "flagged": _mask(findings, n),
        }
    )


class _Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)
