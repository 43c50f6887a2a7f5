from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import bezoar
from bezoar.embed import Encoder, Features, Images
from bezoar.scan import pipeline
from bezoar.scan.collision_view import collisions
from bezoar.scan.evidence import Gallery
from bezoar.scan.result import Depth, Finding, ScanResult, Severity, Status
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.space import build_space
from scan.builders import Labels, Pixels, backgrounds, dataset, each_alone

NAMES = ("a", "b", "c", "d")
A, B = 0, 1
EACH, SIDE, DIM = 250, 10, 24
CONFUSED = 0.08  # share of the records that honestly lie among another label


@dataclass(frozen=True)
class Table:
    """A stand-in for a victim's encoder: looks the features up by a number that a pixel holds."""

    rows: Features
    name: str = "table"
    size: int = SIDE
    dim: int = DIM
    sample_size: int = 0
    digest: str = "2" * 64

    def fit(self, sample: Images, seed: int) -> Encoder:
        return self

    def encode(self, images: Images) -> Features:
        number = images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1]
        return self.rows[number]


def world(seed: int, confused: float = CONFUSED) -> tuple[Pixels, Labels, Features]:
    """Unlike pictures of four labels, and features in which each label is a cloud of its own."""
    rng = np.random.default_rng(seed)
    n = len(NAMES) * EACH
    labels = np.arange(len(NAMES), dtype=np.int32).repeat(EACH)[rng.permutation(n)]
    images = backgrounds(n, SIDE, seed).copy()
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(n), 256)
    shown = np.where(rng.random(n) < confused, rng.integers(0, len(NAMES), n), labels)
    features = 3 * np.eye(len(NAMES), DIM)[shown] + rng.normal(0, 1.0, (n, DIM))
    return images, labels, features.astype(np.float32)


def into_one_spot(features: Features, labels: Labels, count: int, among: int) -> np.ndarray:
    """Move `count` records of label a into one spot among the label `among`, in place; their rows."""
    rng = np.random.default_rng(1)
    rows = np.flatnonzero(labels == A)[:count]
    target = features[np.flatnonzero(labels == among)].mean(axis=0) + rng.normal(0, 0.6, DIM)
    features[rows] = target + rng.normal(0, 0.02, (count, DIM))
    return rows


def around_a_target(features: Features, labels: Labels, count: int, seed: int) -> tuple[Features, np.ndarray]:
    """In more dimensions, `count` records of label a around one of b that lies apart, none of them close to it; their rows."""
    rng = np.random.default_rng(seed)
    wide = np.concatenate([features, rng.normal(0, 0.5, (len(features), 200))], axis=1).astype(np.float32)
    rows, target = np.flatnonzero(labels == A)[:count], np.flatnonzero(labels == B)[0]
    wide[target] = 3 * np.eye(wide.shape[1])[B]
    wide[target, -20:] = 1.6
    wide[rows] = wide[target] + rng.normal(0, 0.6, (count, wide.shape[1]))
    return wide, rows


def seen(images: Pixels, labels: Labels, features: Features) -> Evidence:
    """What the view says."""
    data = dataset(images, labels, NAMES)
    space = build_space(features, np.arange(len(labels)), labels, len(NAMES))
    return collisions(Scene(images, space, NAMES, each_alone, Gallery(data), 0), 0.01)


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> object:
    """A scan whose view of whole images says nothing: it takes ten times as long as all else."""
    monkeypatch.setattr(pipeline, "spectrum", lambda *_: Evidence("spectrum", np.ones(len(NAMES))))

    def scan(images: Pixels, labels: Labels, features: Features, depth: Depth = Depth.STANDARD) -> ScanResult:
        return bezoar.scan(dataset(images, labels, NAMES), encoder=Table(features), depth=depth)

    return scan


def collisions_in(result: ScanResult) -> list[Finding]:
    return [finding for finding in result.findings if finding.kind == "feature-collision"]


def test_unlike_records_in_one_spot_among_another_label_are_poison(scanned: object) -> None:
    images, labels, features = world(1)
    rows = into_one_spot(features, labels, 15, B)
    result = scanned(images, labels, features)  # type: ignore[operator]
    (finding,) = collisions_in(result)
    assert (finding.severity, finding.target, finding.origins) == (Severity.POISON, A, (B,))
    assert set(finding.records.tolist()) == set(rows.tolist())
    assert len(finding.examples) == 12
    assert "'a'" in finding.title
    assert "'b'" in finding.title
    assert result.verdict.status is Status.POISONED
    np.testing.assert_array_equal(np.flatnonzero(result.flagged), np.sort(rows))
    quick = scanned(images, labels, features, Depth.QUICK)  # type: ignore[operator]
    assert "collisions" in result.views
    assert "collisions" not in quick.views
    assert not quick.flagged.any()  # no other view sees these


def test_the_same_data_without_them_hold_none(scanned: object) -> None:
    result = scanned(*world(1))  # type: ignore[operator]
    assert not collisions_in(result)
    assert result.verdict.status is Status.CLEAN
    assert not result.flagged.any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [10, 15])
