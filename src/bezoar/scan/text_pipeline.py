"""The scan of texts: tokens, how every text reads, the views, natural anomalies, one verdict."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import bezoar
from bezoar.data import Dataset
from bezoar.embed.text import TextEncoder, TfidfSvd
from bezoar.errors import InputError, UsageError
from bezoar.scan.functional.naive_bayes import read, tokenize
from bezoar.scan.functional.ngrams import baseline
from bezoar.scan.result import Depth, Finding, ScanResult, Sensitivity, Severity, Status, Verdict
from bezoar.scan.scene import Evidence
from bezoar.scan.sources import source_findings
from bezoar.scan.text_view import TextScene, label_errors, triggers
from bezoar.scan.verdict import MIN_USABLE, WITHOUT_CANARIES, judged, planted_mask

_KEPT_CHARACTERS = 20_000  # of one text in memory, half from either end: what tokens and encoders look at
_EXCLUDED = (
    "Flipped labels without a trigger are shown for review at most; "
    "triggers in texts that keep their right label are not seen."
)


def scan_text(
    dataset: Dataset,
    *,
    seed: int = 0,
    alpha: float = 0.01,
    group: str | None = None,
    source: str | None = None,
    trusted: Dataset | None = None,
    depth: Depth | str = Depth.STANDARD,
    encoder: TextEncoder | None = None,
    canaries: bool = True,
) -> ScanResult:
    """Look for planted records in a text dataset.

    Args:
        dataset: N labelled texts, at least two classes. Bytes that are not UTF-8 are replaced.
        seed: of every random choice.
        alpha: probability of calling a clean dataset poisoned.
        group: column whose equal values are one source: its records count as one observation.
        source: column that says where each record came from (see `scan`).
        trusted: not supported for texts: UsageError.
        depth: "quick" leaves out the encoder and its label errors.
        encoder: what turns texts into features; TF-IDF reduced by an SVD by default.
        canaries: whether to say what would have been noticed (see `scan`).

    Raises InputError when the dataset holds no texts, no labels or a single class.

    """
    depth = Depth(depth)
    if trusted is not None:
        raise UsageError("a trusted sample is not used for texts; leave it out")
    seconds: dict[str, float] = {}
    with _timed(seconds, "decode"):
        texts, digests = _texts(dataset)
    with _timed(seconds, "features"):
        scene = _scene(dataset, texts, group, seed, encoder or TfidfSvd(), depth)
    views = {"n-grams": triggers} | ({} if depth is Depth.QUICK else {"label errors": label_errors})
    evidence = []
    for name, view in views.items():
        with _timed(seconds, name):
            evidence.append(view(scene, alpha))
    noticed: tuple[Sensitivity, ...] = ()
    if canaries:
        with _timed(seconds, "canaries"):
            noticed = tuple(canary() for view in evidence for canary in view.canaries)
    findings = judged(evidence[:1], alpha, len(dataset))
    planted = planted_mask(findings, len(dataset))
    for finding in (finding for view in evidence[1:] for finding in view.findings):
        if not planted[finding.records].all():
            findings.append(finding)
    findings += [*_duplicates(dataset, digests), *_empty(dataset, scene.records)]
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    findings += source_findings(dataset, findings, source)
    return ScanResult(
        path=str(dataset.path),
        format=dataset.format,
        digest=dataset.digest,
        n_records=len(dataset),
        label_names=dataset.label_names,
        label_counts=tuple(
            np.bincount(dataset.labels[dataset.labels >= 0], minlength=len(dataset.label_names)).tolist()
        ),
        encoder=(encoder or TfidfSvd()).name,
        seed=seed,
        version=bezoar.__version__,
        verdict=_verdict(findings, scene, alpha, noticed),
        findings=tuple(findings),
        unreadable=(),
        scores=_scores(dataset, scene, evidence, findings),
        seconds=seconds,
        depth=depth,
        views=tuple(views),
    )


def _texts(dataset: Dataset) -> tuple[list[str], list[bytes]]:
    """The texts, cut to what counts, and the SHA-256 of each content."""
    if dataset.modality != "text":
        raise InputError(f"{dataset.path}: holds {dataset.modality}s, not texts")
    if len(dataset) == 0:
        raise InputError(f"{dataset.path}: holds no records; there is nothing to scan")
    texts, digests = [], []
    for content in dataset.contents():
        digests.append(hashlib.sha256(content).digest())
        text = content.decode("utf-8", "replace")
        if len(text) > _KEPT_CHARACTERS:
            text = f"{text[: _KEPT_CHARACTERS // 2]} {text[-_KEPT_CHARACTERS // 2 :]}"
        texts.append(text)
    return texts, digests


def _scene(
    dataset: Dataset, texts: list[str], group: str | None, seed: int, encoder: TextEncoder, depth: Depth
) -> TextScene:
    every = tokenize(texts)
    records = np.flatnonzero((dataset.labels >= 0) & (every.lengths > 0))
    labels = dataset.labels[records]
    present = np.unique(labels)
    if not (every.lengths > 0).any():
        raise InputError(f"{dataset.path}: none of its texts holds a word; there is nothing to scan")
    if len(present) < 2:
        what = (
            "no labels" if not len(present) else f"one class only ({dataset.label_name(int(present[0]))!r})"
        )
        raise InputError(
            f"{dataset.path}: has {what} among its records; a scan compares classes: "
            "give a dataset with at least two, or --label-column"
        )
    source = None
    if group is not None:
        source = np.unique(dataset.column(group)[records].astype(str), return_inverse=True)[1]
    usable = [texts[record] for record in records]
    tokens = every if len(records) == len(texts) else tokenize(usable)
    reading = read(tokens, labels, len(dataset.label_names))
    if depth is Depth.QUICK:
        features = np.zeros((len(usable), 0), dtype=np.float32)
    else:
        features = encoder.encode(usable, seed)
    base = baseline(reading, labels)
    return TextScene(dataset, records, labels, tokens, reading, base, features, source, seed)


def _duplicates(dataset: Dataset, digests: list[bytes]) -> list[Finding]:
    """Texts with the very same bytes; those that differ in label are for a person to settle."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        groups[digest].append(index)
    repeated = [group for group in groups.values() if len(group) > 1]
    torn = [group for group in repeated if len(np.unique(dataset.labels[group])) > 1]
    whole = [group for group in repeated if len(np.unique(dataset.labels[group])) == 1]
    kinds = (
        (
            torn,
            "conflicting-duplicates",
            Severity.REVIEW,
            "texts occur under more than one label",
            "Byte for byte the same text carries different labels. At least one of each group is wrong; honest label noise "
            "does this too, so nothing is removed by itself.",
        ),
        (
            whole,
            "exact-duplicates",
            Severity.NATURAL,
            "texts occur more than once",
            "Byte for byte the same text under the same label, as scraped and merged datasets often have. Each counted once.",
        ),
    )
    return [
        Finding(
            kind=kind,
            severity=severity,
            title=f"{len(members)} {what}",
            explanation=why,
            records=np.array([index for member in members for index in member], dtype=np.int64),
            details={"groups": len(members)},
        )
        for members, kind, severity, what, why in kinds
        if members
    ]


