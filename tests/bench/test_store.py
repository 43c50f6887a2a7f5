from __future__ import annotations

from pathlib import Path

import pytest

from bench.support import attack_entry, clean_entry, power_entry, trained_entry
from bezoar.bench.plan import Cell
from bezoar.bench.store import Entry, appending, newest, read_entries, replace, trials
from bezoar.bench.version import trial_version
from bezoar.errors import InputError, OutputError

CELL = Cell("attack", "badnets", "gtsrb", 0.01, 0)


def _entry(version: str, status: str = "measured", key: str = CELL.key) -> Entry:
    if status == "measured" and key == CELL.key:
        return attack_entry(CELL, version)
    return Entry(key, version, CELL.fields(), {"status": status, "reason": "why"})


def _without(entry: Entry, name: str) -> Entry:
    kept = {key: value for key, value in entry.outcome.items() if key != name}
    return Entry(entry.key, entry.version, entry.cell, kept)


CLEAN = clean_entry(Cell("clean", "subsample", "gtsrb", 0.0, 0))
POWER = power_entry(Cell("power", "canaries", "gtsrb", 0.0, 0), [True, None])


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_entries(path) == []
    for version in ("1", "2"):
        with appending(path) as log:
            log.append(_entry(version))
    assert read_entries(path) == [_entry("1"), _entry("2")]


def test_a_torn_line_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(_entry("1").line() + _entry("2").line()[:20])
    assert read_entries(path) == [_entry("1")]
    with appending(path) as log:
        log.append(_entry("3"))
    assert [entry.version for entry in read_entries(path)] == ["1", "3"]


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with appending(path), pytest.raises(OutputError, match="another run"), appending(path):
        pass


def test_every_kind_of_cell_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    entries = [
        CLEAN,
        POWER,
        _entry("1"),
        _entry("1", "impossible"),
        _entry("1", "failed"),
        trained_entry(CELL),
    ]
    path.write_bytes(b"".join(entry.line() for entry in entries))
    assert read_entries(path) == entries


@pytest.mark.parametrize("content", [b'{"thesis": 1}', b"hello", b"\n[1, 2]"])
def test_a_file_that_is_no_log_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no log"):
        read_entries(path)
    with pytest.raises(InputError, match="is no log"), appending(path):
        pass
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"no json",
        b'{"key": 1}',
        _entry("1", "odd").line().strip(),
        _entry("1", key="another/cell").line().strip(),
        Entry(CELL.key, "1", {"pack": "gtsrb"}, {"status": "failed"}).line().strip(),
        _without(_entry("1"), "potency").line().strip(),
        attack_entry(CELL, potency={"took": True}).line().strip(),
        attack_entry(CELL, potency=3).line().strip(),
        attack_entry(CELL, seconds=None).line().strip(),
        _without(_entry("1", "impossible"), "reason").line().strip(),
        _without(trained_entry(CELL), "potency").line().strip(),
        _without(trained_entry(CELL), "attack").line().strip(),
        attack_entry(CELL, trial="t").line().strip(),  # a trial that nothing can be kept of
        attack_entry(CELL, potency={"took": True, "clean_accuracy": "x", "attack_success": 1}).line().strip(),
        Entry(CELL.key, "1", CELL.fields(), {"status": "failed", "potency": [1]}).line().strip(),
        Entry(CLEAN.key, "1", CLEAN.cell, trained_entry(CELL).outcome).line().strip(),
        _without(CLEAN, "verdict").line().strip(),
        _without(POWER, "canaries").line().strip(),
        _without(POWER, "seconds").line().strip(),
    ],
)
def test_what_is_no_measurement_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(_entry("1").line() + line + b"\n")
    with pytest.raises(InputError, match="line 2"):
        read_entries(path)


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"), appending(tmp_path / "none" / "log.jsonl"):
        pass


def test_newest_by_version_and_without_failures() -> None:
    entries = [_entry("1"), _entry("2"), _entry("2", "failed"), _entry("1", "impossible", "other")]
    assert newest(entries)[CELL.key].version == "2"
    assert newest(entries, "1")[CELL.key].version == "1"
    assert set(newest(entries, "2")) == {CELL.key}
    assert newest([_entry("2", "failed")]) == {}
    again = [attack_entry(CELL, "1"), CLEAN, attack_entry(CELL, "2")]
    assert list(newest(again)) == [CLEAN.key, CELL.key]  # as last written


def test_a_trial_that_waits_for_its_scan_replaces_nothing() -> None:
    scanned, waiting = attack_entry(CELL, "1"), trained_entry(CELL, "2", took=True)
    assert newest([scanned, waiting]) == {CELL.key: scanned}
    assert newest([waiting]) == {}
    assert newest([scanned, trained_entry(CELL, "2", took=False)])[CELL.key].version == "2"


def test_trials_are_of_one_version_of_what_poisons_and_trains() -> None:
    first, second = trained_entry(CELL, trial="a"), trained_entry(CELL, trial="b")
    assert trials([first, second, attack_entry(CELL)], {"badnets": "a"}.__getitem__) == {CELL.key: first}
    assert trials([attack_entry(CELL)], {"badnets": "a"}.__getitem__) == {}


def test_trials_of_a_setting_that_is_no_more_are_passed_over() -> None:
    gone = trained_entry(Cell("attack", "a-former-setting", "gtsrb", 0.01, 0))
    assert trials([gone], trial_version) == {}


def test_replace_writes_over_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    for content in (b"one", b"two"):
        replace(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
