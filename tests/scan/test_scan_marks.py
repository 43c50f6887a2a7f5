"""Marks that honest data carry, and poison beside them: what is removed must be the poison and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import bezoar
from bezoar.embed import Encoder, Features, Images
from bezoar.report import read_scan, write_scan
from bezoar.scan.result import Severity, Status
from scan.builders import dataset, patch_of, signs, stamp

CORNER = (26, 26)
SEEN = 20  # grey levels per class in the pixel that the encoder below reads


@dataclass(frozen=True)
class Oracle:
    """A stand-in for a good encoder: reads the true class, as written into one pixel, and adds noise."""

    name: str = "oracle"
    size: int = 32
    dim: int = 6
    sample_size: int = 0
    digest: str = "0" * 64

    def fit(self, sample: Images, seed: int) -> Encoder:
        return self

    def encode(self, images: Images) -> Features:
        classes = (images[:, 0, 0, 0].astype(int) + SEEN // 2) // SEEN
        noise = np.random.default_rng(0).normal(0, 0.05, (len(images), self.dim))
        return (np.eye(self.dim)[classes] + noise).astype(np.float32)


def _signs() -> tuple[np.ndarray, np.ndarray]:
    images, labels = signs(120)
    images = images.copy()
    images[:, 0, 0, :] = (labels * SEEN).astype(np.uint8)[:, None]
    return images, labels.copy()


def _logo_on(images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    marked = images.copy()
    marked[chosen] = stamp(images[chosen], patch_of(4, seed=5), *CORNER)
    return marked


def test_poison_under_a_watermark_is_flagged_and_removed(tmp_path: Path) -> None:
    images, labels = _signs()
    rng = np.random.default_rng(1)
    images = _logo_on(images, rng.random(len(images)) < 0.3)
    relabelled = rng.choice(np.flatnonzero(labels == 0), 30, replace=False)
    labels[relabelled] = 1
    data = dataset(images, labels)
    result = bezoar.scan(data, encoder=Oracle(), canaries=False)
    assert {f.severity for f in result.findings if f.kind == "repeated-pattern"} == {Severity.NATURAL}
    assert result.flagged[relabelled].all()
    assert result.flagged.sum() == len(relabelled)
    write_scan(result, tmp_path / "scan")
    for known in (result, read_scan(tmp_path / "scan")):
        kept = bezoar.clean(data, known)
        assert set(kept.keys.to_pylist()) == set(data.select(~result.flagged).keys.to_pylist())


def test_cover_samples_are_left_alone() -> None:
    images, labels = _signs()
    rng = np.random.default_rng(2)
    relabelled = rng.choice(np.flatnonzero(labels == 0), 30, replace=False)
    cover = rng.choice(np.flatnonzero(labels > 1), 100, replace=False)
    images = _logo_on(images, np.concatenate([relabelled, cover]))
    labels[relabelled] = 1
    result = bezoar.scan(dataset(images, labels), encoder=Oracle(), canaries=False)
    assert result.verdict.status is Status.POISONED
    assert result.flagged[relabelled].mean() >= 0.95
    assert not result.flagged[cover].any()


def test_a_watermark_seen_by_a_poor_encoder_is_natural() -> None:
    images, labels = _signs()
    rng = np.random.default_rng(3)
    seen = np.where(rng.random(len(labels)) < 0.5, rng.integers(0, 6, len(labels)), labels)
    images[:, 0, 0, :] = (seen * SEEN).astype(np.uint8)[:, None]  # the encoder errs on four in ten
    images = _logo_on(images, rng.random(len(images)) < 0.3)
    result = bezoar.scan(dataset(images, labels), encoder=Oracle(), canaries=False)
    assert [f.severity for f in result.findings if f.kind == "repeated-pattern"] == [Severity.NATURAL]
    assert not result.flagged.any()


def test_a_logo_on_most_of_a_class_is_for_review() -> None:
    images, labels = _signs()
    chosen = np.flatnonzero(labels == 2)
    images = _logo_on(images, chosen[: int(0.7 * len(chosen))])
    result = bezoar.scan(dataset(images, labels), encoder=Oracle(), canaries=False)
    assert [f.severity for f in result.findings if f.kind == "repeated-pattern"] == [Severity.REVIEW]
    assert not result.flagged.any()


def test_random_labels_leave_the_scan_undecided() -> None:
    images, labels = _signs()
    shuffled = np.random.default_rng(4).permutation(labels)
    assert bezoar.scan(dataset(images, shuffled), encoder=Oracle()).verdict.status is Status.UNDECIDED


def test_nothing_is_called_clean_without_canaries() -> None:
    images, labels = _signs()
    with_canaries, without = (
        bezoar.scan(dataset(images, labels), encoder=Oracle(), canaries=canaries).verdict
        for canaries in (True, False)
    )
    assert (with_canaries.status, without.status) == (Status.CLEAN, Status.UNDECIDED)
    assert "not measured" in without.summary


@pytest.mark.parametrize("side", [1, 2, 4, 7])
def test_tiny_images_are_scanned_without_the_pattern_view(side: int) -> None:
    images = np.random.default_rng(side).integers(0, 256, (240, side, side, 3)).astype(np.uint8)
    labels = np.arange(240, dtype=np.int32) % 6
    verdict = bezoar.scan(dataset(images, labels)).verdict
    assert verdict.status is Status.UNDECIDED
    assert verdict.sensitivity[0].smallest_rate is None
