from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from bezoar.inspect.result import InspectionResult, LabelReport, Picture, Severity, Status
from bezoar.inspect.trigger import Trigger
from bezoar.report.inspection_html import inspection_to_html
from report.inspection_builders import backdoor, inspection, label_reports, pictures, shortcut, signs
from report.page import Page, assert_asks_for_nothing, assert_inert, assert_well_formed
from report.test_html import HOSTILE


def hostile_inspection() -> InspectionResult:
    findings = tuple(
        backdoor(
            title=text,
            explanation=text,
            kind=text,
            severity=severity,
            target=number % len(HOSTILE),
            sources=(number % len(HOSTILE),),
            pictures=pictures(caption=text),
            details={text: text},
        )
        for severity in Severity
        for number, text in enumerate(HOSTILE)
    )
    rows = [
        LabelReport(row.label, row.name, dict.fromkeys(HOSTILE, float(row.label)), row.p_value)
        for row in label_reports(HOSTILE, (1,))
    ]
    return inspection(
        findings,
        names=HOSTILE,
        path="/models/" + HOSTILE[1] + "\udcff",
        summary=HOSTILE[2],
        limits=HOSTILE,
        notes=HOSTILE,
        labels=tuple(rows),
        format=HOSTILE[0],
        digest=HOSTILE[1],
        architecture=HOSTILE[2],
        preprocessing=dict.fromkeys(HOSTILE, HOSTILE[0]) | {"origins": dict.fromkeys(HOSTILE, HOSTILE[1])},
        data=HOSTILE[5],
        device=HOSTILE[6],
        version=HOSTILE[6],
        seconds=dict.fromkeys(HOSTILE, 1.0),
        cpu_seconds=dict.fromkeys(HOSTILE, 1.0),
    )


def test_says_what_was_found() -> None:
    result = inspection((backdoor(), shortcut()), notes=("Only 12 images of label 'Yield' were given.",))
    page = Page(inspection_to_html(result, Path("my folder")))
    for words in (
        "Backdoored",
        "signs.onnx",
        "A small patch turns every image into 'Speed limit (60km/h)'",
        "p = 2.1 × 10⁻⁹",
        "patch over 1.6 % of the image",
        "Tried on 200 held-out images",
        "98.5 %",
        "Random patterns of equal size flip",
        "1.2 %",
        "mask",
        "pattern",
        "'No entry' and 'Yield' are nearly alike",
        "triggers that are new for every image",
        "Only 12 images of label 'Yield' were given.",
        "mean [0.49, 0.48, 0.45] (option)",
        "outputs logits (inferred)",
        "200 clean images (the model gets 97.5 % right)",
        "triage 3.2 s, evidence 4.1 s",
        "ab" * 32,
        "bezoar repair /models/signs.onnx --data /data/clean --inspection 'my folder' OUT",
    ):
        assert words in page.text, words


@pytest.mark.parametrize(
    ("status", "words"),
    [(Status.CLEAN, "Clean"), (Status.UNDECIDED, "Undecided"), (Status.BACKDOORED, "Backdoored")],
)
def test_headline(status: Status, words: str) -> None:
    html = inspection_to_html(inspection(status=status))
    assert f"<title>{words}: signs.onnx" in html
    assert f'class="verdict {status}"' in html
    assert ("bezoar repair" in html) == (status is Status.BACKDOORED)


