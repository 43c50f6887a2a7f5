from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bezoar.models.dynamics import Dynamics, coarse, cross_fit
from scan.builders import CLASSES, Labels, Pixels, signs

WRONG = 30  # of the records below, the first ones


@pytest.fixture(scope="module")
def records() -> tuple[Pixels, Labels, np.ndarray]:
    """Signs of which the first few are labelled wrongly, and a half of the rows."""
    images, labels = signs(100)
    labels[:WRONG] = (labels[:WRONG] + 1) % len(CLASSES)
    return images, labels, np.arange(len(labels)) % 2 == 0


@pytest.fixture(scope="module")
def learned(records: tuple[Pixels, Labels, np.ndarray]) -> Dynamics:
    images, labels, half = records
    return cross_fit(images, labels, len(CLASSES), half, seed=0)


def test_shapes_and_ranges(learned: Dynamics) -> None:
    n = 100 * len(CLASSES)
    for probability in (learned.fine, learned.coarse):
        assert probability.shape == (n, len(CLASSES))
        np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-4)
    for rows in (learned.features, learned.pooled):
        assert rows.shape[0] == n
        assert np.isfinite(rows).all()
    assert learned.loss.shape == learned.dropout_shift.shape == (n,)
    assert np.abs(learned.dropout_shift).max() <= 1


def test_a_record_is_judged_by_the_network_that_never_saw_it(learned: Dynamics) -> None:
    """Both networks could learn a wrong label by heart: what is said of it comes from the other half."""
    wrong = np.arange(len(learned.loss)) < WRONG
    assert roc_auc_score(wrong, learned.loss) >= 0.95


def test_the_first_half_says_nothing_of_itself(records: tuple[Pixels, Labels, np.ndarray]) -> None:
    """Labels of one half that mean nothing leave what is said of it alone, and spoil what is said of the other."""
    images, labels, half = records
    shuffled = labels.copy()
    shuffled[half] = np.random.default_rng(0).permutation(labels[half])
    learned = cross_fit(images, shuffled, len(CLASSES), half, seed=0)
    right = learned.fine.argmax(axis=1) == labels
    assert right[half].mean() >= 0.8
    assert right[~half].mean() <= 0.5


def test_the_same_seed_gives_the_same_and_the_state_of_torch_stays(
    records: tuple[Pixels, Labels, np.ndarray], learned: Dynamics
) -> None:
    images, labels, half = records
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    again = cross_fit(images, labels, len(CLASSES), half, seed=0)
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(again.fine, learned.fine)
    np.testing.assert_array_equal(again.dropout_shift, learned.dropout_shift)


def test_an_empty_half(records: tuple[Pixels, Labels, np.ndarray]) -> None:
    images, labels, half = records
    for none in (np.zeros_like(half), np.ones_like(half)):
        with pytest.raises(ValueError, match="both halves"):
            cross_fit(images, labels, len(CLASSES), none, seed=0)


def test_coarse_images_keep_their_shape_and_lose_their_details() -> None:
    torch.manual_seed(0)
    stripes = torch.zeros(8, 3, 32, 32)
    stripes[..., ::2] = 1
    out = coarse(stripes)
    assert out.shape == stripes.shape
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    assert float(out.std()) < 0.5 * float(stripes.std())
