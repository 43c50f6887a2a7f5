"""What networks add: records that belong to nearly every other label, and what a recovered trigger does."""

from __future__ import annotations

import numpy as np
import pytest

import bezoar
from bezoar.models.train import train_classifier
from bezoar.scan.canvas import load_canvas
from bezoar.scan.confirmation import Flips, flips
from bezoar.scan.functional.spread_inflow import planted_margin, spread_inflow
from bezoar.scan.pipeline import _scene as scene_of
from bezoar.scan.result import Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.training_view import margins, small, training
from scan.builders import (
    CLASSES,
    LIMIT_60,
    NO_ENTRY,
    STOP,
    Labels,
    Mosaic,
    Pixels,
    assert_found,
    dataset,
    patch_of,
    signs,
    stamp,
)

ALPHA = 0.01
PLANTED = 60


def relabelled() -> tuple[Pixels, Labels, np.ndarray]:
    """Signs of which some, of every other class, are labelled "no entry": a backdoor whose trigger nobody sees."""
    images, labels = signs(150)
    planted = np.zeros(len(labels), dtype=bool)
    planted[np.flatnonzero(labels != NO_ENTRY)[:PLANTED]] = True
    labels[planted] = NO_ENTRY
    return images, labels, planted


def seen(images: Pixels, labels: Labels) -> tuple[Scene, Evidence]:
    data = dataset(images, labels)
    scene = scene_of(data, load_canvas(data), Mosaic(), 0, None, None, None)
    return scene, training(scene, ALPHA)


def test_a_label_that_holds_records_of_every_other_label_is_found() -> None:
    images, labels, planted = relabelled()
    _, evidence = seen(images, labels)
    (finding,) = evidence.findings
    assert (finding.kind, finding.target, finding.severity) == ("foreign-content", NO_ENTRY, Severity.POISON)
    caught = np.isin(np.arange(len(labels)), finding.records)
    assert caught[planted].mean() >= 0.9
    assert caught[~planted].mean() <= 0.02
    assert set(finding.origins) <= set(range(len(CLASSES))) - {NO_ENTRY}
    assert np.flatnonzero(evidence.p_values <= ALPHA).tolist() == [NO_ENTRY]
    assert all(len(column) == len(labels) for column in evidence.scores.values())
    margin = evidence.scores["training_margin"]
    assert margin[planted].min() > np.median(margin)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_honest_labels_and_label_noise_are_not(noise: float) -> None:
    images, labels = signs(150, seed=3)
    rng = np.random.default_rng(0)
    wrong = rng.random(len(labels)) < noise
    labels[wrong] = (labels[wrong] + rng.integers(1, len(CLASSES), wrong.sum())) % len(CLASSES)
    _, evidence = seen(images, labels.astype(np.int32))
    assert not evidence.findings
    assert evidence.p_values.min() > ALPHA


