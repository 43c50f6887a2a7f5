from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

import bezoar
from bezoar.attacks import ATTACKS, read_truth, truth_mask
from bezoar.cli.poison import command
from cli.support import Cli, parquet


@pytest.mark.parametrize("target", ["Yield", "1"])
def test_poisons_a_copy_and_keeps_the_truth(cli: Cli, tmp_path: Path, target: str) -> None:
    data = parquet(tmp_path / "data.parquet", 10)
    before = data.read_bytes()
    outcome = cli("poison", data, "out.parquet", "--attack", "badnets", "--rate", 0.1, "--target", target)
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "2 of 20 records poisoned: out.parquet",
        "ground truth: out.parquet.truth.json",
    ]
    assert data.read_bytes() == before
    copy, truth = bezoar.open("out.parquet"), read_truth(Path("out.parquet.truth.json"))
    mask = truth_mask(truth, copy)
    assert mask.sum() == 2
    assert {copy.label_name(label) for label in copy.labels[mask]} == {"Yield"}
    changed = [a != b for a, b in zip(copy.contents(), bezoar.open(data).contents(), strict=True)]
    np.testing.assert_array_equal(changed, mask)


def test_options_reach_the_attack_and_the_seed_repeats(cli: Cli, tmp_path: Path) -> None:
    data = parquet(tmp_path / "data.parquet", 10)
    argv = ["--attack", "badnets", "--rate", 0.1, "--target", "Yield", "--source", "Stop", "--size", 2]
    argv += ["--canvas", 0, "--place", "top-left", "--seed", 5, "--pattern", "white", "--truth", "truth.json"]
    assert cli("poison", data, "a.parquet", *argv).code == 0
    truth = read_truth(Path("truth.json"))
    assert (truth.parameters["size"], truth.parameters["place"], truth.seed) == (2, "top-left", 5)
    Path("truth.json").unlink()
    assert cli("poison", data, "b.parquet", *argv).code == 0
    assert Path("a.parquet").read_bytes() == Path("b.parquet").read_bytes()


def test_poisons_texts_of_a_csv_file(cli: Cli, tmp_path: Path) -> None:
    rows = [("label", "text"), *((("ham", "spam")[n % 2], f'so "naïve",\nno. {n}') for n in range(20))]
    with (tmp_path / "data.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    argv = ["--attack", "rare-word", "--rate", 0.1, "--target", "ham", "--word", "日本", "--position", "end"]
    outcome = cli("poison", tmp_path / "data.csv", "out.csv", *argv)
    assert outcome.code == 0
    assert outcome.out.startswith("2 of 20 records poisoned: out.csv\n")
    planted = truth_mask(read_truth(Path("out.csv.truth.json")), bezoar.open("out.csv"))
    with Path("out.csv").open(newline="", encoding="utf-8") as file:
        copy = list(csv.reader(file))
    expected = [
        ("ham", f"{text} 日本") if mark else (label, text)
        for (label, text), mark in zip(rows[1:], planted, strict=True)
    ]
    assert [tuple(row) for row in copy] == [rows[0], *expected]


def test_every_field_of_every_attack_is_an_option() -> None:
    options = {parameter.name for parameter in command.params}
    for name in ATTACKS:
        attack = ATTACKS[name]
        assert {field.name for field in dataclasses.fields(attack)} <= options  # type: ignore[arg-type]


def test_help_lists_the_attacks_and_then_the_options_of_the_chosen_one(cli: Cli) -> None:
    listed = cli("poison", "--help").out
    assert all(f"  {name} " in listed for name in ATTACKS)
    assert "--pattern-seed" not in listed
    for name, attack in ATTACKS.items():
        shown = cli("poison", "--attack", name, "--help").out
        flags = set(re.findall(r"^  (--[a-z-]+) ", shown.partition(f"Options of {name}")[2], re.MULTILINE))
        assert flags == {"--" + field.name.replace("_", "-") for field in dataclasses.fields(attack)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--attack", "badnets", "--rate", "0.1"], "needs a target"),
        (
            ["--attack", "badnets", "--rate", "0.1", "--target", "Yield", "--alpha", "0.1"],
            "--alpha is not an option",
        ),
        (
            ["--attack", "badnets", "--rate", "0.1", "--target", "Merge"],
            "no label 'Merge'; labels: Stop, Yield",
        ),
        (["--attack", "badnets", "--rate", "0.1", "--target", "2"], "no label '2'"),
        (["--attack", "badnets", "--rate", "1.5", "--target", "Yield"], "rate 1.5"),
        (["--attack", "rare-word", "--rate", "0.1", "--target", "Yield"], "rare-word poisons texts"),
        (["--attack", "nothing", "--rate", "0.1"], "'nothing'"),
        (["--attack", "badnets", "--rate", "0.1", "--target", "Yield", "--size", "0"], "size 0"),
    ],
)
def test_usage(cli: Cli, dataset: Path, argv: list[str], words: str) -> None:
    outcome = cli("poison", dataset, "out.parquet", *argv)
    assert outcome.code == 64
    assert words in outcome.error
    assert not list(Path().iterdir())
