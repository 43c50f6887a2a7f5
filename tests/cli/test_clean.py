from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bezoar
from cli.support import Cli


@pytest.fixture
def saved(cli: Cli, dataset: Path, poisoned: None) -> Path:
    assert cli("scan", dataset, "-o", "result").code == 1
    return Path("result")


def test_writes_the_rest_untouched_and_counts(cli: Cli, dataset: Path, saved: Path) -> None:
    outcome = cli("clean", dataset, "--scan", saved, "out.parquet")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "6 records kept, 2 removed: out.parquet",
        "  Stop: 1 of 4 removed",
        "  Yield: 1 of 4 removed",
    ]
    before, after = bezoar.open(dataset), bezoar.open("out.parquet")
    kept = [0, 2, 3, 4, 6, 7]
    assert list(after.contents()) == list(before.contents(kept))
    assert after.labels.tolist() == before.labels[kept].tolist()


def test_drops_the_records_up_for_review_on_request(cli: Cli, dataset: Path, saved: Path) -> None:
    assert cli("clean", dataset, "--scan", saved / "result.json", "out.parquet", "--drop", "review").code == 0
    assert len(bezoar.open("out.parquet")) == 5


def test_refuses_a_dataset_that_changed(cli: Cli, dataset: Path, saved: Path) -> None:
    table = pq.read_table(dataset)
    labels = pa.array(["Yield", *table["label"].to_pylist()[1:]])
    pq.write_table(table.set_column(1, "label", labels), dataset)
    outcome = cli("clean", dataset, "--scan", saved, "out.parquet")
    assert outcome.code == 2
    assert "scan it again" in outcome.error
    assert not Path("out.parquet").exists()


def test_nothing_to_remove_exits_with_3(cli: Cli, dataset: Path, clean: None) -> None:
    assert cli("scan", dataset, "-o", "result").code == 0
    outcome = cli("clean", dataset, "--scan", "result", "out.parquet")
    assert outcome.code == 3
    assert "nothing to remove" in outcome.out
    assert not Path("out.parquet").exists()


def test_bad_paths(cli: Cli, dataset: Path, saved: Path) -> None:
    Path("there").touch()
    assert "exists already" in cli("clean", dataset, "--scan", saved, "there").error
    assert "no such file" in cli("clean", dataset, "--scan", "nowhere", "out.parquet").error
    assert cli("clean", dataset, "--scan", dataset, "out.parquet").code == 2
    assert cli("clean", dataset, "out.parquet").code == 64
    assert sorted(path.name for path in Path().iterdir()) == ["result", "there"]
