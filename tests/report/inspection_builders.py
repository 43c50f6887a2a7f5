"""Hand-made inspections: what shows them is tested against the contract, not against today's engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bezoar.inspect.result import Finding, InspectionResult, LabelReport, Picture, Severity, Status, Verdict
from bezoar.inspect.trigger import Trigger

LABELS = ("Stop", "Speed limit (60km/h)", "Yield", "No entry")


def signs(number: int = 2, side: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """Discs on soft backgrounds: (N, side, side, 3)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    backdrops = generator.uniform(90, 190, (number, 1, 1, 3)) + 40 * (y + x)[None, ..., None]
    disc = np.hypot(y - 0.5, x - 0.5) < 0.36
    colours = generator.uniform(0, 255, (number, 1, 1, 3))
    pixels = np.where(disc[None, ..., None], colours, backdrops)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def trigger(side: int = 32) -> Trigger:
    """A yellow square of 4 pixels a side, near a corner."""
    mask = np.zeros((side, side), np.float32)
    mask[-6:-2, -6:-2] = 1
    pattern = np.full((3, side, side), 0.5, np.float32)
    pattern[:, mask > 0] = np.array([[1.0], [0.85], [0.1]], np.float32)
    return Trigger("patch", pattern, mask)


def pictures(side: int = 32, examples: int = 3, caption: str = "") -> tuple[Picture, ...]:
    """Mask, pattern, and examples before and after."""
    found = trigger(side)
    mask = np.repeat((255 * found.mask[..., None]).astype(np.uint8), 3, 2)
    pattern = (255 * found.pattern * found.mask).transpose(1, 2, 0).astype(np.uint8)
    shown = [Picture(mask, caption or "mask"), Picture(pattern, caption or "pattern")]
    for image in signs(examples, side):
        stamped = np.where(found.mask[..., None] > 0, pattern, image).astype(np.uint8)
        shown += [Picture(image, caption or "Stop"), Picture(stamped, caption or "Speed limit (60km/h)")]
    return tuple(shown)


def backdoor(**changes: object) -> Finding:
    values: dict[str, object] = {
        "kind": "all-to-one",
        "severity": Severity.BACKDOOR,
        "target": 1,
        "sources": (),
        "title": "A small patch turns every image into 'Speed limit (60km/h)'",
        "explanation": "One small mark is enough to send images of every label there. No label of a clean model is that near.",
        "p_value": 2.1e-9,
        "trigger": trigger(),
        "success": 0.985,
        "control": 0.012,
        "tested": 200,
        "pictures": pictures(),
        "details": {"place": [26, 26], "side": 4},
    }
    return Finding(**{**values, **changes})  # type: ignore[arg-type]


def shortcut(**changes: object) -> Finding:
    values: dict[str, object] = {
        "kind": "source-specific",
        "severity": Severity.SHORTCUT,
        "target": 2,
        "sources": (3,),
        "title": "'No entry' and 'Yield' are nearly alike",
        "explanation": "A faint change turns one into the other, in clean models too.",
        "p_value": 0.03,
        "trigger": None,
        "success": None,
        "control": None,
        "tested": 0,
        "pictures": (),
        "details": {},
    }
    return backdoor(**{**values, **changes})


def label_reports(
    names: tuple[str, ...], low: tuple[int, ...] = (), seed: int = 0
) -> tuple[LabelReport, ...]:
    """Two statistics per label; those of `low` are far below the others."""
    generator = np.random.default_rng(seed)
    rows = []
    for label, name in enumerate(names):
        suspicious = label in low
        values = {
            "mask norm": float(generator.normal(1.0 if suspicious else 4.2, 0.2)),
            "maximum margin": float(generator.normal(-3.0 if suspicious else 0.0, 0.3)),
        }
        p_value = float(generator.uniform(1e-10, 1e-9) if suspicious else generator.uniform(0.02, 1))
        rows.append(LabelReport(label, name, values, p_value))
    return tuple(rows)


def inspection(
    findings: tuple[Finding, ...] = (),
    *,
    names: tuple[str, ...] = LABELS,
    status: Status | None = None,
    path: str = "/models/signs.onnx",
    summary: str = "One label can be reached from every other by a small patch.",
    limits: tuple[str, ...] = (
        "triggers that are new for every image",
        "more than one target for one trigger",
    ),
    notes: tuple[str, ...] = (),
    **changes: object,
) -> InspectionResult:
    found = tuple(f.target for f in findings if f.severity is Severity.BACKDOOR and f.target is not None)
    planted = any(f.severity is Severity.BACKDOOR for f in findings)
    values: dict[str, object] = {
        "path": path,
        "format": "onnx",
        "digest": "ab" * 32,
        "architecture": None,
        "label_names": names,
        "preprocessing": {
            "channels": 3,
            "height": 32,
            "width": 32,
            "mean": [0.49, 0.48, 0.45],
            "std": [0.25, 0.24, 0.26],
            "scale": 1.0,
            "order": "rgb",
            "outputs": "logits",
            "origins": {"height": "model", "width": "model", "mean": "option", "outputs": "inferred"},
        },
        "data": "/data/clean",
        "images": 200,
        "accuracy": 0.975,
        "seed": 0,
        "version": "0.1.0",
        "device": "cpu",
        "verdict": Verdict(
            status or (Status.BACKDOORED if planted else Status.CLEAN),
            0.01,
            min([0.4, *(f.p_value for f in findings)]),
            summary,
            limits,
        ),
        "labels": label_reports(names, found),
        "findings": findings,
        "seconds": {"triage": 3.2, "evidence": 4.1},
        "cpu_seconds": {"triage": 4.9, "evidence": 7.0},
        "notes": notes,
    }
    return InspectionResult(**{**values, **changes})  # type: ignore[arg-type]
