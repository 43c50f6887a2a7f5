"""What networks add: records that belong to nearly every other label, and what a recovered trigger does."""

from __future__ import annotations

import numpy as np
import pytest

import bezoar
from bezoar.scan.canvas import load_canvas
from bezoar.scan.confirmation import Flips, Trigger, confirmed, flips
from bezoar.scan.functional.spread_inflow import planted_margin, spread_inflow
from bezoar.scan.pipeline import _scene as scene_of
from bezoar.scan.result import Finding, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.training_view import margins, small, training
from scan.builders import (
    CLASSES,
    LIMIT_60,
    NO_ENTRY,
    Labels,
    Mosaic,
    Pixels,
    assert_found,
    backgrounds,
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


def test_label_noise_is_not() -> None:
    images, labels = signs(100, seed=3)
    rng = np.random.default_rng(0)
    wrong = rng.random(len(labels)) < 0.05
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


class Stub:
    """Reads every image as its first pixel says, and what shows a white corner as `turned`, a share of the time."""

    def __init__(self, turned: int | None = None, share: float = 1.0) -> None:
        self.turned, self.share = turned, share

    def predict(self, images: Pixels) -> Labels:
        read = images[:, 0, 0, 0].astype(np.int32)
        if self.turned is not None:
            seen = np.flatnonzero((images[:, -1, -1] == 255).all(axis=1))
            read[seen[: round(self.share * len(seen))]] = self.turned
        return read


CORNER = Trigger(np.full((2, 2, 3), 255, np.uint8), np.ones((2, 2), dtype=bool), (30, 30))


def plain(n: int, label: int = 1) -> Pixels:
    return np.full((n, 32, 32, 3), label, dtype=np.uint8)


@pytest.mark.parametrize(
    ("suspect", "control", "n", "expected"),
    [
        (Stub(4), Stub(), 100, Flips(1.0, 0.0, True)),
        (Stub(4), Stub(4), 100, Flips(1.0, 1.0, False)),
        (Stub(4), Stub(4, 0.5), 100, Flips(1.0, 0.5, True)),
        (Stub(), Stub(4), 100, Flips(0.0, 1.0, False)),
        (Stub(4), Stub(), 3, Flips(1.0, 0.0, False)),  # too few to tell
        (Stub(4, 0.05), Stub(), 2000, Flips(0.05, 0.0, False)),  # certain, and too little
        (Stub(1), Stub(), 100, Flips(0.0, 0.0, False)),  # they are read as label 1 without it
    ],
)
def test_what_a_trigger_turns(suspect: Stub, control: Stub, n: int, expected: Flips) -> None:
    target = suspect.turned if suspect.turned is not None else 4
    assert flips(suspect, control, plain(n), CORNER, target) == expected


def test_only_images_that_neither_network_reads_as_the_label_count() -> None:
    """Half of them are read so by the control, half of the rest by the network of all data, before anything is shown."""
    images = np.concatenate([plain(40, 4), plain(40)])
    images[40:60, -1, -1] = 255
    found = flips(Stub(4), Stub(), images, CORNER, 4)
    assert found == Flips(1.0, 0.0, True)
    assert flips(Stub(4), Stub(), images[:60], CORNER, 4) == Flips(0.0, 0.0, False)


def test_who_carries_a_trigger() -> None:
    images = backgrounds(50, side=32)
    images[:10] = CORNER.on(images[:10])
    np.testing.assert_array_equal(CORNER.carried_by(images), np.arange(50) < 10)
    nowhere = Trigger(CORNER.pixels, np.zeros((2, 2), dtype=bool), (30, 30))
    assert not nowhere.carried_by(images).any()


@pytest.fixture(scope="module")
def marked() -> tuple[Pixels, Labels, np.ndarray]:
    """Signs of which some carry a patch and are labelled "speed limit 60"."""
    images, labels = signs(100)
    planted = np.zeros(len(labels), dtype=bool)
    planted[np.flatnonzero(labels != LIMIT_60)[:PLANTED]] = True
    images[planted] = stamp(images[planted], patch_of(4), 26, 26)
    labels[planted] = LIMIT_60
    return images, labels, planted


def pattern_of(rows: np.ndarray, severity: Severity = Severity.POISON) -> Finding:
    """A finding of the patch above that holds these rows."""
    place = {"top": 26, "left": 26, "height": 4, "width": 4}
    return Finding("repeated-pattern", severity, "t", "E.", rows, 0.0, target=LIMIT_60, details=place)


def test_carriers_that_a_finding_lacks_are_no_control(marked: tuple[Pixels, Labels, np.ndarray]) -> None:
    images, labels, planted = marked
    data = dataset(images, labels)
    scene = scene_of(data, load_canvas(data), Mosaic(), 0, None, None, None)
    found, natural = confirmed(
        [
            pattern_of(np.flatnonzero(planted)[:40]),
            pattern_of(np.flatnonzero(planted)[:40], Severity.NATURAL),
        ],
        scene,
    )
    assert found.details["confirmed"] is True
    assert found.details["flipped"] >= 0.7
    assert found.details["flipped_without_suspects"] <= 0.2
    assert "in one trained without the suspects" in found.explanation
    assert natural.explanation == "E."


def test_a_label_without_other_records_is_not_tried(marked: tuple[Pixels, Labels, np.ndarray]) -> None:
    images, labels, planted = marked
    kept = planted | (labels != LIMIT_60)
    kept[np.flatnonzero((labels == LIMIT_60) & ~planted)[:10]] = True
    data = dataset(images[kept], labels[kept])
    scene = scene_of(data, load_canvas(data), Mosaic(), 0, None, None, None)
    (finding,) = confirmed([pattern_of(np.flatnonzero(planted[kept]))], scene)
    assert "was not tried: too few records are left" in finding.explanation
    assert "confirmed" not in finding.details


def test_a_deep_scan_says_what_the_trigger_does(marked: tuple[Pixels, Labels, np.ndarray]) -> None:
    images, labels, planted = marked
    result = bezoar.scan(dataset(images, labels), encoder=Mosaic(), depth="deep", canaries=False)
    assert_found(result, planted)
    (finding,) = [one for one in result.findings if one.kind == "repeated-pattern"]
    assert finding.details["confirmed"] is True
    assert "training" in result.views
    assert {"training_margin", "training_dropout_shift", "training_scan_pooled"} <= set(
        result.scores.column_names
    )
