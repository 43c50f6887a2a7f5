"""What clean models show: how far their labels' statistics spread, fitted once and kept in `calibration.json`.

Calibration models are clean, and are never test models. `python -m bezoar bench inspect --calibrate` trains them, runs triage on
each and writes what `calibrate` returns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bezoar.inspect.functional.combination import combined
from bezoar.inspect.functional.outliers import Null, fitted

VERSION = 1
WHOLES = frozenset(
    {"corner", "exchange", "source", "wave"}
)  # judged by how low any label of clean models lies
_FEWEST_MODELS, _FEWEST_LABELS = 5, 4
_LABELS = 10  # of most calibration models; fewer are judged as if they were as many
_TAIL = 0.5  # family-wise p-values below it tell the inflation; above, Bonferroni's bound is no equality
WEIGHTS = {
    "patch": 0.3,
    "shift": 0.2,
    "wave": 0.12,
    "warp": 0.1,
    "noise": 0.1,
    "shade": 0.05,
    "speck": 0.05,
    "margin": 0.04,
    "latent": 0.04,
}  # of the error allowed; least where effects are large or clean models have outliers


@dataclass(frozen=True, slots=True)
class Whole:
    """The least of a clean model's K labels: Student's t, times `spread`, about `mean` + `slope` log(K / 10).

    Models whose median label lies outside `lowest` to `highest`, far from where those of clean models lie, are of another kind:
    on them this says nothing.
    """

    mean: float
    slope: float
    spread: float
    freedom: float
    lowest: float
    highest: float

    def p_values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How likely any of a clean model's labels lies as low as each value (K,); 1 where that is not known."""
        known = np.isfinite(values)
        result = np.ones(len(values))
        if known.sum() >= _FEWEST_LABELS and self._knows(values[known]):
            centre = self.mean + self.slope * np.log(max(len(values), _LABELS) / _LABELS)
            result[known] = stats.t.cdf((values[known] - centre) / self.spread, self.freedom)
        return result

    def _knows(self, values: NDArray[np.float64]) -> bool:
        """Whether the model is of the kind that was calibrated on; always, where all labels share one value."""
        return bool(np.ptp(values) == 0 or self.lowest <= np.median(values) <= self.highest)


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
        return self.null(name).p_values(values)

    def together(self, statistics: Mapping[str, NDArray[np.float64]], n_labels: int) -> NDArray[np.float64]:
        """p-values (K,) of labels as targets, over all statistics that compare labels."""
        names = [name for name in WEIGHTS if name in statistics]
        table = np.array([self.tail(name, statistics[name]) for name in names]).reshape(len(names), n_labels)
        weights = np.array([WEIGHTS[name] for name in names])
        return self.deflated("target", combined(table, weights, self.correlation(names)))

    def least(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Family-wise p-values (K,) of one statistic against the least labels of clean models; 1 where none was measured."""
        whole = self.wholes.get(name)
        return np.ones(len(values)) if whole is None else whole.p_values(values)

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
    return read_calibration(
        json.loads(resources.files("bezoar.inspect").joinpath("calibration.json").read_text("utf-8"))
    )


def read_calibration(data: Mapping[str, Any]) -> Calibration:
    """From the content of `calibration.json`."""
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
        name: fitted([model[name] for model in models if name in model])
        for name in (*WEIGHTS, "source")
        if name in names
    }
    correlations = _correlations(models, nulls)
    so_far = Calibration(0, nulls, correlations, {}, {})
    return {
        "version": VERSION,
        "models": len(models),
        "labels": {name: asdict(null) for name, null in nulls.items()},
        "correlations": correlations,
        "inflation": _inflations(so_far, models),
        "wholes": {
            name: fit
            for name in names
            if name in WHOLES and (fit := _whole([model[name] for model in models if name in model]))
        },
    }


def _inflations(so_far: Calibration, models: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, float]:
    """Minus the log of a family-wise p-value is exponential with mean 1: what its tail's mean is in clean models instead."""
    families: dict[str, list[float]] = {"target": [], "source": []}
    for model in models:
        n_labels = len(next(iter(model.values())))
        families["target"].append(float(so_far.together(model, n_labels).min() * n_labels))
        if "source" in model:
            families["source"].append(float(np.nanmin(so_far.tail("source", model["source"])) * n_labels))
    return {name: round(_tail_mean(np.array(values)), 3) for name, values in families.items() if values}


def _tail_mean(families: NDArray[np.float64]) -> float:
    """By maximum likelihood from the values beyond `_TAIL`, with one more observation of mean 1, so that few do not decide."""
    beyond = -np.log(families[families < _TAIL] / _TAIL)
    return float(max(1.0, (beyond.sum() + 1) / (len(beyond) + 1)))


def _whole(values: Sequence[NDArray[np.float64]]) -> dict[str, float] | None:
    """A line through the least labels by least squares; level where all models have as many labels."""
    known = [v for v in values if np.isfinite(v).any()]
    if len(known) < _FEWEST_MODELS:
        return None
    least = np.array([np.nanmin(v) for v in known])
    sizes = np.log([len(v) / _LABELS for v in known])
    medians = np.array([np.nanmedian(v) for v in known])
    slope = float(np.polyfit(sizes, least, 1)[0]) if np.ptp(sizes) > 0 else 0.0
    rest = least - slope * sizes
    freedom = len(least) - (2 if slope else 1)
    spread = np.sqrt(((rest - rest.mean()) ** 2).sum() / freedom * (1 + 1 / len(least)))
    return {
        "mean": round(float(rest.mean()), 4),
        "slope": round(slope, 4),
        "spread": round(float(spread), 4),
        "freedom": freedom,
        "lowest": round(float(medians.min() - np.ptp(medians)), 4),
        "highest": round(float(medians.max() + np.ptp(medians)), 4),
    }


def _correlations(
    models: Sequence[Mapping[str, NDArray[np.float64]]], nulls: Mapping[str, Null]
) -> dict[str, dict[str, float]]:
    """Over all labels of all models at once."""
    names = [name for name in WEIGHTS if name in nulls]
    scores = {name: np.concatenate([_normal(model, name, nulls[name]) for model in models]) for name in names}
    table: dict[str, dict[str, float]] = {}
    for a in names:
        for b in names:
            both = np.isfinite(scores[a]) & np.isfinite(scores[b])
            if a != b and both.sum() > 2:
                table.setdefault(a, {})[b] = round(
                    float(np.corrcoef(scores[a][both], scores[b][both])[0, 1]), 3
                )
    return table


def _normal(model: Mapping[str, NDArray[np.float64]], name: str, null: Null) -> NDArray[np.float64]:
    """Normal scores of a model's labels; nan where the statistic was not measured."""
    unknown = np.full(len(next(iter(model.values()))), np.nan)
    p_values = null.p_values(model[name]) if name in model else unknown
    return np.asarray(stats.norm.ppf(np.clip(p_values, 1e-12, 1 - 1e-12)))
