"""The inspection of one model: triage of every label, evidence only where triage points, one verdict. Loads torch.

Clean images are halved: triggers are recovered from one half and shown to the other. What statistics mean is calibrated on clean
models (`bezoar.inspect.calibration`), so that the p-value of a model is family-wise over its labels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import bezoar
from bezoar.data import Dataset
from bezoar.errors import InputError, UsageError
from bezoar.inspect.clean_images import CleanImages, clean_images
from bezoar.inspect.findings import told
from bezoar.inspect.functional.folding import Prepared, prepare
from bezoar.inspect.inquiry import Case, Inquiry, Sample
from bezoar.inspect.result import Finding, InspectionResult, LabelReport, Severity
from bezoar.inspect.suspects import FEWEST_LABELS, Suspect, suspects
from bezoar.inspect.triage import Triage, triage
from bezoar.inspect.verdict import severity, verdict
from bezoar.models.threads import threads_for
from bezoar.progress import track
from bezoar.seeds import generator

if TYPE_CHECKING:
    from bezoar.models.opening.model import Model

IMAGES = 1000


def inspect(
    model: Model,
    dataset: Dataset | None = None,
    *,
    classes: Sequence[str] | None = None,
    alpha: float = 0.01,
    seed: int = 0,
    budget: float | None = None,
    images: int | None = None,
) -> InspectionResult:
    """Look for a backdoor in an image classifier with K labels.

    Args:
        model: what `bezoar.open_model` gives.
        dataset: clean images with labels; without them less is seen, and nothing is confirmed.
        classes: names of the K labels in the model's order, where the model does not name them.
        alpha: probability of calling a clean model backdoored.
        seed: of every random choice.
        budget: CPU seconds, after which nothing further is begun; what is left out is said.
        images: how many clean images to use at most; None: `IMAGES`.

    Raises InputError where the model or the dataset cannot be used, or do not fit together.

    """
    with threads_for(model.preprocessing.height, model.preprocessing.width):
        return _inspected(model, dataset, classes, alpha, seed, budget, images)


def _inspected(
    model: Model,
    dataset: Dataset | None,
    classes: Sequence[str] | None,
    alpha: float,
    seed: int,
    budget: float | None,
    images: int | None,
) -> InspectionResult:
    names = _names(model, dataset, classes)
    clock = _Clock(budget)
    clean = None
    if dataset is not None:
        with clock("images"):
            clean = clean_images(model, dataset, limit=images or IMAGES, seed=seed, classes=classes)
            model = model.with_preprocessing(clean.preprocessing)
    with clock("model"):
        network = model.network()
        shape = (model.preprocessing.channels, model.preprocessing.height, model.preprocessing.width)
    with clock("prepare"):
        fast = _prepared(network, shape, model.path, seed)
        fast.deadline = clock.deadline
    sample, held_out = (None, None) if clean is None else _halves(clean, fast.device, seed)
    pictures, labels = (None, None) if sample is None else (sample.images, sample.labels)
    with track("look at every label") as bar:
        looked = triage(
            fast,
            shape,
            model.n_classes,
            pictures,
            labels,
            seed=seed,
            stage_done=bar.advance,
        )
    clock.add(looked.seconds, looked.cpu_seconds)
    if np.isnan(looked.statistics.get("margin", np.zeros(len(names)))[looked.closely]).any():
        raise InputError(
            f"{model.path}: for some images its answers, or their gradients, are no numbers; it cannot be inspected"
        )
    found = suspects(looked)
    with clock("evidence"), track("recover triggers") as bar:
        if sample is None or held_out is None:
            cases = [Case(suspect, why_not="there are no clean images") for suspect in found]
            findings = _findings(cases, alpha, names)
        else:
            cleared = _cleared(looked, found)
            inquiry = Inquiry(network.to(fast.device), fast, sample, held_out, cleared, seed, bar.advance)
            findings = _findings(_examined(inquiry, found, alpha, len(names)), alpha, names, inquiry)
    return InspectionResult(
        path=str(model.path),
        format=model.format,
        digest=model.digest,
        architecture=model.architecture,
        label_names=names,
        preprocessing=asdict(model.preprocessing),
        data=None if dataset is None else str(dataset.path),
        images=0 if clean is None else len(clean.labels),
        accuracy=None if clean is None else clean.accuracy,
        seed=seed,
        version=bezoar.__version__,
        device=str(fast.device),
        verdict=verdict(findings, looked, alpha, None if clean is None else len(clean.labels)),
        labels=_reports(looked, names),
        findings=tuple(findings),
        seconds=clock.seconds,
        cpu_seconds=clock.cpu_seconds,
        notes=() if clean is None else clean.notes,
    )


def _prepared(network: torch.nn.Module, shape: tuple[int, int, int], path: Path, seed: int) -> Prepared:
    """The network made fast; InputError where nothing can be searched in it."""
    fast = prepare(network, shape, seed)
    if not fast(torch.full((1, *shape), 0.5, device=fast.device, requires_grad=True)).requires_grad:
        raise InputError(
            f"{path}: no gradients reach its images, as where numbers are rounded; it cannot be inspected"
        )
    return fast


def _examined(inquiry: Inquiry, found: Sequence[Suspect], alpha: float, n_labels: int) -> list[Case]:
    """The cases against all suspects, but for pairs whose target has been found out."""
    cases: list[Case] = []
    for suspect in found:
        known = {
            case.suspect.target for case in cases if severity(case, alpha, n_labels) is Severity.BACKDOOR
        }
        if suspect.kind != "source-specific" or suspect.target not in known:
            cases.append(inquiry.examine(suspect))
    return [_supported(case, cases) for case in cases]


def _supported(case: Case, cases: Sequence[Case]) -> Case:
    """A confirmed way from all labels to one is as significant as any pair on it that is no shortcut."""
    if case.suspect.kind != "all-to-one" or case.evidence is None or not case.evidence.confirmed:
        return case
    p_values = [
        other.suspect.p_value
        for other in cases
        if other.suspect.target == case.suspect.target and not other.shortcut
    ]
    return replace(case, suspect=replace(case.suspect, p_value=min(p_values)))


def _findings(
    cases: Sequence[Case], alpha: float, names: Sequence[str], inquiry: Inquiry | None = None
) -> list[Finding]:
    """The cases that say something, the most severe first; none to review towards the target of a backdoor."""
    findings: list[Finding] = []
    for case in cases:
        kind = severity(case, alpha, len(names))
        if kind is not None:
            pictures = () if inquiry is None else inquiry.pictures(case, names)
            findings.append(replace(told(case, kind, names), pictures=pictures))
    known = {finding.target for finding in findings if finding.severity is Severity.BACKDOOR}
    findings = [
        finding
        for finding in findings
        if finding.severity is not Severity.REVIEW or finding.target is None or finding.target not in known
    ]
    order = list(Severity)
    return sorted(findings, key=lambda finding: (order.index(finding.severity), finding.p_value))


def _halves(clean: CleanImages, device: torch.device, seed: int) -> tuple[Sample, Sample]:
    """Every label's images, in random order, in turn to one sample and to the other."""
    shuffled = generator(seed, "inspect", "halves").permutation(len(clean.labels))
    by_label = shuffled[np.argsort(clean.labels[shuffled], kind="stable")]
    halves = [np.sort(by_label[first::2]) for first in (0, 1)]
    first, second = (
        Sample(clean.images[torch.from_numpy(rows)].to(device), clean.labels[rows]) for rows in halves
    )
    return first, second


