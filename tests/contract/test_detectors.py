"""What every registered detector must hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from bezoar.scan.detectors import DETECTORS, Detector, NeighbourGraph

Features, Labels = NDArray[np.float32], NDArray[np.int64]
N, D, CLASSES = 600, 24, 3
PLANTED = 12


@pytest.fixture(params=list(DETECTORS))
def detector(request: pytest.FixtureRequest) -> Detector:
    return make(request.param)


def make(name: str, **params: Any) -> Detector:
    made = DETECTORS[name]()
    fixed = {"random_state": 0} if "random_state" in made.get_params() else {}
    return made.set_params(**fixed, **params)


def clean(seed: int = 0) -> tuple[Features, Labels]:
    """Three clusters of the same density in angles (k-distance knows no other measure), one a class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % CLASSES
    centers = rng.normal(size=(CLASSES, D))
    centers *= 14 / np.linalg.norm(centers, axis=1, keepdims=True)
    return (centers[labels] + rng.normal(size=(N, D))).astype(np.float32), labels


def planted(seed: int = 0) -> tuple[Features, Labels, NDArray[np.bool_]]:
    """The same, and twelve records of class 0 that are far out in one direction, among those of class 1."""
    features, labels = clean(seed)
    which = np.zeros(N, bool)
    which[np.flatnonzero(labels == 0)[:PLANTED]] = True
    rng = np.random.default_rng(seed + 100)
    direction = rng.normal(size=D)
    center = features[labels == 1].mean(axis=0)
    spread = 1.6 * rng.normal(size=(PLANTED, D))
    features[which] = center + 12 * direction / np.linalg.norm(direction) + spread
    return features, labels, which


