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

from bezoar.inspect.functional.combination import combined
from bezoar.inspect.functional.outliers import left_out, lower_tail

VERSION = 1
WHOLES = frozenset({"exchange", "wave"})  # judged by what clean models show at most, not by the other labels
_FEWEST_MODELS = 5
_TAIL = 0.5  # family-wise p-values below it tell the inflation; above, Bonferroni's bound is no equality
WEIGHTS = {
    "patch": 0.27,
    "shift": 0.27,
    "warp": 0.26,
    "wave": 0.1,
    "margin": 0.05,
    "latent": 0.05,
}  # of the error allowed; the last two have natural outliers


@dataclass(frozen=True, slots=True)
class Null:
    """Scores of clean models' labels: `scale` times Student's t with at most `freedom` degrees of freedom."""

    scale: float = 1.0
    freedom: float = np.inf


@dataclass(frozen=True, slots=True)
class Whole:
    """The least label of clean models, in one statistic: Student's t about `mean`, in units of `spread`."""

    mean: float
    spread: float
    freedom: float

    def p_value(self, value: float) -> float:
        """How likely any label of a clean model shows `value` or less."""
        return float(stats.t.cdf((value - self.mean) / self.spread, self.freedom))


@dataclass(frozen=True)
class Calibration:
    """What was fitted: nulls by statistic, how statistics of one label go together, and how many clean models it rests on.

    With 0 models it is the textbook's: Student's t, no correlation, and nothing to say on statistics of whole models.
    """

    models: int
    nulls: Mapping[str, Null]
    correlations: Mapping[str, Mapping[str, float]]
    wholes: Mapping[str, Whole]
    inflation: Mapping[str, float]

    def tail(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """p-values (K,) of one statistic against the other labels of the same model."""
        scores, null = left_out(values), self.null(name)
        return lower_tail(scores, int(np.isfinite(scores).sum()), null.scale, null.freedom)

    def together(self, statistics: Mapping[str, NDArray[np.float64]], n_labels: int) -> NDArray[np.float64]:
        """p-values (K,) of labels as targets, over all statistics that compare labels."""
        names = [name for name in WEIGHTS if name in statistics]
        table = np.array([self.tail(name, statistics[name]) for name in names]).reshape(len(names), n_labels)
        weights = np.array([WEIGHTS[name] for name in names])
        return self.deflated("target", combined(table, weights, self.correlation(names)))

    def deflated(self, what: str, p_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """p-values (K,), not yet corrected for K, with a family-wise one that is right on clean models."""
        n_labels = len(p_values)
        family = p_values * n_labels
        deflated = family ** (1 / self.inflation.get(what, 1.0)) / n_labels
        return np.asarray(np.where(family < 1, deflated, p_values))

    def null(self, statistic: str) -> Null:
        """Of one statistic; the textbook's where it was never measured."""
        return self.nulls.get(statistic, Null())

    def correlation(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Of the normal scores of these statistics, (S, S)."""
        return np.array(
            [[float(a == b) or self.correlations.get(a, {}).get(b, 0.0) for b in names] for a in names]
        )


@cache
def calibration() -> Calibration:
    """What this version of Bezoar ships."""
    data = json.loads(resources.files("bezoar.inspect").joinpath("calibration.json").read_text("utf-8"))
    return Calibration(
        data["models"],
        {name: Null(**fit) for name, fit in data["labels"].items()},
        data["correlations"],
        {name: Whole(**fit) for name, fit in data["wholes"].items()},
        data["inflation"],
    )


def calibrate(models: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, Any]:
    """The content of `calibration.json`, from the `Triage.statistics` of clean models."""
    names = sorted({name for model in models for name in model})
    nulls = {
        name: _fit([model[name] for model in models if name in model])
        for name in (*WEIGHTS, "source")
        if name in names
    }
    correlations = _correlations(models, [name for name in WEIGHTS if name in names])
    fitted = Calibration(0, {name: Null(**fit) for name, fit in nulls.items()}, correlations, {}, {})
    return {
        "version": VERSION,
        "models": len(models),
        "labels": nulls,
        "correlations": correlations,
        "inflation": _inflations(fitted, models),
        "wholes": {
            name: fit
            for name in names
            if name in WHOLES and (fit := _whole([model[name] for model in models if name in model]))
        },
    }


def _inflations(fitted: Calibration, models: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, float]:
    """Minus the log of a family-wise p-value is exponential with mean 1: what its tail's mean is in clean models instead."""
    families: dict[str, list[float]] = {"target": [], "source": []}
    for model in models:
        n_labels = len(next(iter(model.values())))
        families["target"].append(float(fitted.together(model, n_labels).min() * n_labels))
        if "source" in model:
            families["source"].append(float(np.nanmin(fitted.tail("source", model["source"])) * n_labels))
    return {name: round(_tail_mean(np.array(values)), 3) for name, values in families.items() if values}


def _tail_mean(families: NDArray[np.float64]) -> float:
    """By maximum likelihood from the values beyond `_TAIL`, with one more observation of mean 1, so that few do not decide."""
    beyond = -np.log(families[families < _TAIL] / _TAIL)
    return float(max(1.0, (beyond.sum() + 1) / (len(beyond) + 1)))


def _whole(values: Sequence[NDArray[np.float64]]) -> dict[str, float] | None:
    numbers = np.array([v[np.isfinite(v)].min() for v in values if np.isfinite(v).any()])
    if len(numbers) < _FEWEST_MODELS:
        return None
    n = len(numbers)
    spread = float(numbers.std(ddof=1) * np.sqrt(1 + 1 / n))
    return {"mean": round(float(numbers.mean()), 4), "spread": round(spread, 4), "freedom": n - 1}


def _correlations(
    models: Sequence[Mapping[str, NDArray[np.float64]]], names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Over all labels of all models at once."""
    scores = {name: np.concatenate([_normal(model, name) for model in models]) for name in names}
    table: dict[str, dict[str, float]] = {}
    for a in names:
        for b in names:
            both = np.isfinite(scores[a]) & np.isfinite(scores[b])
            if a != b and both.sum() > 2:
                table.setdefault(a, {})[b] = round(
                    float(np.corrcoef(scores[a][both], scores[b][both])[0, 1]), 3
                )
    return table


def _normal(model: Mapping[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    """Normal scores of a model's labels; nan where the statistic was not measured."""
    length = len(next(iter(model.values())))
    scores = left_out(model[name]) if name in model else np.full(length, np.nan)
    freedom = max(np.isfinite(scores).sum() - 2, 1)
    return np.asarray(stats.norm.ppf(np.clip(stats.t.cdf(scores, freedom), 1e-12, 1 - 1e-12)))


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
