"""The whole way over the command line: poison a copy of real data, scan it, throw the poison out.

With half of the tracks; `tests/real/test_scan_real.py` scans them all, at a lower rate.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import bezoar
from bezoar.attacks import read_truth, truth_mask
from bezoar.report import read_scan
from cli.support import Cli

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_a_stop_sign_with_a_patch(cli: Cli, packs: Path) -> None:
    signs = pq.read_table(packs / "gtsrb" / "train32.parquet")
    pq.write_table(signs.filter(pc.is_in(signs["track"], signs["track"].unique()[::2])), "signs.parquet")
    attack = ["--attack", "badnets", "--rate", 0.01, "--source", "Stop", "--target", "Speed limit (60km/h)"]
    assert cli("poison", "signs.parquet", "copy.parquet", *attack).code == 0
    copy = bezoar.open("copy.parquet")
    poison = truth_mask(read_truth(Path("copy.parquet.truth.json")), copy)

    found = cli("scan", "copy.parquet", "--group", "track", "-o", "result", "--format", "json")
    assert found.code == 1
    first = json.loads(found.out)["findings"][0]
    assert copy.label_name(first["target"]) == "Speed limit (60km/h)"
    flagged = read_scan(Path("result")).flagged
    assert flagged[poison].mean() >= 0.95
    assert flagged[~poison].mean() <= 0.005

    assert cli("clean", "copy.parquet", "--scan", "result", "clean.parquet").code == 0
    kept = bezoar.open("clean.parquet")
    assert len(kept) == len(copy) - flagged.sum()
    np.testing.assert_array_equal(kept.labels, copy.labels[~flagged])
