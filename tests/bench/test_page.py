from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.support import attack_entry, clean_entry, power_entry
from bezoar.bench.page import read_tried, to_markdown
from bezoar.bench.plan import Cell
from bezoar.bench.store import Entry
from bezoar.bench.summary import summarise
from bezoar.bench.table import to_terminal
from bezoar.errors import InputError

ROOT = Path(__file__).parents[2]
HOSTILE = "<script>x</script>|`**\x1b[31m"


def _summary(words: str = "patch") -> dict[str, Any]:
    attacks = [
        Cell("attack", name, "gtsrb", rate, 0)
        for name in ("badnets", "sig", "wanet", "tact")
        for rate in (0.01, 0.05)
    ]
    clean = Cell("clean", "subsample", "gtsrb", 0.0, 0)
    power = Cell("power", "canaries", "gtsrb", 0.0, 0)
    known = [
        attack_entry(attacks[0], words),
        attack_entry(attacks[2], took=False, machine=words),
        Entry(attacks[4].key, "1", attacks[4].fields(), {"status": "impossible", "reason": words}),
        clean_entry(clean),
        power_entry(power, [True], words),
    ]
    return summarise([*attacks, clean, power], {entry.key: entry for entry in known})


def test_every_kind_of_cell_is_shown() -> None:
    page = to_markdown(_summary(), {})
    assert '<td class="t9">90<small>1 of 1</small></td>' in page
    assert '<td class="not-taken"' in page
    assert '<td class="none" title="not measured, or in part"></td>' in page
    assert "no room for" in page
    assert "**The matrix is not complete**" in page


@pytest.mark.parametrize(
    ("measured", "shown"),
    [
        (1, '<td class="none" title="not measured, or in part"><small>0 of 1</small></td>'),
        (3, "0 of 3</small>"),
    ],
)
def test_a_group_is_hatched_when_nothing_is_left_to_measure(measured: int, shown: str) -> None:
    cells = [Cell("attack", "badnets", "gtsrb", rate, seed) for rate in (0.01, 0.05) for seed in range(3)]
    done = [attack_entry(cell, took=False) for cell in cells[3 : 3 + measured]]
    page = to_markdown(summarise(cells, {entry.key: entry for entry in done}), {})
    assert page.count(shown) == 2  # at the rate that was measured, and at the lower one that follows from it
    assert page.count('<td class="not-taken" title') == (2 if measured == 3 else 0)


def test_the_newest_version_is_named() -> None:
    cells = [Cell("attack", "badnets", "gtsrb", 0.01, seed) for seed in range(3)]
    done = [attack_entry(cell, version) for cell, version in zip(cells, "bac", strict=True)]
    page = to_markdown(summarise(cells, {entry.key: entry for entry in done}), {})
    assert (
        "measured last, `c` (a hash of what a measurement depends on), measured 1 cell; 2 earlier versions"
        in page
    )


def test_the_same_input_gives_the_same_page() -> None:
    summary = json.loads(json.dumps(_summary()))
    assert to_markdown(summary, {}) == to_markdown(_summary(), {})


def test_hostile_words_are_inert() -> None:
    summary = _summary(HOSTILE)
    summary["packs"]["gtsrb"] = HOSTILE
    page = to_markdown(summary, {"badnets": HOSTILE})
    assert "<script" not in page
    assert "\x1b" not in page
    assert page.count("<style>") == 1
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) >= 3 for row in rows)
    assert "\x1b" not in to_terminal(summary)


def test_what_was_tried_stands_with_the_miss() -> None:
    page = to_markdown(_summary(), {"badnets": "Larger windows."})
    (row,) = [line for line in page.splitlines() if line.startswith("| BadNets, fixed place | TPR")]
    assert "**missed** | 1 | 1 of 2 |" in row
    assert row.endswith("Larger windows. |")
    assert "Larger windows" not in to_markdown({**_summary(), "targets": []}, {"badnets": "Larger windows."})


def test_another_document_is_refused() -> None:
    with pytest.raises(InputError, match="bench page"):
        to_markdown({"kind": "other"}, {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("badnets = 3", "quotation marks"),
        ("badnest = 'x'", "no target"),
        ("badnets = 'now 97 %'", "holds a figure"),
        ("badnets =", "no TOML"),
    ],
)
def test_notes_that_are_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "tried.toml"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        read_tried(path)


def test_no_notes(tmp_path: Path) -> None:
    assert read_tried(tmp_path / "none.toml") == {}


def test_the_page_in_the_documentation_is_the_one_that_the_results_give() -> None:
    summary = json.loads((ROOT / "benchmarks" / "results" / "scan_matrix.json").read_text())
    tried = read_tried(ROOT / "benchmarks" / "tried.toml")
    assert (ROOT / "docs" / "benchmark.md").read_text() == to_markdown(summary, tried)
