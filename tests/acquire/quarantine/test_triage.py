"""Triage: copies look the same after what the web does to them, others do not, and nothing hostile stops it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from acquire.quarantine.desk import held
from bezoar.acquire.quarantine.held import Held
from bezoar.acquire.quarantine.kinds import hex_lines, kind_of
from bezoar.acquire.quarantine.store import Cap, Quarantine
from bezoar.acquire.quarantine.triage import Looks, Triage, open_known, triage
from bezoar.demo.signs import render


def sign(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(render(int(rng.integers(0, 8)), rng, 96))


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def known(path: Path, copies: dict[str, bytes], by_url: bool = True) -> Path:
    """A dataset with these pictures by key."""
    columns = {"image": [{"bytes": content, "path": f"{key}.jpg"} for key, content in copies.items()]}
    if by_url:
        columns["url"] = [held(key, b"").url for key in copies]  # type: ignore[list-item]
    pq.write_table(pa.table({**columns, "label": [0] * len(copies)}), path)
    return path


def looks(folder: Path, came: dict[str, bytes], copies: dict[str, bytes], **how: bool) -> dict[str, Triage]:
    """What triage says of each key."""
    store = Quarantine.at(folder / "q")
    for key, content in came.items():
        store.put(held(key, content), content)
    dataset = known(folder / "known.parquet", copies, **how)
    entries = store.entries()
    found = triage(entries, store, open_known([dataset]))
    return {entry.key: found[entry.identity] for entry in entries}


@pytest.mark.parametrize("by_url", [True, False])
def test_copies_look_the_same_and_others_different(tmp_path: Path, by_url: bool) -> None:
    originals = {f"{number:09d}": sign(number) for number in range(24)}
    copies = {key: encoded(image, quality=95) for key, image in originals.items()}
    changes = (
        lambda image: encoded(image, quality=30),
        lambda image: encoded(image.resize((48, 48))),
        lambda image: encoded(image, "WEBP", quality=60),
        lambda image: encoded(image, "PNG"),
    )
    came, same = {}, set()
    for number, (key, image) in enumerate(originals.items()):
        change = changes[number % 4]
        same |= {key} if number < 16 else set()
        came[key] = change(image if number < 16 else sign(1000 + number))
    came["000000099"] = encoded(sign(5))  # of which there is no copy
    found = looks(tmp_path, came, copies, by_url=by_url)
    assert {key for key, each in found.items() if each.looks is Looks.SAME} == same
    assert {key for key, each in found.items() if each.looks is Looks.DIFFERENT} == set(originals) - same
    assert found["000000099"] == Triage(Looks.UNKNOWN, why="no known copy")
    assert all(each.distance is not None for key, each in found.items() if key != "000000099")


def test_a_copy_with_a_trigger_looks_the_same(tmp_path: Path) -> None:
    """Why nothing is ever released because of its looks."""
    image = sign(3)
    copy = encoded(image)
    image.paste((255, 255, 0), (84, 84, 94, 94))
    found = looks(
        tmp_path, {"000000001": encoded(image), "000000002": copy}, {"000000001": copy, "000000002": copy}
    )
    assert [each.looks for each in found.values()] == [Looks.SAME, Looks.SAME_BYTES]


def test_what_cannot_be_compared_is_unknown(tmp_path: Path) -> None:
    copy = encoded(sign(3))
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    came = {
        "000000001": b"<html>for sale</html>",
        "000000002": encoded(Image.new("RGB", (64, 64), "white")),
        "000000003": copy[: len(copy) // 2] + b"\xff\xd9",
        "000000004": bomb,
        "000000005": encoded(sign(4), "GIF"),
    }
    copies = {**dict.fromkeys(came, copy), "000000005": b"no picture"}
    found = looks(tmp_path, came, copies)
    assert {each.looks for key, each in found.items() if key != "000000003"} == {Looks.UNKNOWN}
    assert found["000000003"].looks is not Looks.SAME_BYTES
    assert "no contrast" in found["000000002"].why
    assert "pixels exceed" in found["000000004"].why
    assert "the known copy" in found["000000005"].why


def test_bytes_that_are_not_there_or_were_changed_are_unknown(tmp_path: Path) -> None:
    copy = encoded(sign(3))
    store = Quarantine.at(tmp_path / "q", Cap(object_bytes=len(copy)))
    large = encoded(sign(4), "PNG")
    for key, content in (("000000001", large), ("000000002", encoded(sign(5), quality=20))):
        store.put(held(key, content), content)
    (path,) = [path for path in (store.folder / "objects").rglob("*") if path.is_file()]
    dataset = open_known([known(tmp_path / "known.parquet", dict.fromkeys(("000000001", "000000002"), copy))])
    for damage in (lambda: path.write_bytes(b"x"), path.unlink):
        damage()
        found = triage(store.entries(), store, dataset)
        assert {each.looks for each in found.values()} == {Looks.UNKNOWN}
        assert "its bytes are not kept" in {each.why for each in found.values()}


def test_the_first_dataset_that_has_a_copy_counts(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    content = encoded(sign(1), quality=40)
    store.put(held("000000001", content), content)
    names = ("none", "same", "other")
    datasets = [
        known(tmp_path / f"{name}.parquet", copies)
        for name, copies in zip(
            names,
            ({"000000007": content}, {"000000001": encoded(sign(1))}, {"000000001": encoded(sign(2))}),
            strict=True,
        )
    ]
    (found,) = triage(store.entries(), store, open_known(datasets)).values()
    assert found.looks is Looks.SAME


def test_a_hostile_url_is_only_a_text(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    entry: Held = held("000000001", b"x", url="\ud800\x00'; drop")
    store.put(entry, b"x")
    (found,) = triage(
        store.entries(), store, open_known([known(tmp_path / "k.parquet", {"000000001": encoded(sign(1))})])
    ).values()
    assert found.why == "no known copy"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "nothing"),
        (b"\xff\xd8\xff\xe0", "JPEG image"),
        (b"\x89PNG\r\n\x1a\n", "PNG image"),
        (b"RIFF1234WEBP", "WebP image"),
        (b"1234ftypavif", "AVIF, HEIC or MP4 media"),
        (b"\n <!DOCTYPE html><p>", "HTML page"),
        (b"\xef\xbb\xbf<svg>", "SVG image"),
        (b"MZ\x90", "Windows program"),
        (b"this domain is for sale", "text"),
        ("für".encode() * 400, "text"),
        (b"\x00\x01\x02", "unknown data"),
        (b"\xc3\x28", "unknown data"),
        (b"esc\x1b[31m", "unknown data"),
    ],
)
def test_what_bytes_seem_to_be(content: bytes, kind: str) -> None:
    assert kind_of(content) == kind


def test_a_dump_shows_nothing_that_a_terminal_obeys() -> None:
    lines = hex_lines(bytes(range(256)) * 2, 40)
    assert len(lines) == 3
    assert lines[1].startswith("000010  10 11")
    assert all(line.isascii() and line.isprintable() for line in hex_lines(bytes(range(256)), 256))
