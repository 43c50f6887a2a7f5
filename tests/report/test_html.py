from __future__ import annotations

import re

import numpy as np
import pytest

from bezoar.report import to_html
from bezoar.scan.result import Example, Picture, ScanResult, Severity, Status, Unreadable
from report.builders import noise, picture, scan_result, source_finding, text_finding, trigger_finding
from report.page import Page, assert_asks_for_nothing, assert_inert, assert_well_formed

HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror=alert(1)>',
    "'-->]]></style></title><svg onload=alert(1)><img src=http://evil.invalid/pixel.png>",
    "{{ 7*7 }}{% raw %}",
    "javascript:alert(1)",
    "gpj.\u202eexe\u2066",
    "two\nlines\r\x00\x1b[31m",
    "x" * 10_000,
    "&lt;b&gt;&#x3c;",
)


def hostile_result() -> ScanResult:
    n = len(HOSTILE)
    finding = trigger_finding(
        np.arange(n),
        title=HOSTILE[0],
        explanation=HOSTILE[1] + HOSTILE[5],
        kind=HOSTILE[2],
        target=1,
        origins=tuple(range(n)),
        pictures=tuple(Picture(noise(), text) for text in HOSTILE),
        examples=tuple(Example(picture(text), (picture(text),), (picture(text),)) for text in HOSTILE),
        details={text: text for text in HOSTILE},
    )
    rows = [{"key": text, "label": text, "text": "a" + text, "mark": [1, 1 + len(text)]} for text in HOSTILE]
    texts = trigger_finding(np.arange(n), kind="repeated-ngram", details={"examples": rows})
    source = source_finding(np.arange(n), HOSTILE[2])
    return scan_result(
        (finding, texts, source),
        n=n,
        labels=HOSTILE,
        keys=list(HOSTILE),
        path="/data/" + HOSTILE[1] + "\udcff",
        summary=HOSTILE[2],
        unreadable=tuple(Unreadable(i, text) for i, text in enumerate(HOSTILE)),
    )


def test_says_what_was_found() -> None:
    page = Page(to_html(scan_result((trigger_finding(np.arange(0, 30, 3)),))))
    for words in (
        "Poisoned",
        "signs.parquet",
        "A 3x3 pattern repeats at one place",
        "p = 2.1 × 10⁻⁹",
        "Stop",
        "→ labelled",
        "Speed limit (60km/h)",
        "recovered trigger",
        "3x3 patch at one place",
        "0.1 %",
        "at no rate that was tried",
        "deep: patterns, neighbours",
        "/data/clean",
        "repeated_pattern",
        "ab" * 32,
        "row-00003.png",
        "bezoar clean /data/signs.parquet --scan",
    ):
        assert words in page.text, words


@pytest.mark.parametrize(
    ("status", "words"),
    [(Status.CLEAN, "Clean"), (Status.UNDECIDED, "Undecided"), (Status.POISONED, "Poisoned")],
)
def test_headline(status: Status, words: str) -> None:
    html = to_html(scan_result(status=status))
    assert f"<title>{words}: signs.parquet" in html
    assert f'class="verdict {status}"' in html


