from __future__ import annotations

import pytest

from bezoar.report import text


@pytest.mark.parametrize(
    ("raw", "visible"),
    [
        ("Stop", "Stop"),
        ("Über 60 km/h, 速度制限", "Über 60 km/h, 速度制限"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("lone \udc80 surrogate", r"lone \udc80 surrogate"),
        ("line\u2028separator", r"line\u2028separator"),
    ],
)
def test_shown_makes_hidden_characters_visible(raw: str, visible: str) -> None:
    assert text.shown(raw) == visible


def test_shown_cuts_the_middle_and_bounds_escapes() -> None:
    long = "folder/" + "x" * 10_000 + "/name.png"
    cut = text.shown(long, 60)
    assert len(cut) <= 61
    assert cut.startswith("folder/")
    assert cut.endswith("/name.png")
    assert len(text.shown("\u202e" * 10_000, 60)) <= 121


def test_shown_stops_piled_up_marks() -> None:
    assert "\u0301" * 4 not in text.shown("e" + "\u0301" * 50)


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0 %"), (1, "100 %"), (0.002, "0.2 %"), (0.01, "1 %"), (0.123456, "12.3 %"), (1e-9, "< 0.001 %")],
)
def test_percent(share: float, words: str) -> None:
    assert text.percent(share) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "not tested"), (0.0, "p < 10⁻³⁰⁰"), (0.034, "p = 0.034"), (2.1e-9, "p = 2.1 × 10⁻⁹")],
)
def test_p_value(value: float | None, words: str) -> None:
    assert text.p_value(value) == words


def test_counts_and_times() -> None:
    assert text.count(1, "record") == "1 record"
    assert text.count(12_345, "record") == "12,345 records"
    assert text.seconds(0.44) == "0.4 s"
    assert text.seconds(200) == "3 min 20 s"
