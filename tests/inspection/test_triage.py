"""Triage points at the label that a backdoor was planted for, at none in clean networks, and never answers with nonsense."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from planted_networks import LABELS, SHAPE, TARGET, Largest, blobs, trained, untrained  # noqa: E402
from torch import nn  # noqa: E402

from bezoar.inspect.functional.folding import prepare  # noqa: E402
from bezoar.inspect.triage import triage  # noqa: E402

IMAGES, TRUE = blobs(300, 40)


@cache
def seen(planted, seed=0):
    """What triage says of one of the trained networks; once is enough."""
    return looked(trained(planted, seed), labels=TRUE.numpy())


def looked(network, images=IMAGES, labels=None, n_labels=LABELS, shape=SHAPE, **options):
    return triage(network, shape, n_labels, images, labels, seed=0, **options)


def honest(result, n_labels):
    """Right shapes, and no number that is none."""
    assert result.p_values.shape == (n_labels,)
    assert np.isfinite(result.p_values).all()
    assert (result.p_values >= 0).all()
    assert (result.p_values <= 1).all()
    assert 0 <= result.family <= 1
    for values in result.statistics.values():
        assert values.shape == (n_labels,)
        assert not np.isinf(values).any()
    assert all(np.isfinite(pair.p_value) for pair in result.pairs)


@pytest.mark.parametrize("planted", ["patched", "hazed"])
def test_the_target_stands_out(planted):
    result = seen(planted)
    honest(result, LABELS)
    assert result.family < 0.05
    assert result.p_values.argmin() == TARGET


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_stands_out_in_a_clean_network(seed):
    result = seen("clean", seed)
    honest(result, LABELS)
    assert result.family > 0.05


def test_labels_change_places_with_their_statistics():
    network, order = trained("patched"), torch.tensor([3, 0, 5, 1, 4, 2])

    class Renamed(nn.Module):
        def forward(self, x):
            return network(x)[:, order]

    one, two = looked(network), looked(Renamed().eval())
    for name in ("margin", "shift", "warp", "patch"):
        assert np.allclose(two.statistics[name], one.statistics[name][order], atol=0.15), name


def test_the_same_seed_gives_the_same_answer_and_torch_keeps_its_state():
    before = torch.random.get_rng_state()
    one, two = seen("clean"), looked(trained("clean"), labels=TRUE.numpy())
    assert one.statistics.keys() == two.statistics.keys()
    assert all(np.array_equal(one.statistics[name], two.statistics[name]) for name in one.statistics)
    assert one.family == two.family
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_weightiest_statistics_come_first():
    assert list(seen("clean").statistics)[:2] == ["patch", "shift"]


def test_without_data_only_what_needs_none_is_measured():
    result = looked(trained("patched"), images=None)
    honest(result, LABELS)
    assert set(result.statistics) == {"margin"}


@pytest.mark.parametrize("n_labels", [2, 3])
def test_too_few_labels_say_nothing(n_labels):
    result = looked(untrained(labels=n_labels).eval(), n_labels=n_labels)
    honest(result, n_labels)
    assert result.family == 1
    assert (result.p_values == 1).all()


def answering(logits):
    class Constant(nn.Module):
        def forward(self, x):
            return logits(x)

    return Constant().eval()


@pytest.mark.parametrize(
    "logits",
    [
        lambda x: x.mean((1, 2, 3))[:, None] * 0 + torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        lambda x: x.mean((1, 2, 3))[:, None] * torch.tensor([1e4, -1e4, 0.0, 9e3, 0.0, 5.0]),
        lambda x: (x.flatten(1)[:, :LABELS] * 1e6).softmax(1).log().clamp(min=-1e4),
        lambda x: x.flatten(1)[:, :LABELS],
        lambda x: x.flatten(1)[:, :LABELS] * 1e30,
        lambda x: x.flatten(1)[:, :LABELS] + torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, -torch.inf]),
    ],
    ids=["constant", "huge", "saturated", "no layers", "square is infinite", "one never"],
)
def test_strange_networks_give_numbers(logits):
    result = looked(answering(logits))
    honest(result, LABELS)


def test_a_network_that_answers_nan_is_not_called_anything():
    honest(looked(answering(lambda x: x.flatten(1)[:, :LABELS] * torch.nan)), LABELS)


def test_one_channel_and_other_sides():
    network = nn.Sequential(nn.Flatten(), nn.Linear(20 * 12, 5)).eval()
    honest(looked(network, images=torch.rand(50, 1, 20, 12), n_labels=5, shape=(1, 20, 12)), 5)


@pytest.mark.parametrize("images", [IMAGES, None])
def test_what_a_deadline_cuts_is_left_out_and_said(images):
    fast = prepare(trained("clean"), SHAPE, 0)
    fast.deadline = time.process_time() + (0.15 if images is not None else 0.01)
    result = looked(fast, images=images)
    assert set(result.cut) <= set(result.cpu_seconds)
    assert ("exchange" if images is not None else "margin") in result.cut
    assert not set(result.cut) & set(result.statistics)
    honest(result, LABELS)


@pytest.mark.parametrize("images", [IMAGES, None])
def test_of_many_labels_some_are_looked_at_closely(images, monkeypatch):
    monkeypatch.setattr("bezoar.inspect.triage.FEW", 3)
    monkeypatch.setattr("bezoar.inspect.shortlist.FEW", 3)
    monkeypatch.setattr("bezoar.inspect.shortlist._LOWEST", 1)
    monkeypatch.setattr("bezoar.inspect.shortlist._OTHERS", 2)
    result = looked(trained("patched"), images=images, labels=None)
    honest(result, LABELS)
    assert 3 <= len(result.closely) < LABELS
    rest = np.setdiff1d(np.arange(LABELS), result.closely)
    assert np.isnan(result.statistics["margin"][rest]).all()
    assert np.isfinite(result.statistics["margin"][result.closely]).all()
    if images is not None:
        assert TARGET in result.closely
        assert np.isfinite(result.statistics["latent"]).all()
        assert result.p_values.argmin() == TARGET


def test_tens_of_thousands_of_labels_take_seconds_and_little_memory():
    n_labels = 8000
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, n_labels)).eval().requires_grad_(False)
    network[1].weight *= 10
    network[1].bias[:10] = 50
    with Largest() as largest:
        result = looked(network, images=torch.rand(200, 3, 8, 8), n_labels=n_labels, shape=(3, 8, 8))
    honest(result, n_labels)
    assert largest.numbers < n_labels**2 / 2
    assert sum(result.cpu_seconds.values()) < 60


def test_stages_are_timed():
    result = seen("clean")
    assert {"choose", "margin", "shift", "warp"} <= set(result.cpu_seconds)
    assert result.cpu_seconds.keys() == result.seconds.keys()