def test_scores_are_finite_and_the_same_each_time(detector: Detector) -> None:
    features, labels = clean()
    before = features.copy()
    scores = detector.fit(features, labels).scores_
    assert scores.shape == (N,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(detector.score_samples(), scores)
    np.testing.assert_array_equal(clone(detector).fit(features, labels).scores_, scores)
    np.testing.assert_array_equal(features, before)


def test_parameters_survive_a_round_trip(detector: Detector) -> None:
    params = detector.get_params()
    twin = type(detector)().set_params(**params)
    assert twin.get_params() == params
    assert not hasattr(clone(detector), "scores_")


def crumpled(seed: int, noise: float) -> tuple[Features, Labels, NDArray[np.bool_]]:
    """Records on surfaces of three dimensions, one a class; the planted ones are pushed off theirs by `noise`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % CLASSES
    centers, directions = 3 * rng.normal(size=(CLASSES, D)), rng.normal(size=(CLASSES, 3, D))
    features = centers[labels] + np.einsum("ni,nid->nd", rng.normal(size=(N, 3)), directions[labels])
    which = np.zeros(N, bool)
    which[np.flatnonzero(labels == 0)[:PLANTED]] = True
    features[which] += noise * rng.normal(size=(PLANTED, D))
    return features.astype(np.float32), labels, which


def test_planted_records_are_among_the_highest_and_few_clean_ones_with_them(detector: Detector) -> None:
    for seed in range(3):
        if name_of(detector) == "lid":  # sees perturbed records, not distant ones
            features, labels, which = crumpled(seed, 2.0)
            untouched, _, _ = crumpled(seed, 0.0)
        else:
            (features, labels, which), (untouched, _) = planted(seed), clean(seed)
        scores = detector.fit(features, labels).scores_
        clean_scores = clone(detector).fit(untouched, labels).scores_
        threshold = np.quantile(clean_scores, 0.98)
        assert (scores[which] > threshold).mean() >= 0.9
        assert (scores[~which] > threshold).mean() <= 0.05
        assert roc_auc_score(which, scores) > 0.95


def name_of(detector: Detector) -> str:
    return next(name for name, kind in DETECTORS.items() if kind is type(detector))


def test_the_order_of_the_records_is_of_no_consequence(detector: Detector) -> None:
    features, labels, _ = planted()
    order = np.random.default_rng(7).permutation(N)
    scores = detector.fit(features, labels).scores_
    again = clone(detector).fit(features[order], labels[order]).scores_
    np.testing.assert_allclose(again, scores[order], rtol=1e-3, atol=1e-3)


def test_the_names_of_the_labels_are_of_no_consequence(detector: Detector) -> None:
    features, labels = clean()
    scores = detector.fit(features, labels).scores_
    names = np.array(["zebra", "apple", "moth"])[labels]
    np.testing.assert_allclose(clone(detector).fit(features, names).scores_, scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused(detector: Detector, value: float) -> None:
    features, labels = clean()
    features[5, 3] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        detector.fit(features, labels)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones(5), "shape"),
        (np.ones((4, 0)), "shape"),
        (np.ones((1, 3)), "at least 2 records"),
        (np.full((3, 2), "a"), "real numbers"),
    ],
)
def test_malformed_features_are_refused(detector: Detector, features: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detector.fit(features, np.zeros(len(features)))


def test_labels_must_be_given_where_they_are_needed_and_fit(detector: Detector) -> None:
    features, labels = clean()
    try:
        unlabelled = detector.fit(features).scores_
    except ValueError as error:
        assert "give y" in str(error)  # noqa: PT017 - either may happen
        with pytest.raises(ValueError, match="shape"):
            detector.fit(features, labels[:-1])
    else:
        np.testing.assert_array_equal(clone(detector).fit(features, labels).scores_, unlabelled)


def test_scores_before_fitting_are_refused(detector: Detector) -> None:
    with pytest.raises(ValueError, match="not fitted"):
        detector.score_samples()


@pytest.mark.parametrize("n", [2, 3, 5])
def test_fewer_records_than_neighbours(detector: Detector, n: int) -> None:
    features, labels = clean()
    assert np.isfinite(detector.fit(features[:n], labels[:n]).scores_).all()


def test_tiny_classes(detector: Detector) -> None:
    features, labels = clean()
    labels[0], labels[1:3] = 98, 99
    assert np.isfinite(detector.fit(features, labels).scores_).all()


def test_a_single_class(detector: Detector) -> None:
    assert np.isfinite(detector.fit(clean()[0], np.zeros(N)).scores_).all()


def test_records_that_are_all_alike_are_alike_suspicious(detector: Detector) -> None:
    scores = detector.fit(np.full((100, D), 2.5, np.float32), np.arange(100) % 2).scores_
    assert np.isfinite(scores).all()
    assert name_of(detector) == "deep-knn" or np.ptp(scores) < 1e-6  # its votes depend on who comes first


def test_copies(detector: Detector) -> None:
    features, labels = clean()
    features[:200] = features[0]
    labels[:200] = labels[0]
    scores = detector.fit(features, labels).scores_
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[:200], scores[0], rtol=1e-5, atol=1e-5)


def test_how_the_features_are_stored_is_of_no_consequence(detector: Detector, tmp_path: Path) -> None:
    features, labels = clean()
    scores = detector.fit(features, labels).scores_
    np.save(tmp_path / "features.npy", features)
    wide = np.zeros((N, 2 * D), np.float32)
    wide[:, ::2] = features
    stored = {
        "float64": features.astype(np.float64),
        "Fortran order": np.asfortranarray(features),
        "strided": wide[:, ::2],
        "memory-mapped": np.load(tmp_path / "features.npy", mmap_mode="r"),
    }
    for how, rows in stored.items():
        again = clone(detector).fit(rows, labels).scores_
        np.testing.assert_allclose(again, scores, rtol=1e-4, atol=1e-4, err_msg=how)


def test_threads_are_of_no_consequence(detector: Detector) -> None:
    if "n_jobs" not in detector.get_params():
        pytest.skip("has no threads")
    features, labels = clean()
    one = clone(detector).set_params(n_jobs=1).fit(features, labels).scores_
    np.testing.assert_array_equal(clone(detector).set_params(n_jobs=3).fit(features, labels).scores_, one)


def test_a_graph_given_saves_the_search_and_changes_nothing(detector: Detector) -> None:
    features, labels = clean()
    scores = detector.fit(features, labels).scores_
    graph = NeighbourGraph.of(features)
    again = clone(detector).fit(features, labels, neighbours=graph).scores_
    np.testing.assert_array_equal(again, scores)


def test_other_records_are_scored_as_fitted_ones_or_refused(detector: Detector) -> None:
    features, labels, which = planted()
    clean_features, clean_labels = features[~which], labels[~which]
    detector.fit(clean_features, clean_labels)
    try:
        strange = detector.score_samples(features[which], labels[which])
    except ValueError as error:
        assert "only the records that it was fitted on" in str(error)  # noqa: PT017 - either may happen
        return
    assert strange.shape == (PLANTED,)
    if name_of(detector) != "lid":
        assert np.median(strange) > np.quantile(detector.scores_, 0.95)
    assert detector.score_samples(features[:0], labels[:0]).shape == (0,)


BY_LABELS = (
    "mahalanobis",
    "spectral-signatures",
    "scan",
)  # one label at a time; the others hold tiles and candidates


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_memory_holds_the_mapped_features_and_little_else(detector: Detector, tmp_path: Path) -> None:
    name = name_of(detector)
    n, d, labels, beside = (50_000, 512, 50, 60) if name in BY_LABELS else (20_000, 256, 5, 400)  # MiB
    path = tmp_path / "features.npy"
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (n, d))
    rng = np.random.default_rng(0)
    for start in range(0, n, 10_000):
        mapped[start : start + 10_000] = rng.normal(size=(10_000, d))
    mapped.flush()
    del mapped
    code = f"""
import re, numpy as np
from bezoar.scan.detectors import DETECTORS
from bezoar.scan.functional import neighbour_tiles
neighbour_tiles._KEEP_BYTES = 0
def peak():  # in KiB; ru_maxrss would begin with that of the process which started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
X = np.load({str(path)!r}, mmap_mode="r")
DETECTORS[{name!r}]().fit(X[:500], np.arange(500) % 5)
before = peak()
DETECTORS[{name!r}]().fit(X, np.arange({n}) % {labels})
print(peak() - before)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) / 1024 < 4 * n * d / 2**20 + beside
