"""What other libraries flag at their defaults, given features and labels; runs in the peers' environment, without Bezoar.

    python peer_methods.py features.npy labels.npy OUT SEED METHOD...

Writes OUT/METHOD.npy, the mask of the flagged records, and prints one line of JSON per method: seconds, or the error.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.defences.detector.poison import ActivationDefence, SpectralSignatureDefense
from art.estimators.classification import PyTorchClassifier
from cleanlab import Datalab
from cleanlab.filter import find_label_issues
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.lof import LOF
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PACKAGES = ("adversarial-robustness-toolbox", "pyod", "cleanlab", "scikit-learn", "numpy", "torch")


def activation_defence(rows: Any, labels: Any) -> Any:
    """Whatever falls into the smaller of the two clusters of its class."""
    _, is_clean = ActivationDefence(_network(rows, labels), rows, labels).detect_poison()
    return np.asarray(is_clean) == 0


def spectral_signatures(rows: Any, labels: Any) -> Any:
    """The upper part of each class along its first singular vector: 1.5 times the 33 % that are expected to be poison."""
    _, is_clean = SpectralSignatureDefense(_network(rows, labels), rows, labels).detect_poison()
    return np.asarray(is_clean) == 0


def label_issues(rows: Any, labels: Any) -> Any:
    """Confident learning on out-of-fold probabilities, by logistic regression and five folds as in cleanlab's tutorials."""
    return _label_issues(LogisticRegression(max_iter=1000), rows, labels)


def label_issues_scaled(rows: Any, labels: Any) -> Any:
    """The same on standardised columns: more sure of itself, which is better on one pack and worse on another; so both."""
    return _label_issues(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), rows, labels)


def _label_issues(model: Any, rows: Any, labels: Any) -> Any:
    chances = cross_val_predict(model, rows, labels, cv=5, method="predict_proba", n_jobs=1)
    return find_label_issues(labels, chances, n_jobs=1)


def outlier_issues(rows: Any, labels: Any) -> Any:
    """OutOfDistribution's distances, and the threshold that Datalab puts on them: find_top_issues has none, only a top 10."""
    lab = Datalab({"label": labels}, label_name="label", verbosity=0)
    lab.find_issues(features=rows, issue_types={"outlier": {}})
    return lab.get_issues("outlier")["is_outlier_issue"].to_numpy()


def _outliers(detector: type) -> Callable[[Any, Any], Any]:
    return lambda rows, labels: detector().fit(rows).labels_ == 1


METHODS: dict[str, Callable[[Any, Any], Any]] = {
    "art-activation": activation_defence,
    "art-spectral": spectral_signatures,
    "pyod-knn": _outliers(KNN),
    "pyod-lof": _outliers(LOF),
    "pyod-iforest": _outliers(IForest),
    "pyod-ecod": _outliers(ECOD),
    "cleanlab-labels": label_issues,
    "cleanlab-labels-scaled": label_issues_scaled,
    "cleanlab-outliers": outlier_issues,
}


def main() -> None:
    """Run the methods one after the other; what one raises is its result."""
    features, labels_file, out, seed = sys.argv[1:5]
    rows = np.load(features)
    labels = np.unique(np.load(labels_file), return_inverse=True)[
        1
    ]  # labels that no record has would trip ART
    torch.set_num_threads(1)
    for name in sys.argv[5:]:
        np.random.seed(int(seed))  # the peers draw from numpy's global state
        result: dict[str, Any] = {"method": name}
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                flagged = np.asarray(METHODS[name](rows, labels), dtype=bool)
            np.save(Path(out) / f"{name}.npy", flagged)
        except Exception as error:
            result["error"] = f"{type(error).__name__}: {error}"
        result["seconds"] = round(time.perf_counter() - start, 2)
        result["versions"] = {package: version(package) for package in PACKAGES}
        print(json.dumps(result), flush=True)


def _network(rows: Any, labels: Any) -> Any:
    """A model whose last layer, the one that ART reads, gives the features as they are."""
    return PyTorchClassifier(
        model=torch.nn.Sequential(torch.nn.Identity()),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=rows.shape[1:],
        nb_classes=int(labels.max()) + 1,
    )


if __name__ == "__main__":
    main()