def _empty(dataset: Dataset, usable: NDArray[np.int64]) -> list[Finding]:
    """Labelled texts without any token."""
    without = dataset.labels >= 0
    without[usable] = False
    if not without.any():
        return []
    return [
        Finding(
            kind="blank",
            severity=Severity.NATURAL,
            title=f"{int(without.sum())} texts are empty",
            explanation="Nothing but white space: lost or failed downloads. They teach a model nothing but their label.",
            records=np.flatnonzero(without),
        )
    ]


def _verdict(
    findings: Sequence[Finding], scene: TextScene, alpha: float, sensitivity: tuple[Sensitivity, ...]
) -> Verdict:
    n, usable = len(scene.dataset), len(scene.records)
    planted = [finding for finding in findings if finding.severity is Severity.POISON]
    if planted:
        count = int(planted_mask(planted, n).sum())
        groups = "one group" if len(planted) == 1 else f"{len(planted)} groups"
        words = f"{count:,} of {n:,} records ({count / n:.2%}) look planted, in {groups}."
        return Verdict(Status.POISONED, alpha, words, sensitivity)
    if usable < MIN_USABLE or usable < n / 2:
        words = f"Only {usable} of {n} records are labelled texts: too few to call this dataset clean."
        return Verdict(Status.UNDECIDED, alpha, words, sensitivity)
    if not sensitivity:
        return Verdict(Status.UNDECIDED, alpha, WITHOUT_CANARIES)
    noticed = sensitivity[0]
    if noticed.smallest_rate is None:
        words = f"Nothing planted was found, but not even {noticed.poison}, on 5 % of the records would have been noticed."
        return Verdict(Status.UNDECIDED, alpha, words, sensitivity)
    words = (
        f"Nothing planted was found. Of all records, this scan would have noticed: {noticed.poison}, on "
        f"{noticed.smallest_rate:.1%}. {_EXCLUDED}"
    )
    return Verdict(Status.CLEAN, alpha, words, sensitivity)


def _scores(
    dataset: Dataset, scene: TextScene, evidence: Sequence[Evidence], findings: Sequence[Finding]
) -> pa.Table:
    """The per-record table; a record that several findings hold is counted to the first."""
    n = len(dataset)
    readable = np.zeros(n, dtype=bool)
    readable[scene.records] = True
    finding = np.full(n, -1, dtype=np.int32)
    for number in reversed(range(len(findings))):
        finding[findings[number].records] = number
    columns = {}
    for name, values in ((name, values) for view in evidence for name, values in view.scores.items()):
        column = np.full(n, np.nan)
        column[scene.records] = values
        columns[name] = pa.array(column, mask=np.isnan(column))
    names = np.array([*dataset.label_names, "(none)"], dtype=object)
    return pa.table(
        {
            "key": dataset.keys,
            "label": pa.array(names[dataset.labels].tolist(), type=pa.string()),
            "readable": readable,
            **columns,
            "finding": finding,
            "flagged": planted_mask(findings, n),
        }
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