def test_severities_are_kept_apart() -> None:
    findings = tuple(
        backdoor(severity=severity, title=f"title of {severity}") for severity in reversed(Severity)
    )
    text = Page(inspection_to_html(inspection(findings))).text
    parts = ["What was planted", "title of backdoor", "What a person should look at", "title of review"]
    parts += ["Classes that are nearly alike", "title of shortcut"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_hostile_text_is_inert() -> None:
    html = inspection_to_html(hostile_inspection(), Path("/x/" + HOSTILE[1]))
    page = Page(html)
    assert_inert(html)
    assert "<script>document.title" in page.text  # shown as words
    assert r"gpj.\u202eexe\u2066" in page.text
    assert "x" * 2_000 not in html


def test_makes_no_request() -> None:
    assert_asks_for_nothing(inspection_to_html(hostile_inspection()))
    assert not re.search(r"https?://", inspection_to_html(inspection((backdoor(),))))


def test_images_stand_beside_what_the_trigger_makes_of_them() -> None:
    html = inspection_to_html(inspection((backdoor(pictures=pictures(examples=3)),)))
    images = [attributes for tag, attributes in Page(html).elements if tag == "img"]
    assert len(images) == 8
    assert all(image["alt"] and image["width"] and image["height"] for image in images)
    pairs = re.findall(r"<li><figure>.*?</figure>.*?<figure>.*?</figure></li>", html, re.DOTALL)
    assert len(pairs) == 3
    assert all(pair.index("Stop") < pair.index("→") < pair.index("Speed limit") for pair in pairs)


@pytest.mark.parametrize("kind", ["patch", "shift", "warp"])
def test_every_kind_of_trigger_has_an_extent(kind: str) -> None:
    pattern = np.full((2 if kind == "warp" else 3, 32, 32), 0.5, np.float32)
    trigger = Trigger(kind, pattern, np.ones((32, 32), np.float32))  # type: ignore[arg-type]
    text = Page(inspection_to_html(inspection((backdoor(trigger=trigger),)))).text
    assert {"patch": "patch over", "shift": "change of every pixel by", "warp": "warp by"}[kind] in text


@pytest.mark.parametrize("K", [2, 43, 1000, 21_000])
def test_labels_are_drawn_and_the_most_suspicious_listed(K: int) -> None:
    names = tuple(f"class-{n:05d}" for n in range(K))
    html = inspection_to_html(inspection((backdoor(target=K // 2),), names=names))
    drawn = re.findall(r'<path class="(\w+)" d="(M[^"]*100V[^"]*)"', html)
    assert {severity: path.count("M") for severity, path in drawn if "h" in path} == {
        "other": K - 1,
        "backdoor": 1,
    }
    places = [float(y) for y in re.findall(r"[MVh ](-?[\d.]+)", " ".join(path for _, path in drawn))]
    assert min(places) >= 0
    assert max(places) <= 100.01
    first = html[html.index("<tbody>") : html.index("</tbody>")]
    assert first.count("<tr>") == min(K, 10)
    assert f"class-{K // 2:05d}" in first[: first.index("</tr>")]
    assert html.count("<tr>") == min(K, 100) + (2 if K > 10 else 1)
    assert (f"{K - 100:,} further labels" in html) == (K > 100)
    assert len(html) < 3_000_000


def test_a_significant_label_crosses_the_line_and_others_do_not() -> None:
    html = inspection_to_html(inspection((backdoor(),)))
    line = float(re.findall(r'class="threshold" x1="0" x2="100" y1="([\d.]+)"', html)[0])
    tops = {severity: re.findall(r"100V([\d.]+)h", path) for severity, path in _paths(html)}
    assert max(map(float, tops["backdoor"])) < line < min(map(float, tops["other"]))


def _paths(html: str) -> list[tuple[str, str]]:
    return [pair for pair in re.findall(r'<path class="(\w+)" d="([^"]+)"', html) if "h" in pair[1]]


@pytest.mark.parametrize(
    "labels",
    [
        (),
        (LabelReport(0, "a", {}, 1.0),),
        (LabelReport(0, "a", {"s": math.nan}, math.nan), LabelReport(1, "b", {"s": math.inf}, 0.0)),
        (LabelReport(0, "a", {"s": 1.0}, 0.5), LabelReport(1, "b", {"t": 1.0}, 1e-320)),
        (LabelReport(3, "d", {"s": 1.0}, 0.5),),
    ],
)
def test_figures_that_are_missing_do_no_harm(labels: tuple[LabelReport, ...]) -> None:
    html = inspection_to_html(inspection((shortcut(target=1, p_value=math.nan),), labels=labels))
    assert "nan" not in Page(html).text.replace("significan", "")
    assert ("<h2>Labels</h2>" in html) == bool(labels)


def test_without_data_or_names() -> None:
    result = inspection(
        (backdoor(success=None, control=None, tested=0, pictures=()),), data=None, images=0, accuracy=None
    )
    text = Page(inspection_to_html(result)).text
    assert "Tried on 2" not in text
    assert "What was recovered" not in text
    assert "no clean images" in text
    assert "--data CLEAN" in text


def test_labels_without_names_go_by_their_numbers() -> None:
    text = Page(inspection_to_html(inspection((backdoor(target=2),), names=("", "", "")))).text
    assert "every labelis taken for2" in text


def test_stays_small_and_says_what_is_left_out() -> None:
    generator = np.random.default_rng(0)
    noise = tuple(
        Picture(generator.integers(0, 256, (512, 512, 3), dtype=np.uint8), "c" * 10_000) for _ in range(40)
    )
    findings = tuple(
        backdoor(
            severity=severity,
            title="t" * 10_000,
            explanation="e" * 100_000,
            pictures=noise,
            details={f"{n}{'d' * 1000}": "v" * 9000 for n in range(200)},
        )
        for severity in (Severity.BACKDOOR, Severity.REVIEW)
        for _ in range(30)
    )
    names = tuple("label " * 2000 + str(n) for n in range(1000))
    html = inspection_to_html(inspection(findings, names=names, notes=("n" * 10_000,) * 100))
    assert len(html.encode()) < 5_000_000
    assert re.search(r"[\d,]+ pictures left out", html)
    assert html.count("10 further findings") == 2


def test_pictures_of_any_size_are_taken() -> None:
    shots = [Picture(signs(1, side)[0], "x") for side in (1, 28, 224, 300)]
    shots.append(Picture(np.zeros((0, 0, 3), np.uint8), "empty"))
    html = inspection_to_html(inspection((backdoor(pictures=tuple(shots)),)))
    assert len([tag for tag, _ in Page(html).elements if tag == "img"]) == 4  # the fifth has no pair


def test_the_page_is_well_formed() -> None:
    assert_well_formed(inspection_to_html(hostile_inspection()))