def test_spots_of_several_sizes_are_found_with_their_records(seed: int, count: int) -> None:
    images, labels, features = world(seed)
    rows = into_one_spot(features, labels, count, B)
    evidence = seen(images, labels, features)
    (finding,) = evidence.findings
    planted = np.isin(np.arange(len(labels)), rows)
    flagged = np.isin(np.arange(len(labels)), finding.records)
    assert flagged[planted].mean() >= 0.95
    assert flagged[~planted].mean() <= 0.005
    assert evidence.p_values[A] == finding.p_value
    assert np.delete(evidence.p_values, A).min() > 0.01


@pytest.mark.parametrize("seed", range(4))
def test_poison_that_has_a_target_in_its_midst_is_found_though_few_pairs_of_it_are_close(seed: int) -> None:
    images, labels, features = world(seed)
    features, rows = around_a_target(features, labels, 30, seed)
    (finding,) = seen(images, labels, features).findings
    assert (finding.target, finding.origins) == (A, (B,))
    assert np.isin(rows, finding.records).mean() >= 0.95
    assert np.isin(finding.records, rows).mean() >= 0.95
    assert finding.details["linked"] < len(rows) / 2


@pytest.mark.parametrize("seed", range(4))
def test_a_target_that_lies_far_from_its_label_still_says_among_whom_the_poison_is(seed: int) -> None:
    images, labels, features = world(seed)
    features, rows = around_a_target(features, labels, 15, seed)
    target = np.flatnonzero(labels == B)[0]
    away = np.zeros(features.shape[1], np.float32)
    away[-40:-20] = 4.0  # where nothing else is
    features[np.r_[rows, target]] += away
    for label in np.setdiff1d(np.arange(len(NAMES)), B):  # what else comes nearest is mixed
        features[np.flatnonzero(labels == label)[-5:]] += away / 14
    (finding,) = seen(images, labels, features).findings
    assert (finding.target, finding.origins) == (A, (B,))
    assert set(finding.records.tolist()) == set(rows.tolist())


def test_a_wrong_label_in_the_middle_of_an_honest_look_of_a_class_is_no_target() -> None:
    images, labels, features = world(0)
    features = np.concatenate([features, np.zeros((len(features), 20), np.float32)], axis=1)
    look = np.flatnonzero(labels == A)[:26]  # unlike pictures, close to each other, among their own
    features[look, -1] = 4.0
    features[look, :DIM] = 3 * np.eye(DIM)[A] + np.random.default_rng(0).normal(0, 0.2, (len(look), DIM))
    labels = labels.copy()
    middle = features[look].mean(axis=0)
    labels[look[np.square(features[look] - middle).sum(axis=1).argmin()]] = B
    assert not seen(images, labels, features).findings


def test_records_with_a_wrong_label_lie_scattered_and_in_no_spot() -> None:
    images, labels, features = world(0)
    labels = labels.copy()
    labels[np.flatnonzero(labels == B)[:30]] = A
    assert not seen(images, labels, features).findings


def test_records_of_the_spot_that_no_close_pair_links_belong_to_it() -> None:
    images, labels, features = world(1)
    rows = into_one_spot(features, labels, 18, B)
    (finding,) = seen(images, labels, features).findings
    assert finding.details["linked"] < len(rows)
    assert set(finding.records.tolist()) == set(rows.tolist())


@pytest.mark.parametrize("seed", range(10))
def test_honest_features_are_no_collision(seed: int) -> None:
    evidence = seen(*world(seed))
    assert not evidence.findings
    assert evidence.p_values.min() > 0.01


def test_a_spot_of_four_records_is_too_small_to_say_anything() -> None:
    images, labels, features = world(0)
    into_one_spot(features, labels, 4, B)
    evidence = seen(images, labels, features)
    assert not evidence.findings
    assert evidence.p_values.min() == 1.0


def test_a_spot_among_the_records_own_label_is_none() -> None:
    images, labels, features = world(0)
    into_one_spot(features, labels, 15, A)
    assert not seen(images, labels, features).findings


def test_a_spot_of_near_copies_is_none() -> None:
    images, labels, features = world(0)
    rows = into_one_spot(features, labels, 15, B)
    numbers = images[rows, 0, 0]
    images[rows] = images[rows[0]]
    images[rows, 0, 0] = numbers
    assert not seen(images, labels, features).findings


@pytest.mark.parametrize("count", [30, 60])
def test_more_records_in_the_spot_are_no_harder_to_find(count: int) -> None:
    images, labels, features = world(0)
    rows = into_one_spot(features, labels, count, B)
    (finding,) = seen(images, labels, features).findings
    assert np.isin(rows, finding.records).mean() >= 0.95


def test_a_spot_stands_out_where_no_honest_record_lies_among_another_label() -> None:
    images, labels, features = world(0, confused=0)
    rows = into_one_spot(features, labels, 10, B)
    (finding,) = seen(images, labels, features).findings
    assert np.isin(rows, finding.records).mean() >= 0.95


def test_a_dataset_of_pictures_that_all_look_alike_is_scanned() -> None:
    images, labels, features = world(0)
    images[:] = images[0]
    assert not seen(images, labels, features).findings
