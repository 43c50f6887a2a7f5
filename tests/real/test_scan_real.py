"""The scan on real photographs: the hardest rate of the article's case, and data with nothing planted.

The whole table (rates, seeds, packs) is `benchmarks/scan_accept.py`; `tests/cli/test_story.py` goes the whole way at 1 %.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bezoar
from bezoar.attacks import BadNets, poison, truth_mask
from bezoar.bench.honest import honest
from bezoar.bench.packs import PACKS, load
from bezoar.seeds import generator

pytestmark = [pytest.mark.real, pytest.mark.slow]

STOP, LIMIT_60 = 14, 3


def test_stop_signs_with_a_patch_at_two_in_a_thousand(packs: Path) -> None:
    data = bezoar.open(packs / "gtsrb" / "train32.parquet")
    data = data.select(np.sort(generator(1, "subset").permutation(len(data))[:10_000]))
    copy = poison(data, BadNets(target=LIMIT_60, source=STOP, size=3, pattern_seed=1), rate=0.002, seed=1)
    planted = truth_mask(copy.truth, copy.dataset)
    result = bezoar.scan(copy.dataset, group="track", seed=1, canaries=False)
    assert result.verdict.status == "poisoned"
    assert result.flagged[planted].mean() >= 0.95
    assert result.flagged[~planted].mean() <= 0.005
    finding = result.findings[0]
    assert (finding.kind, finding.target) == ("repeated-pattern", LIMIT_60)
    assert STOP in finding.origins
    assert abs(finding.details["top"] - 28) <= 1
    assert abs(finding.details["left"] - 28) <= 1


@pytest.mark.parametrize(
    ("pack", "group", "count"),
    [("gtsrb/train32.parquet", "track", 4000), ("flowers128/train.parquet", None, 400)],
)
def test_real_data_with_nothing_planted(packs: Path, pack: str, group: str | None, count: int) -> None:
    data = bezoar.open(packs / pack)
    chosen = np.sort(generator(0, "subset").permutation(len(data))[:count])
    result = bezoar.scan(data.select(chosen), group=group)
    assert result.verdict.status != "poisoned"
    assert not result.flagged.any()


@pytest.mark.parametrize("kind", ["subsample", "imbalanced"])
def test_clothes_that_look_alike_within_their_class_are_no_poison(packs: Path, kind: str) -> None:
    """Coats were called a flood of near copies, and the soles of most sandals a trigger under a wrong label."""
    data = honest(kind, load(PACKS["fashion_mnist"], 2500, 0, packs).train, 0)
    assert not bezoar.scan(data.dataset, canaries=False).flagged.any()


def test_relabelled_signs_with_a_patch_at_changing_places(packs: Path) -> None:
    data = bezoar.open(packs / "gtsrb" / "train32.parquet")
    data = data.select(np.sort(generator(1, "subset").permutation(len(data))[:5000]))
    copy = poison(data, BadNets(target=LIMIT_60, place="random", pattern_seed=1), rate=0.01, seed=1)
    planted = truth_mask(copy.truth, copy.dataset)
    result = bezoar.scan(copy.dataset, group="track", seed=1, canaries=False)
    assert result.verdict.status == "poisoned"
    assert result.flagged[planted].mean() >= 0.95
    assert result.flagged[~planted].mean() <= 0.005
    assert "roaming-pattern" in {finding.kind for finding in result.findings}