def test_severities_are_kept_apart() -> None:
    findings = tuple(
        trigger_finding(np.array([n]), severity=severity, title=f"title of {severity}")
        for n, severity in enumerate(Severity)
    )
    text = Page(to_html(scan_result(findings))).text
    parts = ["What was planted", "title of poison", "What a person should look at", "title of review"]
    parts += ["Natural anomalies", "title of natural"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_hostile_text_is_inert() -> None:
    html = to_html(hostile_result())
    page = Page(html)
    assert_inert(html)
    assert "<script>document.title" in page.text  # shown as words
    assert r"gpj.\u202eexe\u2066" in page.text
    assert r"two\nlines\r\x00\x1b[31m" in page.text
    assert "x" * 2_000 not in html


def test_texts_are_quoted_with_the_place_marked() -> None:
    long = "x" * 5000
    finding = text_finding(np.arange(2), [f"{long} the cf mn end {long}", "short"], [5005, 5010])
    html = to_html(scan_result((finding,)))
    page = Page(html)
    assert [tag for tag, _ in page.elements].count("blockquote") == 2
    assert "<mark><bdi>cf mn</bdi></mark>" in html
    assert html.count("<mark>") == 1  # beyond the end of the second text
    assert "labelled positive" in page.text
    assert "x" * 200 not in html
    assert "{'key'" not in page.text  # once, and not among the details again
    assert "cf mn" in page.text.split("Details")[1]


@pytest.mark.parametrize(
    "rows",
    [
        "text",
        [1, None, [], {}, {"text": 3}],
        [{"text": "ok", "mark": mark} for mark in ([3, 1], [-1, 2], ["0", 1], [0.0, 1], {}, "12", [0, 99])],
    ],
)
def test_malformed_excerpts_do_no_harm(rows: object) -> None:
    html = to_html(scan_result((trigger_finding(np.arange(2), details={"examples": rows}),)))
    assert "<mark>" not in html


def test_sources_have_a_table() -> None:
    html = to_html(scan_result((trigger_finding(np.arange(10)), source_finding(np.arange(9)))))
    text = Page(html).text
    assert re.search(r"Sources\s+These sources supplied more", text)
    assert re.search(r"evil\.example\s*9\s*planted records\s*0\.2\s*12", text)
    assert "These sources" not in Page(to_html(scan_result())).text


def test_one_is_not_a_plural() -> None:
    examples = (Example(picture("a")),) * 5
    one = trigger_finding(np.array([0]), target=0, examples=examples)
    text = Page(to_html(scan_result((one,), labels=("only",), unreadable=(Unreadable(1, "x"),)))).text
    assert not re.search(
        r"\b1 (?:other )?(?:more )?(?:records|classes|findings|examples|excerpts|pictures)\b", text
    )
    assert "1 more example" in text
    assert "in 1 class" in text


def test_makes_no_request() -> None:
    assert_asks_for_nothing(to_html(hostile_result()))
    plain = to_html(scan_result((trigger_finding(np.arange(9)),)))
    assert not re.search(r"https?://", plain)


def test_trigger_place_is_outlined_in_percent() -> None:
    shot = Picture(noise(), "x", mark=(8, 16, 24, 32))
    html = to_html(scan_result((trigger_finding(np.array([0]), examples=(Example(shot),)),)))
    assert "top:25.0%;left:50.0%;height:50.0%;width:50.0%" in html


def test_images_have_alternatives_and_sizes() -> None:
    page = Page(to_html(scan_result((trigger_finding(np.array([0])),))))
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 4
    assert all(image["alt"] and image["width"] and image["height"] for image in images)


def test_stays_under_ten_megabytes_and_says_what_is_left_out() -> None:
    shots = [picture(f"{seed}", seed, 256) for seed in range(8)]
    example = Example(shots[0], tuple(shots[:6]), tuple(shots[2:]))
    label = "label " * 2000
    rows = [{"key": label, "label": label, "text": '"' * 9000, "mark": [4000, 5000]}] * 30
    findings = tuple(
        trigger_finding(
            np.arange(60),
            severity=severity,
            title="t" * 10_000,
            explanation="e" * 100_000,
            pictures=tuple(shots),
            examples=(example,) * 30,
            details={"examples": rows} | {f"{label}{n}": label for n in range(100)},
        )
        for severity in (Severity.POISON, Severity.REVIEW)
        for _ in range(60)
    )
    labels = tuple(f"{label}{n}" for n in range(3000))
    result = scan_result(findings, labels=labels, n=3000, unreadable=(Unreadable(0, label),) * 3000)
    html = to_html(result)
    assert len(html.encode()) < 10_000_000
    assert re.search(r"[\d,]+ pictures left out", html)
    assert "20 further findings" in html


def test_the_page_is_well_formed() -> None:
    assert_well_formed(to_html(hostile_result()))
