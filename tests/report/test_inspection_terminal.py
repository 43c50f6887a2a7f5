from __future__ import annotations

import math
import re
from pathlib import Path

from bezoar.inspect.result import LabelReport, Status
from bezoar.report.inspection_terminal import inspection_to_terminal
from report.inspection_builders import backdoor, inspection, shortcut


def test_says_what_was_found_and_what_to_do() -> None:
    result = inspection((shortcut(), backdoor()), notes=("The images are fewer than usual.",))
    text = inspection_to_terminal(result, saved=Path("my inspection"), width=140)
    assert text.startswith("BACKDOORED  /models/signs.onnx\nOne label can be reached")
    for words in (
        "200 clean images (the model gets 97.5 % right) · 4 labels · onnx, 3 × 32 × 32",
        "error level 1 % · seed 0 · 7.3 s (12 s of CPU)",
        "note: The images are fewer than usual.",
        "BACKDOOR  A small patch turns every image into 'Speed limit (60km/h)'",
        "every label → Speed limit (60km/h) · p = 2.1 × 10⁻⁹",
        "flips 98.5 % of 200 held-out images; random patterns of equal size flip 1.2 %",
        "patch over 1.6 % of the image",
        "No entry → Yield · p = 0.03",
        "Limits:\n  triggers that are new for every image\n",
        "Report: my inspection/report.html",
        "Next: bezoar repair /models/signs.onnx --data /data/clean --inspection 'my inspection' OUT",
    ):
        assert words in text, words
    assert text.index("BACKDOOR  A small") < text.index("SHORTCUT  'No entry'")


def test_the_labels_come_most_suspicious_first() -> None:
    lines = inspection_to_terminal(inspection((backdoor(),))).splitlines()
    head = next(n for n, line in enumerate(lines) if "mask norm" in line)
    assert "maximum margin" in lines[head]
    assert lines[head + 2].split()[0] == "Speed"
    assert "× 10⁻¹⁰" in lines[head + 2]


def test_equal_significance_is_ordered_by_the_statistics() -> None:
    rows = tuple(
        LabelReport(label, f"label-{label}", {"a": a, "b": b}, 0.5)
        for label, (a, b) in enumerate([(3.0, 3.0), (math.nan, 1.0), (1.0, 2.0)])
    )
    text = inspection_to_terminal(inspection(names=("label-0", "label-1", "label-2"), labels=rows))
    assert re.findall(r"label-\d", text) == ["label-2", "label-1", "label-0"]


def test_of_a_thousand_labels_ten_are_shown() -> None:
    names = tuple(f"class {n}" for n in range(1000))
    text = inspection_to_terminal(inspection((backdoor(target=731),), names=names))
    rows = text.split("mask norm")[1]
    assert rows.count("class ") == 10
    assert "class 731" in rows
    assert "and 990 labels that stand out less" in text


def test_the_other_verdicts() -> None:
    clean = inspection_to_terminal(inspection())
    assert clean.startswith("CLEAN  ")
    assert "Next:" not in clean
    data_free = inspection(status=Status.UNDECIDED, data=None, images=0, accuracy=None)
    text = inspection_to_terminal(data_free)
    assert text.startswith("UNDECIDED  ")
    assert "no clean images" in text
    assert "inspect again with --out FOLDER" in inspection_to_terminal(inspection((backdoor(),)))


def test_untrusted_text_is_inert() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[bold red]x[/][link=http://x]\u202e"
    finding = backdoor(title=hostile, explanation=hostile, target=0, sources=(1,))
    result = inspection(
        (finding,),
        names=(hostile, hostile, "c"),
        path=hostile,
        summary=hostile,
        limits=(hostile,),
        notes=(hostile,),
        format=hostile,
        architecture=hostile,
        data=hostile,
        preprocessing={"channels": hostile, "height": hostile},
    )
    text = inspection_to_terminal(result, width=140)
    assert not set(text) & {"\x1b", "\x07", "\u202e"}
    assert "[bold red]x[/]" in text
    coloured = inspection_to_terminal(result, width=140, colour=True, saved=Path(hostile))
    assert "\x1b[2J" not in coloured
    assert "\x1b]" not in coloured


def test_width_and_colour() -> None:
    result = inspection((backdoor(title="many words " * 30),))
    table = inspection_to_terminal(result, width=70).split("Limits:")[0]
    assert max(map(len, table.splitlines())) <= 70
    assert "\x1b" not in table
    assert "\x1b[1;31mBACKDOORED" in inspection_to_terminal(result, colour=True)


def test_long_lists_are_cut() -> None:
    text = inspection_to_terminal(inspection((shortcut(),) * 30))
    assert text.count("SHORTCUT") == 10
    assert "20 further findings not shown" in text
