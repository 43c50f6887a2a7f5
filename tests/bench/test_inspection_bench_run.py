from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.support import inspection_entry
from bezoar.bench.inspection import Inspection
from bezoar.bench.inspection_run import calibrations, measured, plan, read, write_calibration
from bezoar.bench.store import Entry, appending
from bezoar.bench.zoo.making import record_path
from bezoar.bench.zoo.recipes import recipes
from bezoar.errors import InputError

pytest.importorskip("torch")


def test_every_test_model_is_inspected_twice_and_calibration_models_apart(tmp_path: Path) -> None:
    everything = recipes()
    planned = plan(everything, tmp_path, 0)
    tested = {recipe.name for recipe in everything if recipe.role == "test"}
    assert {each.key for each in planned} == {
        f"{mode}/{name}" for mode in ("data", "data-free") for name in tested
    }
    apart = calibrations(everything)
    assert not tested & {each.model for each in apart}
    assert len(apart) >= 22


def test_models_are_repaired_kind_by_kind_where_the_attack_took(tmp_path: Path) -> None:
    everything = recipes()
    backdoored = [recipe for recipe in everything if recipe.poison is not None]
    for n, recipe in enumerate(backdoored):
        path = record_path(tmp_path, recipe.name)
        path.parent.mkdir(exist_ok=True)
        record = {"classes": 10, "accuracy": 0.9, "took": n != 0}
        path.write_text(json.dumps(recipe.fields() | record))
    chosen = [each.model for each in plan(everything, tmp_path, 7) if each.mode == "repair"]
    kinds = {recipe.name: recipe.poison.setting.split("-")[0] for recipe in backdoored if recipe.poison}
    assert len(chosen) == 7
    assert backdoored[0].name not in chosen
    assert len({kinds[name] for name in chosen}) >= 6


def test_logs_of_something_else_are_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    good = inspection_entry("m")
    for changed in (
        Entry("data/another", good.version, good.cell, good.outcome),
        Entry(good.key, good.version, {"model": "m"}, good.outcome),
        Entry(good.key, good.version, good.cell, {"status": "measured"}),
        Entry(good.key, good.version, good.cell, {"status": "fine"}),
    ):
        log.write_bytes(changed.line())
        with pytest.raises(InputError, match="line 1: is no measurement"):
            read(log)
    log.write_bytes(good.line())
    assert read(log) == [good]


def test_only_figures_count_and_the_last_ones_do(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    failed = Entry("data/f", "1", Inspection("f", "data").fields(), {"status": "failed", "error": "x"})
    vain = Entry("repair/v", "1", Inspection("v", "repair").fields(), {"status": "impossible", "reason": "x"})
    with appending(log) as open_log:
        for entry in (inspection_entry("m", p_value=0.5), failed, vain, inspection_entry("m", p_value=0.25)):
            open_log.append(entry)
    done = measured(read(log))
    assert list(done) == ["data/m"]
    assert done["data/m"].outcome["p_value"] == 0.25


def test_calibration_is_written_from_calibration_models_alone(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    spread = {"patch": [0.1, -0.3, 0.2, 0.0, 0.5, -0.1, 0.4, -0.2, 0.3, None]}
    entries = [inspection_entry(f"k{n}", "calibration", statistics=spread) for n in range(3)]
    done = {entry.key: entry for entry in [*entries, inspection_entry("m")]}
    assert write_calibration(done, path) == 3
    assert json.loads(path.read_text())["models"] == 3
    with pytest.raises(InputError, match="nothing to calibrate with"):
        write_calibration({"data/m": done["data/m"]}, path)
