"""Left-out scores have Student's distribution on Gaussian labels, and calibration finds the scale of those that are not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from bezoar.inspect.calibration import calibrate, calibration, read_calibration
from bezoar.inspect.functional.outliers import Null, fitted, left_out


@pytest.mark.parametrize("n_labels", [4, 10, 43, 1000])
def test_scores_of_gaussian_labels_are_students(n_labels):
    rng = np.random.default_rng(n_labels)
    p = np.array([Null().p_values(rng.normal(3, 2, n_labels))[0] for _ in range(400)])
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_least_label_is_not_called_an_outlier_more_often_than_said():
    rng = np.random.default_rng(0)
    alarms = [(Null().p_values(rng.normal(size=43)).min() * 43 <= 0.05) for _ in range(2000)]
    assert 0.03 < np.mean(alarms) < 0.07


def test_against_the_textbook():
    values = np.array([1.0, 2.0, 4.0, 3.5, 0.2])
    others = values[:4]
    t = (values[4] - others.mean()) / (others.std(ddof=1) * np.sqrt(1 + 1 / 4))
    assert left_out(values)[4] == pytest.approx(t)


def test_what_was_not_measured_stays_out():
    values = np.array([1.0, np.nan, 2.0, 4.0, 3.5, np.nan, 0.2])
    scores = left_out(values)
    assert np.isnan(scores[[1, 5]]).all()
    assert np.allclose(scores[[0, 2, 3, 4, 6]], left_out(values[[0, 2, 3, 4, 6]]))


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [1.0, 2.0, 9.0], [np.nan] * 6, []])
def test_too_few_labels_say_nothing(values):
    assert np.isnan(left_out(np.array(values, float))).all()


def test_equal_labels_are_no_outliers():
    assert (left_out(np.full(8, 0.3)) == 0).all()


def test_what_is_known_beforehand_counts():
    values = np.array([1.0, 1.1, 0.9, 1.0, 0.2])
    assert (
        Null(spread=0.5, prior=100).p_values(values)[4] > 20 * Null().p_values(values)[4]
    )  # they happen to be close
    spread_out = np.array([1.0, 3.0, -1.0, 1.5, -2.0])
    assert Null(spread=0.5, prior=100).p_values(spread_out)[4] < 0.01 < Null().p_values(spread_out)[4]


@pytest.mark.parametrize("spreads", [(0.5, 0.5), (0.2, 2.0)], ids=["alike", "different"])
def test_the_prior_is_as_strong_as_models_are_alike(spreads):
    rng = np.random.default_rng(3)
    null = fitted([rng.normal(0, spreads[n % 2], 10) for n in range(60)])
    if spreads == (0.5, 0.5):
        assert null.spread == pytest.approx(0.5, rel=0.1)
        assert null.prior > 30
    else:
        assert null.prior < 3


def test_fitted_nulls_hold_their_level():
    rng = np.random.default_rng(5)

    def model():
        return rng.normal(0, rng.choice([0.3, 0.5]), 10)

    null = fitted([model() for _ in range(60)])
    alarms = [null.p_values(model()).min() * 10 <= 0.05 for _ in range(1000)]
    assert 0.02 < np.mean(alarms) < 0.08


def test_heavy_tails_are_noticed():
    rng = np.random.default_rng(3)
    assert fitted([rng.standard_t(3, 43) for _ in range(40)]).freedom < 8


def clean_models(rng, count):
    """Labels in two statistics that go together, and one that is judged by its least."""
    models = []
    for _ in range(count):
        shift = rng.normal(0, 1, 10)
        models.append(
            {"shift": shift, "patch": 0.8 * shift + rng.normal(0, 0.6, 10), "wave": rng.normal(4, 1, 10)}
        )
    return models


def test_calibration_of_clean_models_holds_on_others():
    rng = np.random.default_rng(4)
    written = calibrate(clean_models(rng, 40))
    assert written["models"] == 40
    assert written["correlations"]["shift"]["patch"] == pytest.approx(0.8, abs=0.1)
    read = read_calibration(json.loads(json.dumps(written)))
    new = clean_models(rng, 600)
    together = [read.together({k: m[k] for k in ("shift", "patch")}, 10).min() * 10 <= 0.05 for m in new]
    assert np.mean(together) < 0.08
    least = [read.least("wave", m["wave"]).min() <= 0.05 for m in new]
    assert 0.02 < np.mean(least) < 0.08
    assert read.least("never heard of", new[0]["wave"]).min() == 1


def test_what_is_shipped_can_be_read():
    shipped = calibration()
    assert shipped.models >= 20
    assert shipped.null("never heard of") == Null()
    for null in shipped.nulls.values():
        assert 0.3 < null.scale < 3
        assert null.freedom >= 2
