from __future__ import annotations

from pathlib import Path

import numpy as np

from bezoar.report import to_terminal
from bezoar.scan.result import Severity, Status, Unreadable
from report.builders import scan_result, trigger_finding


def test_says_what_was_found_and_what_to_do() -> None:
    findings = (trigger_finding(np.arange(0, 30, 3)),)
    text = to_terminal(scan_result(findings, unreadable=(Unreadable(1, "x"),)), saved=Path("my scan"))
    assert text.startswith("POISONED  /data/signs.parquet\n")
    for words in (
        "10 of 60 records flagged",
        "1 record unreadable",
        "A 3x3 pattern repeats",
        "Speed limit (60km/h) ← Stop",
        "p = 2.1 × 10⁻⁹",
        "Would have noticed:\n  3x3 patch at one place  from 0.1 %\n  feature collision       at no rate that was tried\n",
        "depth deep (patterns, neighbours)",
        "trusted sample /data/clean",
        "Report: my scan/report.html",
        "Next: bezoar clean /data/signs.parquet --scan 'my scan' CLEANED",
    ):
        assert words in text, words


def test_the_other_verdicts() -> None:
    clean = to_terminal(scan_result())
    assert clean.startswith("CLEAN  ")
    assert "Next:" not in clean
    assert to_terminal(scan_result(status=Status.UNDECIDED)).startswith("UNDECIDED  ")


def test_untrusted_text_is_inert() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[bold red]x[/][link=http://x]\u202e"
    finding = trigger_finding(np.array([0]), title=hostile, target=0, origins=(1,))
    result = scan_result((finding,), labels=(hostile, hostile, "c"), path=hostile, summary=hostile)
    text = to_terminal(result, width=140)
    assert not set(text) & {"\x1b", "\x07", "\u202e"}
    assert "[bold red]x[/]" in text
    coloured = to_terminal(result, width=140, colour=True)
    assert "\x1b[2J" not in coloured
    assert "\x1b]" not in coloured


def test_width_and_colour() -> None:
    result = scan_result((trigger_finding(np.array([0]), title="many words " * 30),))
    table = to_terminal(result, width=70).split("Would have noticed")[0]
    assert max(map(len, table.splitlines())) <= 70
    assert "\x1b" not in table
    assert "\x1b[1;31mPOISONED" in to_terminal(result, colour=True)


def test_long_lists_are_cut() -> None:
    findings = tuple(trigger_finding(np.array([n]), severity=Severity.REVIEW) for n in range(30))
    text = to_terminal(scan_result(findings))
    assert text.count("A 3x3 pattern") == 20
    assert "10 further findings not shown" in text
