from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import combine_pvalues, norm

from bezoar.scan.functional.combination import cauchy, fisher, holm, needed_alone


@pytest.mark.parametrize("views", [1, 2, 4])
def test_one_small_p_value_costs_about_the_number_of_views(views: int) -> None:
    p = np.full((views, 1), 1.0)
    p[0] = 1e-12
    assert cauchy(p)[0] == pytest.approx(views * 1e-12, rel=1e-3)


def test_several_moderate_p_values_say_more_than_each() -> None:
    assert cauchy(np.full((4, 1), 0.01))[0] == pytest.approx(0.01, rel=1e-6)
    assert cauchy(np.array([[0.01], [0.01], [0.5], [0.5]]))[0] < 4 * 0.01 / 1.5


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("views", [2, 4, 5])
def test_the_level_holds_under_dependence(correlation: float, views: int) -> None:
    rng = np.random.default_rng(views)
    trials = 400_000
    common = rng.standard_normal((1, trials))
    z = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal((views, trials))
    for weights in (None, np.array([views - 1.0, *[1.0] * (views - 1)])):
        rate = (cauchy(norm.sf(z), weights) <= 0.01).mean()
        assert 0.002 <= rate <= 0.0125


def test_a_weight_is_a_share_of_the_error() -> None:
    p = np.array([[1e-9], [0.9], [0.9], [0.9]])
    assert cauchy(p, np.array([3.0, 1, 1, 1]))[0] == pytest.approx(2e-9, rel=1e-3)
    assert cauchy(p[[1, 0, 2, 3]], np.array([3.0, 1, 1, 1]))[0] == pytest.approx(6e-9, rel=1e-3)


def test_bonferroni_adjusted_values_do_not_silence_the_others() -> None:
    p = np.array([[1e-4], [1.0], [1.0], [1.0]])
    assert cauchy(p)[0] < 5e-4


def test_extremes_and_order() -> None:
    assert cauchy(np.array([[0.0], [1.0]]))[0] < 1e-290
    assert cauchy(np.ones((3, 2))) == pytest.approx([0.9, 0.9])
    p = np.geomspace(1e-12, 0.8, 200)[None]
    assert (np.diff(cauchy(p)) > 0).all()
    with pytest.raises(ValueError, match="p-values"):
        cauchy(np.array([[np.nan]]))


@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0])
def test_what_one_view_needs_while_the_others_see_nothing(weight: float) -> None:
    p = needed_alone(0.01, weight)
    assert cauchy(np.array([[p], [1.0]]), np.array([weight, 1 - weight]))[0] == pytest.approx(0.01, rel=1e-6)


def test_holm_against_the_textbook() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).shape == (0,)


@pytest.mark.parametrize("pair", [(1.0, 1.0), (0.3, 0.02), (1e-9, 0.5), (0.0, 0.7)])
def test_fishers_combination_is_that_of_scipy(pair: tuple[float, float]) -> None:
    assert fisher(*pair) == pytest.approx(combine_pvalues(np.maximum(pair, 1e-300)).pvalue, rel=1e-2)
