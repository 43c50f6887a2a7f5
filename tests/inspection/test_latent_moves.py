"""The shortest move to each label, against a general solver and a plane on which it can be read off."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from planted_networks import SHAPE, blobs, trained  # noqa: E402
from torch import nn  # noqa: E402

from bezoar.inspect.functional.head import last_layer  # noqa: E402
from bezoar.inspect.functional.latent import shortest_moves  # noqa: E402


def solved(features, weight, bias, label):
    """The same programme by SciPy."""
    logits = features @ weight.T + bias
    rows = logits.argmax(1) != label
    deficits = np.maximum(np.quantile(logits[rows] - logits[rows][:, [label]], 0.9, axis=0), 0)
    apart = weight[label] - weight
    held = {"type": "ineq", "fun": lambda d: apart @ d - deficits, "jac": lambda d: apart}
    start = np.linalg.lstsq(apart, deficits * 2, rcond=None)[0]
    return np.linalg.norm(optimize.minimize(lambda d: d @ d, start, jac=lambda d: 2 * d, constraints=held).x)


def test_against_a_general_solver():
    rng = np.random.default_rng(0)
    features, weight, bias = rng.random((200, 12)), rng.normal(size=(6, 12)), rng.normal(size=6)
    moves = shortest_moves(*(torch.tensor(a, dtype=torch.float32) for a in (features, weight, bias)))
    for label in range(6):
        assert moves[label].exp() == pytest.approx(solved(features, weight, bias, label), rel=0.02)


def test_labels_change_places_with_their_values():
    rng = np.random.default_rng(1)
    features, weight, bias = (
        torch.tensor(a, dtype=torch.float32)
        for a in (rng.random((100, 8)), rng.normal(size=(5, 8)), rng.normal(size=5))
    )
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = shortest_moves(features, weight[order], bias[order])
    assert torch.allclose(moved, shortest_moves(features, weight, bias)[order], atol=1e-4)


def test_the_last_layer_is_found_behind_anything():
    network, (images, _) = trained("clean"), blobs(40, 5)
    inner = last_layer(network, images, 6)
    assert torch.equal(inner.weight, network[-1].weight)
    assert torch.allclose(inner.features @ inner.weight.T + inner.bias, network(images), atol=1e-4)
    behind = last_layer(nn.Sequential(network, nn.LogSoftmax(1)), images, 6)
    assert torch.equal(behind.features, inner.features)


def test_no_last_layer_is_none():
    images = torch.rand(4, *SHAPE)
    pooled = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert last_layer(pooled, images, 5) is None
    squashed = nn.Sequential(nn.Flatten(), nn.Linear(768, 5), nn.Tanh())  # linear, but not the last
    assert last_layer(squashed, images, 5) is None
