from __future__ import annotations

from typing import Any

import pytest

from bench.support import attack_entry, clean_entry, power_entry, trained_entry
from bezoar.bench.plan import Cell
from bezoar.bench.store import Entry
from bezoar.bench.summary import summarise


def _cells(n: int = 3, setting: str = "badnets", rate: float = 0.01) -> list[Cell]:
    return [Cell("attack", setting, "gtsrb", rate, seed) for seed in range(n)]


def _summary(cells: list[Cell], entries: list[Entry]) -> dict[str, Any]:
    return summarise(cells, {entry.key: entry for entry in entries})


def _target(summary: dict[str, Any], setting: str) -> dict[str, Any]:
    (row,) = [row for row in summary["targets"] if row["setting"] == setting]
    return row  # type: ignore[no-any-return]


def test_shares_count_trials_in_which_the_attack_took() -> None:
    cells = _cells()
    entries = [
        attack_entry(cells[0]),
        attack_entry(cells[1], took=None, flagged_planted=10),
        attack_entry(cells[2], took=False, flagged_planted=0, detected=False, flagged_clean=9),
    ]
    (group,) = _summary(cells, entries)["attacks"]
    assert (group["trials"], group["took"]) == (3, 2)
    assert group["tpr"]["value"] == pytest.approx(0.95)
    assert group["tpr"]["n"] == group["detected"]["n"] == 2
    assert group["fpr"]["value"] == pytest.approx(9 / 270, abs=1e-6)  # of every trial
    assert group["best_auroc"] == "label_disagreement"
    assert group["auroc"] == {"label_disagreement": 0.75, "lid": 0.5}


def test_a_trial_that_did_not_take_counts_without_a_scan() -> None:
    cells = _cells()
    summary = _summary(cells, [attack_entry(cells[0]), trained_entry(cells[1])])
    (group,) = summary["attacks"]
    assert (group["trials"], group["took"]) == (2, 1)
    assert group["fpr"]["n"] == 1
    assert group["clean_accuracy"] == pytest.approx(0.85)
    assert group["scan_seconds"] == 3.0
    assert summary["cells"]["measured"] == 2


def test_a_part_of_the_plan_says_so() -> None:
    cells = _cells()
    summary = _summary(cells, [attack_entry(cells[0], "1", flagged_planted=10)])
    assert summary["cells"] == {"planned": 3, "measured": 1, "impossible": 0, "implied": 0}
    assert _target(summary, "badnets")["state"] == "met so far"
    assert _target(summary, "wanet")["state"] == "not measured"


def test_states_of_a_target() -> None:
    cells = _cells()
    found = [attack_entry(cell, flagged_planted=10) for cell in cells]
    assert _target(_summary(cells, found), "badnets")["state"] == "met"
    missed = _target(_summary(cells, [attack_entry(cell) for cell in cells]), "badnets")
    assert missed["state"] == "missed"
    assert missed["worst"] == pytest.approx(0.9)
    assert [(miss["pack"], miss["rate"]) for miss in missed["missed"]] == [("gtsrb", 0.01)]
    void = _summary(cells, [attack_entry(cell, took=False) for cell in cells])
    assert _target(void, "badnets")["state"] == "did not take"


def test_a_target_is_met_by_trials_that_took_in_every_group_that_is_possible() -> None:
    cells = _cells() + _cells(rate=0.05) + _cells(rate=0.003)
    found = [attack_entry(cell, flagged_planted=10, took=cell.rate != 0.05) for cell in cells]
    row = _target(_summary(cells, found), "badnets")
    assert (row["state"], row["groups"], row["possible"], row["trials"]) == (
        "met where it took",
        2,
        3,
        6,
    )
    found[3:6] = [attack_entry(cell, flagged_planted=10, took=cell.seed < 2) for cell in cells[3:6]]
    row = _target(_summary(cells, found), "badnets")
    assert (row["state"], row["groups"], row["possible"], row["trials"]) == (
        "met where it took",
        3,
        3,
        8,
    )
    partly = _target(_summary(cells, found[1:]), "badnets")
    assert (partly["state"], partly["trials"]) == ("met so far", 7)
    found[3:6] = [
        Entry(cell.key, "1", cell.fields(), {"status": "impossible", "reason": "too few"})
        for cell in cells[3:6]
    ]
    row = _target(_summary(cells, found), "badnets")
    assert (row["state"], row["groups"], row["possible"], row["trials"]) == ("met", 2, 2, 6)


