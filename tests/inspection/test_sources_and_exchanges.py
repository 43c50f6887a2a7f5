"""Backdoors that no target gives away: of one source, of all labels at once; and waves, which know their phase."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from planted_networks import LABELS, SHAPE, TARGET, Largest, blobs, patched, trained  # noqa: E402

from bezoar.inspect.functional.combination import combined  # noqa: E402
from bezoar.inspect.functional.exchange import exchange  # noqa: E402
from bezoar.inspect.functional.folding import prepare  # noqa: E402
from bezoar.inspect.functional.sources import exits  # noqa: E402
from bezoar.inspect.functional.waves import faintest_wave, phase_contrasts  # noqa: E402

IMAGES, TRUE = blobs(240, 40)


def called(planted):
    network = prepare(trained(planted), SHAPE, 0)
    with torch.no_grad():
        return network, network(IMAGES).argmax(1)


def test_the_source_of_a_backdoor_leaves_by_the_smallest_patch():
    network, own = called("one source")
    assert (network(patched(IMAGES[TRUE == 1])).argmax(1) == TARGET).float().mean() > 0.9  # it took
    ways = exits(network, IMAGES, own, LABELS, seed=0)
    assert ways.sizes.argmin() == 1
    assert ways.labels[1] == TARGET
    clean = exits(*with_images("clean"), LABELS, seed=0)
    assert ways.sizes[1] < clean.sizes.min() - 0.3


def with_images(planted):
    network, own = called(planted)
    return network, IMAGES, own


def test_a_label_without_images_has_no_exit():
    network, own = called("clean")
    some = own != 2
    ways = exits(network, IMAGES[some], own[some], LABELS, seed=0)
    assert ways.sizes.isnan().tolist() == [label == 2 for label in range(LABELS)]
    assert ways.labels[2] == -1


def test_an_exchange_of_all_labels_is_found_out():
    network, own = called("all to all")
    right = (network(patched(IMAGES)).argmax(1) == (TRUE + 1) % LABELS).float().mean()
    assert right > 0.8  # it took
    found, clean = exchange(network, IMAGES, own, LABELS, 0), exchange(*with_images("clean"), LABELS, 0)
    assert found.gap < clean.gap - 0.3
    assert len(found.pairs) >= 4
    assert all(target == (source + 1) % LABELS for source, target in found.pairs)


def test_labels_without_images_take_no_place_in_an_exchange():
    network, own = called("all to all")
    n_labels = 3000

    class Padded(torch.nn.Module):
        def forward(self, images):
            return torch.nn.functional.pad(network(images), (0, n_labels - LABELS), value=-30.0)

    with Largest() as largest:
        found = exchange(prepare(Padded().eval(), SHAPE, 0), IMAGES, own, n_labels, 0)
    assert largest.numbers < n_labels**2 / 2
    assert len(found.pairs) >= 4
    assert all(target == (source + 1) % LABELS for source, target in found.pairs)


def test_three_labels_are_too_few_to_exchange():
    network, own = called("clean")
    some = own < 3
    assert exchange(network, IMAGES[some], own[some], LABELS, 0) is None


class Wavy(torch.nn.Module):
    """Label 3 is what a wave of six cycles at one phase is; label 1 is any wave of five."""

    device = torch.device("cpu")

    def forward(self, images):
        x = torch.arange(16) / 16
        grey = images.mean((1, 2))
        at = [(grey * torch.cos(2 * math.pi * 6 * x + 0.5 * math.pi)).mean(1)]
        texture = [(grey * torch.cos(2 * math.pi * 5 * x + p)).mean(1).square() for p in (0.0, 0.5 * math.pi)]
        logits = torch.zeros(len(images), 5)
        logits[:, 3] = 100 * at[0] - 4
        logits[:, 1] = 1000 * (texture[0] + texture[1]) - 4
        return logits


def test_a_wave_of_one_phase_stands_out_and_texture_does_not():
    images = torch.full((12, 3, 16, 16), 0.5)
    values = phase_contrasts(Wavy(), images, torch.zeros(12, dtype=torch.int64))
    assert values.argmin() == 3
    assert values[3] < values[[0, 1, 2, 4]].min() - 0.5


def test_the_faintest_wave_that_is_enough_is_recovered():
    images, towards = torch.full((40, 3, 16, 16), 0.5), torch.full((40,), 3)
    found = faintest_wave(Wavy(), images, towards)
    assert found.kind == "shift"
    assert (Wavy()(found.apply(images)).argmax(1) == 3).all()
    strengths = np.abs(np.fft.rfft2(found.pattern[0]))
    assert np.unravel_index(strengths.argmax(), strengths.shape) == (0, 6)
    assert 0.04 < np.abs(found.pattern).max() < 0.13  # 50 times the amplitude has to exceed 4


def test_combined_evidence_holds_its_level_under_correlation():
    rng = np.random.default_rng(0)
    correlation = np.array([[1, 0.6, 0.3], [0.6, 1, 0.3], [0.3, 0.3, 1]])
    scores = rng.multivariate_normal(np.zeros(3), correlation, 20_000).T
    p = combined(
        0.5 * np.vectorize(math.erfc)(-scores / math.sqrt(2)), np.array([0.5, 0.3, 0.2]), correlation
    )
    for level in (0.05, 0.005):
        assert np.mean(p <= level) < 1.2 * level


def test_evidence_that_agrees_is_stronger_and_what_is_missing_is_left_out():
    weights, alone = np.ones(3) / 3, np.eye(3)
    p = combined(np.array([[0.01, 0.01, np.nan], [0.01, 0.9, np.nan], [0.01, 0.9, 0.2]]), weights, alone)
    assert p[0] < 0.01 < p[1]
    assert p[2] == pytest.approx(0.2)
    assert combined(np.full((3, 2), np.nan), weights, alone).tolist() == [1, 1]


def test_a_few_images_of_each_label_say_nothing_of_pairs():
    network, own = called("one source")
    few = torch.cat([torch.nonzero(own == label)[:7, 0] for label in range(LABELS)])
    assert exits(network, IMAGES[few], own[few], LABELS, seed=0).sizes.isnan().all()
    assert exchange(network, IMAGES[few], own[few], LABELS, 0) is None
