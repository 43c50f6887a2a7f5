"""The scan: the views over one dataset, error control over all of them, one verdict.

Stages: decode onto a canvas; place the records in an independent encoder's space; ask every view that the depth includes;
combine what they say; put natural anomalies aside; write down what would have been noticed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import bezoar
from bezoar.data import Dataset
from bezoar.embed import Encoder, Fitted, features, fit, resolve
from bezoar.errors import InputError, UsageError
from bezoar.models.dynamics import require_torch
from bezoar.scan.anomalies import blanks, content_digests, exact_duplicates
from bezoar.scan.canvas import Canvas, load_canvas
from bezoar.scan.collision_view import collisions
from bezoar.scan.confirmation import confirmed
from bezoar.scan.density_view import density
from bezoar.scan.evidence import Gallery
from bezoar.scan.flood_view import floods
from bezoar.scan.functional.neighbours import unit_rows
from bezoar.scan.functional.patterns import Independence, by_group, by_likeness, thumbnails
from bezoar.scan.neighbour_view import lone_disagreements, neighbours, outliers
from bezoar.scan.pattern_findings import patterns
from bezoar.scan.result import Depth, Finding, ScanResult, Sensitivity, Severity
from bezoar.scan.roaming_view import roaming
from bezoar.scan.scene import Evidence, Scene, Trusted
from bezoar.scan.sources import source_findings
from bezoar.scan.space import Space, build_space
from bezoar.scan.spectrum_view import spectrum
from bezoar.scan.text_pipeline import scan_text
from bezoar.scan.training_view import training
from bezoar.scan.trusted_view import against_trusted
from bezoar.scan.verdict import judged, planted_mask, verdict
from bezoar.seeds import generator

View = Callable[[Scene, float], Evidence]


def scan(
    dataset: Dataset,
    *,
    encoder: str | Encoder = "default",
    depth: Depth | str = Depth.STANDARD,
    seed: int = 0,
    alpha: float = 0.01,
    group: str | None = None,
    source: str | None = None,
    trusted: Dataset | None = None,
    cache: Path | None = None,
    canaries: bool = True,
) -> ScanResult:
    """Look for planted records in a dataset of images, or of texts (see `scan_text`, which takes the default encoder only).

    Args:
        dataset: N labelled images, at least two classes.
        encoder: what turns images into features: a specification (see `bezoar.embed.resolve`) or an encoder. To find
            collisions in the space of an encoder that a model is built on, give that encoder.
        depth: which views look (see `Depth`).
        seed: of every random choice.
        alpha: probability of calling a clean dataset poisoned, over all views together.
        group: column whose equal values are one source (a track, a page): its records count as one observation.
            Without it, near-duplicates are recognised by their thumbnails.
        source: column that says where each record came from; None takes a usual name (`source`, `url`, ...) if there is one.
        trusted: a sample of the same kind that is known to be clean, with the same label names. The encoder is
            fitted to it, and suspects are held against it.
        cache: folder of the feature cache; None keeps features in memory.
        canaries: whether to plant canaries in copies, which says what would have been noticed and takes the time that `seconds`
            says. Without them no dataset is called clean.

    Raises UsageError for options that texts do not have, InputError when the dataset or the trusted sample holds no
    images, no labels, a single class or nothing readable, or when they share no label.

    """
    if dataset.modality == "text":
        if encoder != "default":
            raise UsageError(f"{dataset.path}: holds texts, which take the default encoder only")
        return scan_text(
            dataset,
            seed=seed,
            alpha=alpha,
            group=group,
            source=source,
            trusted=trusted,
            depth=depth,
            canaries=canaries,
        )
    _check(dataset)
    views = _views(Depth(depth), trusted is not None)
    if Depth(depth) is Depth.DEEP:
        require_torch()
    clock = _Clock()
    with clock("decode"):
        canvas = load_canvas(dataset)
        digests = content_digests(dataset)
    with clock("features"):
        scene = _scene(dataset, canvas, encoder, seed, group, trusted, cache)
    evidence, noticed = _asked(views, scene, alpha, canaries, clock)
    columns = {name: values for view in evidence for name, values in view.scores.items()}
    if Depth(depth) is not Depth.QUICK:
        with clock("density"):
            columns |= density(scene)
    with clock("findings"):
        planted = judged(evidence, alpha, len(dataset))
        if Depth(depth) is Depth.DEEP:
            planted = confirmed(planted, scene)
        findings = _with_anomalies(planted, dataset, digests, canvas, scene)
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
        encoder=encoder if isinstance(encoder, str) else encoder.name,
        seed=seed,
        version=bezoar.__version__,
        verdict=verdict(findings, scene.space, len(dataset), alpha, noticed),
        findings=tuple(findings),
        unreadable=canvas.unreadable,
        scores=_scores(dataset, canvas, scene.space, columns, findings),
        seconds=clock.seconds,
        depth=Depth(depth),
        views=tuple(views),
        trusted=None if trusted is None else str(trusted.path),
    )


def _views(depth: Depth, has_trusted: bool) -> dict[str, View]:
    """The views of a depth, in the order in which their findings explain records."""
    views: dict[str, View] = {"patterns": patterns, "neighbours": neighbours}
    if depth is not Depth.QUICK:
        views["roaming patches"] = roaming
        views["spectrum"] = spectrum
        views["near-duplicates"] = floods
        views["collisions"] = collisions
    if depth is Depth.DEEP:
        views["training"] = training
    if has_trusted:
        views["trusted"] = against_trusted
    return views


def _asked(
    views: dict[str, View], scene: Scene, alpha: float, canaries: bool, clock: _Clock
) -> tuple[list[Evidence], tuple[Sensitivity, ...]]:
    """What every view saw, without its canaries, and what these say would have been noticed."""
    evidence: list[Evidence] = []
    noticed: list[Sensitivity] = []
    for name, view in views.items():
        with clock(name):
            seen = view(scene, alpha)
        if canaries:
            with clock("canaries"):
                noticed += [canary() for canary in seen.canaries]
        evidence.append(replace(seen, canaries=()))
        del seen  # its canaries hold what the view has computed
    return evidence, tuple(noticed)


def _with_anomalies(
    planted: list[Finding],
    dataset: Dataset,
    digests: list[bytes],
    canvas: Canvas,
    scene: Scene,
) -> list[Finding]:
    """Besides what looks planted what looks odd only, the most severe first: a record of several counts to the first."""
    taken = planted_mask(planted, len(dataset))
    findings = [
        *planted,
        *exact_duplicates(dataset, digests, scene.gallery),
        *blanks(canvas.pixels, canvas.readable, scene.gallery),
        *lone_disagreements(scene.space, taken, scene.gallery),
        *outliers(scene.space, taken, scene.gallery),
    ]
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _scene(
    dataset: Dataset,
    canvas: Canvas,
    spec: str | Encoder,
    seed: int,
    group: str | None,
    trusted: Dataset | None,
    cache: Path | None,
) -> Scene:
    labelled = dataset.labels[canvas.readable] >= 0
    rows = canvas.readable[labelled]
    images, labels = canvas.pixels[labelled], dataset.labels[rows]
    _check_classes(dataset, labels, "among its readable records")
    independent_of = _independence(dataset, images, rows, group)
    encoder = resolve(spec) if isinstance(spec, str) else spec
    sample = None
    if trusted is not None:
        encoder, sample = _trusted(trusted, dataset, encoder, seed, cache)
    encoded, _ = features(dataset, encoder, seed=seed, cache=cache)
    space = build_space(np.asarray(encoded[rows]), rows, labels, len(dataset.label_names))
    return Scene(
        images,
        space,
        dataset.label_names,
        independent_of,
        Gallery(dataset),
        seed,
        trusted=sample,
        grouped=group is not None,
    )


def _trusted(
    trusted: Dataset, dataset: Dataset, encoder: Encoder, seed: int, cache: Path | None
) -> tuple[Encoder, Trusted]:
    """The encoder fitted to half of the trusted sample, and both halves in its space, labels numbered as the dataset's."""
    _check(trusted)
    number = {name: index for index, name in enumerate(dataset.label_names)}
    renumbered = np.array([number.get(name, -1) for name in trusted.label_names] + [-1], dtype=np.int32)
    labels = renumbered[trusted.labels]
    reference = np.zeros(len(trusted), dtype=bool)
    reference[generator(seed, "trusted").permutation(len(trusted))[: len(trusted) // 2]] = True
    fitted = Fitted(fit(trusted.select(np.flatnonzero(reference)), encoder, seed))
    encoded, _ = features(trusted, fitted, seed=seed, cache=cache)
    usable = (labels >= 0) & np.isfinite(encoded).all(axis=1)
    if not (usable & reference).any():
        raise InputError(
            f"{trusted.path}: no readable record has a label of {dataset.path}; the label names must be the same"
        )
    halves = [np.flatnonzero(usable & half) for half in (reference, ~reference)]
    first, second = (unit_rows(np.asarray(encoded[rows])) for rows in halves)
    return fitted, Trusted(first, labels[halves[0]], second, labels[halves[1]])


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


def _scores(
    dataset: Dataset,
    canvas: Canvas,
    space: Space,
    columns: dict[str, NDArray[np.float64]],
    findings: list[Finding],
) -> pa.Table:
    """The per-record table; a record that several findings hold is counted to the first."""
    n = len(dataset)
    readable = np.zeros(n, dtype=bool)
    readable[canvas.readable] = True
    finding = np.full(n, -1, dtype=np.int32)
    for number in reversed(range(len(findings))):
        finding[findings[number].records] = number
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
            "flagged": planted_mask(findings, n),
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
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 3)
