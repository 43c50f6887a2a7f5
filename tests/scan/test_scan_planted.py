"""Scans of rendered signs with something planted: found, explained, and nothing else flagged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import bezoar
from bezoar.attacks import BadNets, poison, truth_mask
from bezoar.data import Dataset, load_images
from bezoar.errors import InputError
from bezoar.report import to_json
from bezoar.scan.clean import clean
from bezoar.scan.result import Finding, ScanResult
from bezoar.scan.sensitivity import RATES
from scan.builders import (
    CLASSES,
    LIMIT_60,
    NO_ENTRY,
    ROUNDABOUT,
    STOP,
    Mosaic,
    assert_found,
    dataset,
    parquet,
    patch_of,
    png,
    poison_findings,
    signs,
    stamp,
)


def badnets(
    rate: float, seed: int, per_class: int = 120, **options: object
) -> tuple[Dataset, NDArray[np.bool_]]:
    """A poisoned copy of signs, and the mask of the poison."""
    data = dataset(*signs(per_class, seed))
    attack = BadNets(target=LIMIT_60, pattern_seed=seed, **options)  # type: ignore[arg-type]
    copy = poison(data, attack, rate=rate, seed=seed)
    return copy.dataset, truth_mask(copy.truth, copy.dataset)


def assert_place(finding: Finding, top: int, left: int, size: int) -> None:
    """The recovered box lies on the patch that was planted."""
    box = finding.details
    overlap = max(0, min(box["top"] + box["height"], top + size) - max(box["top"], top)) * max(
        0, min(box["left"] + box["width"], left + size) - max(box["left"], left)
    )
    union = box["height"] * box["width"] + size * size - overlap
    assert overlap / union >= 0.4, box


@pytest.mark.parametrize(
    ("rate", "seed", "per_class", "options", "place"),
    [
        (0.01, 0, 200, {"size": 3}, (28, 28)),
        (0.01, 1, 200, {"size": 4, "place": "top-left"}, (1, 1)),
        (0.02, 2, 120, {"size": 3, "place": "14,10"}, (14, 10)),
        (0.02, 3, 120, {"size": 3, "pattern": "checkerboard"}, (28, 28)),
    ],
)
def test_a_patch_on_stop_signs(
    rate: float, seed: int, per_class: int, options: dict[str, object], place: tuple[int, int]
) -> None:
    data, planted = badnets(rate, seed, per_class, source=STOP, **options)
    result = bezoar.scan(data, encoder=Mosaic(), seed=seed, canaries=False)
    assert_found(result, planted)
    finding = result.findings[0]
    assert (finding.kind, finding.severity) == ("repeated-pattern", "poison")
    assert finding.target == LIMIT_60
    assert finding.p_value is not None
    assert finding.p_value <= 0.005
    assert_place(finding, *place, int(options["size"]))  # type: ignore[call-overload]
    assert finding.pictures
    assert finding.examples
    for example in finding.examples:
        assert "speed limit 60" in example.record.caption
        assert example.record.mark is not None


def test_the_encoder_tells_where_the_relabelled_come_from() -> None:
    data, planted = badnets(0.015, 4, per_class=200, source=ROUNDABOUT)
    result = bezoar.scan(data, canaries=False)
    assert_found(result, planted)
    assert (result.findings[0].target, result.findings[0].origins) == (LIMIT_60, (ROUNDABOUT,))
    assert "neighbours of another label: 'roundabout'" in result.findings[0].explanation


def test_all_to_one_without_the_encoder() -> None:
    data, planted = badnets(0.02, 4)
    result = bezoar.scan(data, encoder=Mosaic(), canaries=False)
    assert_found(result, planted)
    assert result.findings[0].target == LIMIT_60
    assert len(result.findings[0].origins) > 1
    assert result.encoder == "mosaic"


def test_relabelled_signs_without_a_trigger() -> None:
    images, labels = signs(200, 5)
    relabelled = np.flatnonzero(labels == ROUNDABOUT)[:12]
    labels[relabelled] = STOP
    planted = np.isin(np.arange(len(labels)), relabelled)
    result = bezoar.scan(dataset(images, labels), canaries=False)
    assert_found(result, planted)
    [finding] = poison_findings(result)
    assert (finding.kind, finding.target, finding.origins) == ("label-disagreement", STOP, (ROUNDABOUT,))
    assert finding.p_value is not None
    assert finding.p_value <= 0.005
    assert "roundabout" in finding.examples[0].other_label[0].caption


def test_a_watermark_over_all_classes_is_natural() -> None:
    images, labels = signs(120, 6)
    marked = np.random.default_rng(0).choice(len(images), 100, replace=False)
    images[marked] = stamp(images[marked], patch_of(3, 6), 2, 26)
    result = bezoar.scan(dataset(images, labels), encoder=Mosaic(), canaries=False)
    assert result.verdict.status != "poisoned"
    assert not result.flagged.any()
    finding = next(found for found in result.findings if found.kind == "repeated-pattern")
    assert (finding.severity, finding.target) == ("natural", None)
    assert np.isin(marked, finding.records).mean() >= 0.95


def test_a_mark_on_a_whole_class_is_for_review() -> None:
    images, labels = signs(120, 7)
    ours = labels == NO_ENTRY
    images[ours] = stamp(images[ours], patch_of(3, 7), 2, 2)
    result = bezoar.scan(dataset(images, labels), encoder=Mosaic(), canaries=False)
    assert not result.flagged.any()
    finding = next(found for found in result.findings if found.kind == "repeated-pattern")
    assert (finding.severity, finding.target) == ("review", NO_ENTRY)


@pytest.fixture(scope="module")
def planted_scan() -> tuple[Dataset, NDArray[np.bool_], ScanResult]:
    """Eighteen patched stop signs among 900, scanned."""
    data, planted = badnets(0.02, 8, per_class=100, source=STOP)
    return data, planted, bezoar.scan(data, encoder=Mosaic(), seed=3)


def test_the_same_seed_gives_the_same_result(
    planted_scan: tuple[Dataset, NDArray[np.bool_], ScanResult],
) -> None:
    data, _, result = planted_scan
    again = bezoar.scan(data, encoder=Mosaic(), seed=3)
    ours, theirs = to_json(result), to_json(again)
    ours.pop("seconds", None)
    theirs.pop("seconds", None)
    assert ours == theirs
    assert result.scores.equals(again.scores)


def test_without_canaries_the_same_is_found(
    planted_scan: tuple[Dataset, NDArray[np.bool_], ScanResult],
) -> None:
    data, _, result = planted_scan
    quicker = bezoar.scan(data, encoder=Mosaic(), seed=3, canaries=False)
    assert quicker.verdict.sensitivity == ()
    assert quicker.scores.equals(result.scores)
    assert quicker.verdict.status is result.verdict.status


def test_the_order_of_records_does_not_matter(
    planted_scan: tuple[Dataset, NDArray[np.bool_], ScanResult],
) -> None:
    """No oracle: nothing but content and label decides."""
    data, planted, result = planted_scan
    order = np.random.default_rng(1).permutation(len(data))
    shuffled = bezoar.scan(data.select(order), encoder=Mosaic(), seed=3, canaries=False)
    np.testing.assert_array_equal(shuffled.flagged, result.flagged[order])
    assert_found(shuffled, planted[order])


def test_scores_hold_a_row_for_every_record(
    planted_scan: tuple[Dataset, NDArray[np.bool_], ScanResult],
) -> None:
    data, planted, result = planted_scan
    table = result.scores
    assert table.column_names == [
        "key",
        "label",
        "readable",
        "label_disagreement",
        "mahalanobis",
        "mahalanobis_p",
        "k_distance",
        "slof",
        "dao",
        "lid",
        "finding",
        "flagged",
    ]
    assert table["key"].to_pylist() == data.keys.to_pylist()
    assert table["label"].to_pylist() == [CLASSES[label] for label in data.labels]
    assert table["label_disagreement"].null_count == 0
    numbers = table["finding"].to_numpy()
    assert (numbers[planted] == 0).mean() >= 0.95
    np.testing.assert_array_equal(result.flagged, numbers == 0)
    assert sum(result.label_counts) == result.n_records == len(data)


def test_sensitivity_is_one_of_the_rates(
    planted_scan: tuple[Dataset, NDArray[np.bool_], ScanResult],
) -> None:
    for sensitivity in planted_scan[2].verdict.sensitivity:
        assert sensitivity.smallest_rate in (None, *RATES)
        assert sensitivity.poison
        assert sensitivity.how


def test_clean_removes_exactly_what_is_flagged(
    planted_scan: tuple[Dataset, NDArray[np.bool_], ScanResult],
) -> None:
    data, _, result = planted_scan
    kept = clean(data, result)
    assert kept.keys.to_pylist() == data.keys.filter(~result.flagged).to_pylist()
    np.testing.assert_array_equal(kept.labels, data.labels[~result.flagged])
    assert list(kept.contents()) == list(data.contents(np.flatnonzero(~result.flagged)))
    with pytest.raises(InputError, match="has changed"):
        clean(data.select(np.arange(len(data) - 1)), result)
    with pytest.raises(InputError, match="has changed"):
        clean(data.with_changes(labels={0: (int(data.labels[0]) + 1) % len(CLASSES)}), result)


def test_a_group_column_makes_a_track_one_observation(tmp_path: Path) -> None:
    """The same poison in one track is one observation: a single sticker in a video, not a campaign."""
    data, planted = badnets(0.02, 9, source=STOP)
    contents = [png(decoded) for decoded in _pixels(data)]
    track = np.arange(len(data))
    track[planted] = -1
    stored = parquet(
        tmp_path / "signs.parquet", contents, data.labels, track=track, frame=np.arange(len(data))
    )
    alone = bezoar.scan(stored, encoder=Mosaic(), group="frame", canaries=False)
    assert any(found.kind == "repeated-pattern" for found in poison_findings(alone))
    together = bezoar.scan(stored, encoder=Mosaic(), group="track", canaries=False)
    assert not any(found.kind == "repeated-pattern" for found in together.findings)


def _pixels(data: Dataset) -> NDArray[np.uint8]:
    return np.concatenate([batch.pixels for batch in load_images(data, (32, 32))])
