"""One trial of an attack: the poisoned copy of a sample, and whether the poison works on a network that learns from it.

That depends on none of the scan's code. What training said is kept in the log (`trial`, a version of its own), so that a
trial is trained on once, however often the scan changes.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from bezoar.attacks import Attack, GradientEncoder, PoisonedCopy, poison
from bezoar.bench.building import build
from bezoar.bench.packs import Sample
from bezoar.bench.plan import Cell
from bezoar.bench.potency import potency
from bezoar.bench.settings import SETTINGS
from bezoar.bench.version import trial_version
from bezoar.embed import Encoder, fit, resolve
from bezoar.models.surrogate import train_surrogate

Outcome = dict[str, Any]
_KEPT = ("attack", "poisoning_seconds", "potency", "potency_seconds", "trial")


@dataclass(frozen=True, slots=True)
class Trial:
    """The poisoned copy, the encoder that the attack followed if it needs one, and the JSON values to keep."""

    copy: PoisonedCopy
    encoder: Encoder | None
    outcome: Outcome


def attempt(cell: Cell, sample: Sample, packs: Path | None, scratch: Path, trained: Outcome | None) -> Trial:
    """Poison `sample` as `cell` says and train on it, or believe an earlier outcome of the same trial, `trained`.

    UsageError when the attack does not fit the sample at this rate.
    """
    setting = SETTINGS[cell.setting]
    attack = build(setting, sample.train, cell.seed, packs, scratch)
    encoder = fit(sample.train, resolve("default"), cell.seed) if setting.encoder else None
    surrogate = train_surrogate(sample.train, seed=cell.seed) if "surrogate" in attack.needs else None
    start = time.perf_counter()
    copy = poison(
        sample.train,
        attack,
        rate=cell.rate,
        seed=cell.seed,
        encoder=cast("GradientEncoder | None", encoder),
        surrogate=surrogate,
    )
    crafted = time.perf_counter() - start
    if trained is not None:
        return Trial(copy, encoder, kept(trained))
    return Trial(copy, encoder, _trained(cell, sample, attack, copy, encoder, crafted))


def _trained(
    cell: Cell, sample: Sample, attack: Attack, copy: PoisonedCopy, encoder: Encoder | None, crafted: float
) -> Outcome:
    start = time.perf_counter()
    took = potency(
        copy, sample.train, sample.test, attack, seed=cell.seed, epochs=cell.epochs, encoder=encoder
    )
    return {
        "attack": {"name": attack.name, "source": attack.source, "target": attack.target},
        "poisoning_seconds": round(crafted, 2),
        "potency": asdict(took),
        "potency_seconds": round(time.perf_counter() - start, 2),
        "trial": trial_version(cell.setting),
    }


def kept(outcome: Outcome) -> Outcome:
    """What of an outcome says how the trial went, whatever came of its scan."""
    return {name: outcome[name] for name in _KEPT}
