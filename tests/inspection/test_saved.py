from __future__ import annotations

import dataclasses
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bezoar.errors import BezoarError, InputError, LimitError, OutputError
from bezoar.inspect.result import (
    Finding,
    InspectionResult,
    LabelReport,
    Picture,
    Severity,
    Status,
    Verdict,
)
from bezoar.inspect.saved import as_json, load, save
from bezoar.inspect.trigger import Trigger

NAMES = ("Stop", "Yield", "\x1b[2J\u202e<script>")


def _trigger(kind: str = "patch", channels: int = 3, seed: int = 0) -> Trigger:
    rng = np.random.default_rng(seed)
    pattern = rng.uniform(0, 1, (channels, 8, 9)).astype(np.float32)
    return Trigger(kind, pattern, rng.uniform(0, 1, (8, 9)).astype(np.float32))  # type: ignore[arg-type]


def _result() -> InspectionResult:
    picture = Picture(np.zeros((4, 4, 3), np.uint8), "mask")
    return InspectionResult(
        path="model.onnx",
        format="onnx",
        digest="ab" * 32,
        architecture=None,
        label_names=NAMES,
        preprocessing={"mean": (0.5, 0.5, 0.5), "channels": np.int64(3), "order": "rgb"},
        data="clean/",
        images=200,
        accuracy=0.93,
        seed=7,
        version="0.1",
        device="cpu",
        verdict=Verdict(Status.BACKDOORED, 0.05, 1e-9, "a backdoor", ("warps of half a pixel",)),
        labels=tuple(
            LabelReport(n, name, {"mask": -1.5 * n, "margin": math.nan}, 0.1 + n / 10)
            for n, name in enumerate(NAMES)
        ),
        findings=(
            Finding(
                "all-to-one",
                Severity.BACKDOOR,
                1,
                (),
                "title",
                "explanation",
                1e-9,
                trigger=_trigger(),
                success=0.99,
                control=0.01,
                tested=120,
                pictures=(picture,),
                details={"places": np.arange(3), "ratio": np.float32(0.5)},
            ),
            Finding("all-to-all", Severity.REVIEW, None, (0, 2), "t", "e", math.nan),
            Finding(
                "source-specific", Severity.BACKDOOR, 2, (0,), "t", "e", 0.01, trigger=_trigger("warp", 2, 1)
            ),
        ),
        seconds={"triage": 1.5},
        cpu_seconds={"triage": 1.4},
        notes=("the model's own preprocessing",),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(_result(), tmp_path / "inspection")
    return tmp_path / "inspection"


def test_comes_back_whole_but_for_its_pictures(folder: Path) -> None:
    result = _result()
    for path in (folder, folder / "inspection.json"):
        back = load(path)
        assert as_json(back) == as_json(result)
        assert [finding.pictures for finding in back.findings] == [(), (), ()]
        assert math.isnan(back.labels[0].statistics["margin"])
        for old, new in zip(result.findings, back.findings, strict=True):
            assert (old.trigger is None) == (new.trigger is None)
            if old.trigger is not None and new.trigger is not None:
                assert new.trigger.kind == old.trigger.kind
                np.testing.assert_array_equal(new.trigger.pattern, old.trigger.pattern)
                np.testing.assert_array_equal(new.trigger.mask, old.trigger.mask)


def test_equal_inspections_make_equal_files(folder: Path, tmp_path: Path) -> None:
    save(load(folder), tmp_path / "again")
    for name in ("inspection.json", "triggers.npz"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_json_holds_json_types_only() -> None:
    document = as_json(_result())
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["findings"][1]["p_value"] is None
    assert document["findings"][0]["details"] == {"places": [0, 1, 2], "ratio": 0.5}


def test_never_overwrites_and_leaves_nothing_half_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        save(_result(), folder)
    unfit = dataclasses.replace(_result(), preprocessing={"what": object()})
    with pytest.raises(TypeError):
        save(unfit, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["inspection"]


def _edit(change: Callable[[Any], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        path = folder / "inspection.json"
        document = json.loads(path.read_bytes())
        change(document)
        path.write_text(json.dumps(document))

    return edit


def _set(*keys: Any) -> Callable[[Path], object]:
    """Change the value at keys[:-1] of the document to keys[-1]."""

    def change(document: Any) -> None:
        for key in keys[:-2]:
            document = document[key]
        document[keys[-2]] = keys[-1]

    return _edit(change)


def _arrays(**changes: Any) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        with np.load(folder / "triggers.npz") as stored:
            arrays = {**stored, **changes}
        np.savez(folder / "triggers.npz", **{k: v for k, v in arrays.items() if v is not None})

    return edit


def _compressed(folder: Path) -> None:
    with np.load(folder / "triggers.npz") as stored:
        arrays = dict(stored)
    np.savez_compressed(folder / "triggers.npz", **arrays)


def _huge_header(folder: Path) -> None:
    """A member whose header promises more than any machine holds."""
    _header(folder, b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000), }")


def _header(folder: Path, header: bytes) -> None:
    with zipfile.ZipFile(folder / "triggers.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["pattern_0.npy"] = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(folder / "triggers.npz", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def _pickled(folder: Path) -> None:
    _arrays(pattern_0=np.array([[[print]]], object))(folder)


BROKEN: dict[str, Callable[[Path], object]] = {
    "no document": lambda folder: (folder / "inspection.json").unlink(),
    "no triggers": lambda folder: (folder / "triggers.npz").unlink(),
    "not JSON": lambda folder: (folder / "inspection.json").write_bytes(b"\xff{"),
    "deep JSON": lambda folder: (folder / "inspection.json").write_text('{"a":' + "[" * 200_000),
    "deep details": _set("findings", 0, "details", {"a": json.loads("[" * 50 + "]" * 50)}),
    "a list": lambda folder: (folder / "inspection.json").write_text("[1]"),
    "another version": _set("schema", "bezoar-inspection-2"),
    "no schema": _set("schema", None),
    "no model": _edit(lambda document: document.pop("model")),
    "unknown status": _set("verdict", "status", "fine"),
    "unknown severity": _set("findings", 0, "severity", "none"),
    "target beyond the labels": _set("findings", 0, "target", 3),
    "negative source": _set("findings", 1, "sources", [-1]),
    "a label that is true": _set("labels", 0, "label", True),
    "success above 1": _set("findings", 0, "success", 1.5),
    "text for a number": _set("seconds", "triage", "\x1b[31m"),
    "a number beyond floats": _set("seconds", "triage", 10**400),
    "label names of numbers": _set("label_names", [1, 2, 3]),
    "finding that is a text": _set("findings", 0, "x"),
    "unknown trigger": _set("findings", 0, "trigger", "kind", "pickle"),
    "a trigger's shape in text": _set("findings", 0, "trigger", "shape", "389"),
    "a huge trigger": _set("findings", 0, "trigger", "shape", [3, 10**9, 10**9]),
    "another shape": _set("findings", 0, "trigger", "shape", [3, 9, 8]),
    "a trigger too many": _set("findings", 1, "trigger", {"kind": "patch", "shape": [3, 8, 9]}),
    "a trigger too few": _set("findings", 0, "trigger", None),
    "not a zip": lambda folder: (folder / "triggers.npz").write_bytes(b"PK" * 50),
    "empty": lambda folder: (folder / "triggers.npz").write_bytes(b""),
    "array missing": _arrays(mask_0=None),
    "array too many": _arrays(other=np.zeros(3, np.float32)),
    "other dtype": _arrays(mask_0=np.zeros((8, 9), np.float64)),
    "NaN": _arrays(pattern_0=np.full((3, 8, 9), np.nan, np.float32)),
    "mask above 1": _arrays(mask_0=np.full((8, 9), 2, np.float32)),
    "compressed": _compressed,
    "huge header": _huge_header,
    "nested header": lambda folder: _header(folder, b"-" * 9000 + b"1"),
    "open header": lambda folder: _header(folder, b"(" * 9000),
    "pickle": _pickled,
}


@pytest.mark.parametrize("how", BROKEN)
def test_hostile_files_get_one_clear_line(folder: Path, how: str) -> None:
    BROKEN[how](folder)
    with pytest.raises(InputError) as caught:
        load(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert message.isprintable()
    assert len(message) < 600


def test_damage_anywhere_is_an_input_error_or_harmless(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("inspection.json", "triggers.npz"):
        whole = (folder / name).read_bytes()
        for _ in range(150):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), 3):
                data[place] = rng.integers(0, 256)
            (folder / name).write_bytes(
                data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data
            )
            try:
                back = load(folder)
            except BezoarError as error:
                assert isinstance(error, InputError)  # noqa: PT017 - most damage is, some is not seen
            else:
                json.dumps(as_json(back), allow_nan=False)
        (folder / name).write_bytes(whole)


def test_a_document_beyond_the_cap_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bezoar.inspect.saved._MAX_DOCUMENT", 1000)
    with pytest.raises(LimitError, match="larger than 1,000 bytes"):
        load(folder)
