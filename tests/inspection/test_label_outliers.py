"""Left-out scores have Student's distribution on Gaussian labels, and calibration finds the scale of those that are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bezoar.inspect.calibration import Null, calibrate, calibration
from bezoar.inspect.functional.outliers import left_out, lower_tail


@pytest.mark.parametrize("n_labels", [4, 10, 43, 1000])
def test_scores_of_gaussian_labels_are_students(n_labels):
    rng = np.random.default_rng(n_labels)
    p = np.array([lower_tail(left_out(rng.normal(3, 2, n_labels)), n_labels)[0] for _ in range(400)])
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_least_label_is_not_called_an_outlier_more_often_than_said():
    rng = np.random.default_rng(0)
    alarms = [(lower_tail(left_out(rng.normal(size=43)), 43).min() * 43 <= 0.05) for _ in range(2000)]
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


def test_calibration_finds_the_scale_of_clean_models():
    rng = np.random.default_rng(3)
    models = [{"shift": rng.normal(0, 1, 10)} for _ in range(40)]
    fitted = calibrate(models)["labels"]["shift"]
    assert fitted["scale"] == pytest.approx(1, abs=0.15)
    heavy = [{"shift": rng.standard_t(3, 43)} for _ in range(40)]
    assert calibrate(heavy)["labels"]["shift"]["freedom"] < 8


def test_what_is_shipped_can_be_read():
    shipped = calibration()
    assert shipped.models >= 0
    assert shipped.null("never heard of") == Null()
    for null in shipped.nulls.values():
        assert 0.3 < null.scale < 3
        assert null.freedom >= 2