def test_near_duplicates_are_learnt_and_asked_about_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a network would have seen a copy of what it is asked about."""
    halves = []

    def no_training(images: Pixels, labels: Labels, n: int, half: np.ndarray, *, seed: int) -> None:
        halves.append(half)
        raise StopIteration

    monkeypatch.setattr("bezoar.scan.training_view.cross_fit", no_training)
    images, labels = signs(40)
    images[:20], labels[:20] = images[0], labels[0]
    with pytest.raises(StopIteration):
        seen(images, labels)
    (half,) = halves
    assert len(set(half[:20])) == 1
    assert 0.4 <= half.mean() <= 0.6


def test_margins() -> None:
    probability = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=np.float32)
    margin, other = margins(probability, np.array([0, 1], dtype=np.int32))
    np.testing.assert_allclose(margin, [-0.5, 0.3], atol=1e-6)
    assert other.tolist() == [1, 2]


def test_small_images_are_repeated_and_large_ones_averaged() -> None:
    assert small(np.zeros((2, 8, 40, 3), np.uint8)).shape == (2, 16, 32, 3)
    halves = np.zeros((1, 64, 64, 3), np.uint8)
    halves[:, ::2] = 200
    np.testing.assert_array_equal(small(halves), 100)


def test_what_one_label_receives() -> None:
    """Look-alikes and noise exchange records; one label that takes from all is planted."""
    sizes = np.full(6, 200)
    honest = np.full((6, 6), 2)
    honest[0, 1] = honest[1, 0] = 40
    planted = honest.copy()
    planted[5] += 12
    np.fill_diagonal(honest, 150)
    np.fill_diagonal(planted, 150)
    assert spread_inflow(honest, sizes).p_values.min() > 0.1
    assert np.flatnonzero(spread_inflow(planted, sizes).p_values <= 1e-4).tolist() == [5]
    assert (spread_inflow(planted[:4, :4], sizes[:4]).p_values == 1).all()  # too few labels to tell


def test_from_which_margin_records_are_mostly_planted() -> None:
    labels = np.repeat(np.arange(4), 100)
    margin = np.tile(np.linspace(-1, 1, 100), 4)
    assert planted_margin(margin, labels, 3) is None  # as many as under the other labels
    margin = np.tile(np.linspace(-1, 0.2, 100), 4)
    margin[-30:] = 0.8
    least = planted_margin(margin, labels, 3)
    assert least is not None
    assert (margin[labels == 3] >= least).sum() == 30


@pytest.fixture(scope="module")
def marked() -> tuple[Pixels, Labels, np.ndarray, Pixels]:
    """Signs of which some carry a patch and are labelled "speed limit 60"."""
    images, labels = signs(150)
    patch = patch_of(4)
    planted = np.zeros(len(labels), dtype=bool)
    planted[np.flatnonzero(labels != LIMIT_60)[:PLANTED]] = True
    images[planted] = stamp(images[planted], patch, 26, 26)
    labels[planted] = LIMIT_60
    return images, labels, planted, patch


def test_a_trigger_turns_records_where_its_carriers_were_seen(
    marked: tuple[Pixels, Labels, np.ndarray, Pixels],
) -> None:
    images, labels, planted, patch = marked
    shown = patch, np.ones(patch.shape[:2], dtype=bool), (26, 26), LIMIT_60
    others = images[~planted & (labels == STOP)]
    backdoored = train_classifier(images, labels, len(CLASSES), epochs=12, seed=0)
    clean = train_classifier(images[~planted], labels[~planted], len(CLASSES), epochs=12, seed=0)
    found = flips(backdoored, clean, others, *shown)
    assert found.confirmed
    assert found.suspect >= 0.9
    assert found.control <= 0.1
    for one, other in ((clean, backdoored), (backdoored, backdoored), (clean, clean)):
        assert not flips(one, other, others, *shown).confirmed
    few = flips(backdoored, clean, others[:3], *shown)
    assert few.suspect == 1
    assert not few.confirmed
    turned = stamp(others, patch, 26, 26)  # all are read as the label before anything is shown
    assert flips(backdoored, clean, turned, *shown) == Flips(0.0, 0.0, False)


def test_a_deep_scan_says_what_the_trigger_does(marked: tuple[Pixels, Labels, np.ndarray, Pixels]) -> None:
    images, labels, planted, _ = marked
    result = bezoar.scan(dataset(images, labels), encoder=Mosaic(), depth="deep", canaries=False)
    assert_found(result, planted)
    (finding,) = [one for one in result.findings if one.kind == "repeated-pattern"]
    assert finding.details["confirmed"] is True
    assert finding.details["flipped"] >= 0.9
    assert finding.details["flipped_without_suspects"] <= 0.1
    assert "in one trained without the suspects" in finding.explanation
    assert "training" in result.views
    assert {"training_margin", "training_dropout_shift", "training_scan_pooled"} <= set(
        result.scores.column_names
    )


def test_a_deep_scan_of_honest_data_finds_nothing() -> None:
    result = bezoar.scan(dataset(*signs(150, seed=3)), encoder=Mosaic(), depth="deep", canaries=False)
    assert not result.flagged.any()