def _cleared(looked: Triage, found: Sequence[Suspect]) -> tuple[int, ...]:
    """The labels that no suspect leads to, the smallest p-value first; all where there are so few that all are suspects."""
    order = [int(label) for label in np.argsort(looked.p_values, kind="stable")]
    if len(order) < FEWEST_LABELS:
        return tuple(order)
    suspected = {suspect.target for suspect in found if suspect.kind == "all-to-one"}
    return tuple(label for label in order if label not in suspected)


def _names(model: Model, dataset: Dataset | None, classes: Sequence[str] | None) -> tuple[str, ...]:
    """The labels' names: as given, else the model's own, else the dataset's if it has as many, else numbers."""
    if classes is not None and len(classes) != model.n_classes:
        raise UsageError(f"{model.path}: has {model.n_classes} labels, {len(classes)} names were given")
    theirs = (
        dataset.label_names if dataset is not None and len(dataset.label_names) == model.n_classes else None
    )
    return tuple(classes or model.class_names or theirs or (str(label) for label in range(model.n_classes)))


def _reports(looked: Triage, names: Sequence[str]) -> tuple[LabelReport, ...]:
    return tuple(
        LabelReport(
            label,
            name,
            {statistic: float(values[label]) for statistic, values in looked.statistics.items()},
            float(looked.p_values[label]),
        )
        for label, name in enumerate(names)
    )


class _Clock:
    """Seconds and CPU seconds by stage, and when a budget of the latter is spent."""

    def __init__(self, budget: float | None) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.deadline = None if budget is None else time.process_time() + budget

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.add({stage: time.perf_counter() - wall}, {stage: time.process_time() - cpu})

    def add(self, seconds: Mapping[str, float], cpu_seconds: Mapping[str, float]) -> None:
        """Count what stages took."""
        self.seconds |= {stage: round(value, 3) for stage, value in seconds.items()}
        self.cpu_seconds |= {stage: round(value, 3) for stage, value in cpu_seconds.items()}
