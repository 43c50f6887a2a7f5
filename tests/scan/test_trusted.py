from __future__ import annotations

import numpy as np
import pytest

import bezoar
from bezoar.errors import InputError
from bezoar.scan.result import Severity, Status
from scan.builders import LIMIT_60, NO_ENTRY, STOP, Mosaic, dataset, poison_findings, signs

CLASSES = 6


def test_relabelled_signs_are_unlike_the_trusted_ones() -> None:
    images, labels = signs(200)
    sample, rest = np.arange(400), np.arange(400, len(images))
    trusted = dataset(images[sample], labels[sample])
    suspect = labels[rest].copy()
    moved = np.flatnonzero(np.isin(suspect, [STOP, NO_ENTRY]))[:60]
    suspect[moved] = LIMIT_60
    result = bezoar.scan(
        dataset(images[rest], suspect), trusted=trusted, depth="quick", encoder=Mosaic(), canaries=False
    )
    assert result.trusted == "arrays"
    assert result.views == ("patterns", "neighbours", "trusted")
    assert result.verdict.status is Status.POISONED
    assert {finding.target for finding in poison_findings(result)} == {LIMIT_60}
    assert "unlike_trusted" in result.scores.column_names
    scores = result.scores["unlike_trusted"].to_numpy()
    assert np.median(scores[moved]) > np.quantile(np.delete(scores, moved), 0.95)


def test_a_clean_dataset_stays_clean_beside_a_trusted_sample() -> None:
    images, labels = signs(200)
    trusted = dataset(images[:400], labels[:400])
    result = bezoar.scan(
        dataset(images[400:], labels[400:]), trusted=trusted, depth="quick", encoder=Mosaic(), canaries=False
    )
    assert not result.flagged.any()
    assert not poison_findings(result)


def test_a_sample_of_another_kind_is_set_aside() -> None:
    images, labels = signs(200)
    trusted = dataset(255 - images[:400], labels[:400])
    result = bezoar.scan(
        dataset(images[400:], labels[400:]), trusted=trusted, depth="quick", encoder=Mosaic(), canaries=False
    )
    assert not result.flagged.any()
    assert all(f.severity is not Severity.POISON for f in result.findings)


def test_a_sample_without_common_labels_is_refused() -> None:
    images, labels = signs(40)
    trusted = dataset(images, labels, tuple("abcdef"))
    with pytest.raises(InputError, match="label names must be the same"):
        bezoar.scan(dataset(images, labels), trusted=trusted, depth="quick", encoder=Mosaic())
