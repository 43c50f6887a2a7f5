"""What clean models show: how far their labels' statistics spread, fitted once and kept in `calibration.json`.

Calibration models are clean, and are never test models. `python -m bezoar bench inspect --calibrate` trains them, runs triage on
each and writes what `calibrate` returns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from bezoar.inspect.functional.outliers import left_out

VERSION = 1


@dataclass(frozen=True, slots=True)
class Null:
    """Scores of clean models' labels: `scale` times Student's t with at most `freedom` degrees of freedom."""

    scale: float = 1.0
    freedom: float = np.inf


@dataclass(frozen=True)
class Calibration:
    """The fitted nulls by statistic, and how many clean models they rest on (0: none yet, the textbook's null)."""

    models: int
    nulls: Mapping[str, Null]

    def null(self, statistic: str) -> Null:
        """Of one statistic; the textbook's where it was never measured."""
        return self.nulls.get(statistic, Null())


@cache
def calibration() -> Calibration:
    """What this version of Bezoar ships."""
    text = resources.files("bezoar.inspect").joinpath("calibration.json").read_text("utf-8")
    data = json.loads(text)
    nulls = {name: Null(entry["scale"], entry["freedom"]) for name, entry in data["statistics"].items()}
    return Calibration(data["models"], nulls)


def calibrate(models: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, Any]:
    """The content of `calibration.json`, from the `Triage.statistics` of clean models."""
    names = sorted({name for model in models for name in model})
    return {
        "version": VERSION,
        "models": len(models),
        "statistics": {name: _fit([model[name] for model in models if name in model]) for name in names},
    }


def _fit(values: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """Scale and degrees of freedom by maximum likelihood over all labels of all models."""
    scores = [left_out(v) for v in values]
    freedoms = np.concatenate([np.full(len(s), max(np.isfinite(s).sum() - 2, 1)) for s in scores])
    pooled = np.concatenate(scores)
    known = np.isfinite(pooled)
    pooled, freedoms = pooled[known], freedoms[known]

    def loss(theta: NDArray[np.float64]) -> float:
        scale, freedom = np.exp(theta)
        return -float(
            stats.t.logpdf(pooled / scale, np.minimum(freedoms, freedom)).sum() - len(pooled) * theta[0]
        )

    best = optimize.minimize(loss, np.log([1.0, 10.0]), method="Nelder-Mead")
    scale, freedom = np.exp(best.x)
    return {"scale": round(float(scale), 4), "freedom": round(float(min(max(freedom, 2.0), 1000.0)), 2)}