def test_rates_below_the_target_do_not_count() -> None:
    cells = _cells(rate=0.001)
    assert _target(_summary(cells, [attack_entry(cell) for cell in cells]), "badnets")["groups"] == 0


def test_impossible_cells_are_told_from_missing_ones() -> None:
    cells = _cells()
    entries = [
        Entry(cell.key, "1", cell.fields(), {"status": "impossible", "reason": "too few"}) for cell in cells
    ]
    (group,) = _summary(cells, entries)["attacks"]
    assert (group["trials"], group["impossible"], group["reason"]) == (0, 3, "too few")
    assert group["tpr"] is None


def test_lower_rates_of_a_trial_that_did_not_take_are_implied() -> None:
    cells = _cells() + _cells(rate=0.05)
    done = [attack_entry(cell, took=cell.seed > 0) for cell in cells[3:]]
    low, high = _summary(cells, done)["attacks"]
    assert (low["trials"], low["implied"], low["planned"]) == (0, 1, 3)
    assert (high["trials"], high["implied"], high["took"]) == (3, 0, 2)
    both = _summary(cells, [*done, attack_entry(cells[0])])  # measured all the same
    assert both["attacks"][0]["implied"] == 0
    assert both["cells"] == {"planned": 6, "measured": 4, "impossible": 0, "implied": 0}


def test_versions_are_named() -> None:
    cells = _cells()
    entries = [attack_entry(cells[seed], version) for seed, version in enumerate(("b", "a", "b"))]
    assert list(_summary(cells, entries)["versions"].items()) == [("a", 1), ("b", 2)]  # the newest last


def test_clean_runs() -> None:
    cells = [Cell("clean", "subsample", "gtsrb", 0.0, seed) for seed in range(20)]
    entries = [clean_entry(cell, alarm=cell.seed == 0) for cell in cells]
    summary = _summary(cells, entries)
    total = summary["clean"][-1]
    assert (total["setting"], total["runs"], total["alarms"]) == ("all", 20, 1)
    assert total["alarm"]["value"] == 0.05
    assert total["flagged"]["value"] == pytest.approx(20 / 20_000)
    states = [row["state"] for row in summary["targets"] if row["setting"] == "clean-image"]
    assert states == ["met", "met"]
    few = _summary(cells, entries[1:10])
    assert [row["state"] for row in few["targets"] if row["setting"] == "clean-image"] == ["met so far"] * 2


def test_power_trials_of_further_seeds_count_where_pack_and_size_are_planned() -> None:
    planned = Cell("power", "canaries", "gtsrb", 0.0, 0)
    further = Cell("power", "canaries", "gtsrb", 0.0, 7)
    others = [
        Cell("power", "canaries", "cifar10", 0.0, 7),
        Cell("power", "canaries", "gtsrb", 0.0, 7, records=900),
    ]
    summary = _summary([planned], [power_entry(cell, [True]) for cell in (planned, further, *others)])
    assert summary["power"][-1]["trials"] == 2
    assert summary["seeds"] == [0]


def test_power() -> None:
    cells = [Cell("power", "canaries", "gtsrb", 0.0, seed) for seed in range(2)]
    summary = _summary(cells, [power_entry(cells[0], [True, None]), power_entry(cells[1], [False])])
    total = summary["power"][-1]
    assert (total["pack"], total["trials"], total["found"], total["unstated"]) == ("all", 2, 1, 1)
    assert _target(summary, "power")["state"] == "missed"


def test_nothing_measured() -> None:
    summary = _summary(_cells(), [])
    assert summary["attacks"][0]["tpr"] is None
    assert {row["state"] for row in summary["targets"]} == {"not measured"}
