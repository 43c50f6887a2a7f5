from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import bezoar.inspect
import bezoar.models.opening
from bezoar.data.dataset import Dataset
from bezoar.errors import InputError
from bezoar.inspect.result import InspectionResult, Severity, Status, Verdict
from cli.support import Cli, image_folder
from report.inspection_builders import backdoor, inspection, shortcut


@dataclass
class Seen:
    """What reached the library."""

    path: Path | None = None
    opening: dict[str, Any] | None = None
    data: Dataset | None = None
    options: dict[str, Any] | None = None


@dataclass
class FakeModel:
    path: Path
    n_classes: int = 4
    class_names: tuple[str, ...] | None = None


RESULTS = {
    "clean": inspection(),
    "shortcut only": inspection((shortcut(),)),
    "review only": inspection((backdoor(severity=Severity.REVIEW),)),
    "backdoored": inspection((backdoor(), shortcut())),
    "undecided": inspection(status=Status.UNDECIDED),
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Models open without a file, and inspections find nothing."""
    seen = Seen()

    def open_model(path: Path, **options: Any) -> FakeModel:
        seen.path, seen.opening = path, options
        return FakeModel(path)

    monkeypatch.setitem(vars(bezoar.models.opening), "open_model", open_model)
    monkeypatch.setitem(vars(bezoar.inspect), "inspect", finds("clean", seen))
    return seen


def finds(name: str, seen: Seen) -> Callable[..., InspectionResult]:
    """An inspection that finds what it is told to: the command line is tested apart from the engine."""

    def inspect(model: FakeModel, data: Dataset | None, *, alpha: float, **options: Any) -> InspectionResult:
        seen.data, seen.options = data, options | {"alpha": alpha}
        found = RESULTS[name]
        verdict = Verdict(found.verdict.status, alpha, found.verdict.p_value, found.verdict.summary)
        values = {field: getattr(found, field) for field in vars(found)}
        return InspectionResult(**values | {"path": str(model.path), "verdict": verdict})

    return inspect


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
@pytest.mark.parametrize(
    ("name", "code", "strict"),
    [
        ("clean", 0, 0),
        ("shortcut only", 0, 0),
        ("review only", 0, 0),
        ("backdoored", 1, 1),
        ("undecided", 0, 3),
    ],
)
def test_exit_codes_do_not_depend_on_the_form(
    cli: Cli, seen: Seen, monkeypatch: pytest.MonkeyPatch, form: str, name: str, code: int, strict: int
) -> None:
    monkeypatch.setitem(vars(bezoar.inspect), "inspect", finds(name, seen))
    assert cli("inspect", "m.onnx", "--format", form).code == code
    assert cli("inspect", "m.onnx", "--format", form, "--strict").code == strict


def test_every_form_says_the_same(cli: Cli, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(bezoar.inspect), "inspect", finds("backdoored", seen))
    text = cli("inspect", "m.onnx", "--alpha", 0.05)
    assert text.out.startswith("BACKDOORED  m.onnx\n")
    assert "error level 5 %" in text.out
    assert not text.err
    document = json.loads(cli("inspect", "m.onnx", "--format", "json").out)
    assert document["schema"] == "bezoar-inspection-1"
    assert document["verdict"]["status"] == "backdoored"
    log = json.loads(cli("inspect", "m.onnx", "--format", "sarif").out)
    assert [row["level"] for row in log["runs"][0]["results"]] == ["error", "note"]


def test_options_reach_the_library(cli: Cli, seen: Seen) -> None:
    data = image_folder(Path("clean"))
    assert cli("inspect", "m.onnx").code == 0
    assert seen.path == Path("m.onnx")
    assert seen.opening == {"architecture": None, "n_classes": None, "trust_code": None, "preprocessing": {}}
    assert seen.data is None
    assert seen.options == {"classes": None, "images": None, "budget": None, "seed": 0, "alpha": 0.01}
    opening = ["--architecture", "timm:resnet18", "--n-classes", 4, "--trust-code", "mine:build"]
    feeding = ["--size", "32x48", "--channels", 3, "--mean", "0.5,0.4,0.3", "--std", 0.25, "--scale", 255]
    giving = ["--order", "bgr", "--outputs", "probabilities"]
    rest = ["--images", 100, "--budget", 30, "--seed", 7, "--alpha", 0.05, "--classes", "a, b,c,d"]
    assert cli("inspect", "m", "--data", data, *opening, *feeding, *giving, *rest).code == 0
    assert seen.opening == {
        "architecture": "timm:resnet18",
        "n_classes": 4,
        "trust_code": "mine:build",
        "preprocessing": {
            "size": "32x48",
            "channels": "3",
            "mean": "0.5,0.4,0.3",
            "std": "0.25",
            "scale": "255",
            "order": "bgr",
            "outputs": "probabilities",
        },
    }
    assert isinstance(seen.data, Dataset)
    assert seen.options == {
        "classes": ("a", "b", "c", "d"),
        "images": 100,
        "budget": 30.0,
        "seed": 7,
        "alpha": 0.05,
    }


def test_names_of_classes_come_from_a_file_or_the_command(cli: Cli, seen: Seen) -> None:
    Path("names.txt").write_text("Stop\nSpeed limit, 60\nÜber\n\x1b[31mred\n", encoding="utf-8")
    assert cli("inspect", "m", "--classes", "names.txt", "--architecture", "timm:resnet18").code == 0
    assert seen.options is not None
    assert seen.options["classes"] == ("Stop", "Speed limit, 60", "Über", "\x1b[31mred")
    assert seen.opening is not None
    assert seen.opening["n_classes"] == 4  # bare weights need not be told twice


def test_names_of_classes_that_make_no_sense(cli: Cli, seen: Seen) -> None:
    Path("latin").write_bytes(b"gr\xf6\xdfe\n")
    Path("twice").write_text("a\nb\na\nc\n")
    for given, code, words in (
        ("missing.txt", 2, "missing.txt: no such file"),
        ("a,b,c", 64, "--classes: 3 names, but m has 4 labels"),
        ("twice", 64, "--classes: 'a' is there twice"),
        ("latin", 2, "latin: not a text file in UTF-8"),
        (".", 2, ".: not an ordinary file"),
    ):
        outcome = cli("inspect", "m", "--classes", given)
        assert outcome.code == code, given
        assert words in outcome.error
    assert seen.options is None


def test_bad_options_are_refused_before_the_inspection(
    cli: Cli, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(bezoar.inspect), "inspect", None)
    for argv, code, words in (
        (["m", "--data", "missing"], 2, "missing: no such file or folder"),
        (["m", "--alpha", "0"], 64, "0"),
        (["m", "--budget", "0"], 64, "0"),
        (["m", "--images", "0"], 64, "0"),
        (["m", "--n-classes", "1"], 64, "1"),
        (["m", "--order", "grb"], 64, "'grb' is not one of 'rgb', 'bgr'"),
        ([""], 64, "the path is empty"),
        (["m", "--data", ""], 64, "the path is empty"),
        (["m", "--out", ""], 64, "the path is empty"),
    ):
        outcome = cli("inspect", *argv)
        assert outcome.code == code, argv
        assert words in outcome.error


def test_a_model_that_does_not_open_is_one_line(
    cli: Cli, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: Any) -> FakeModel:
        raise InputError(f"{path}: a raw pickle\x1b[2J could run code; save safetensors instead")

    monkeypatch.setitem(vars(bezoar.models.opening), "open_model", refuse)
    outcome = cli("inspect", "evil.pkl", "--out", "out")
    assert outcome.code == 2
    assert outcome.error == r"error: evil.pkl: a raw pickle\x1b[2J could run code; save safetensors instead"
    assert not Path("out").exists()


def test_writes_the_folder_and_says_where(cli: Cli, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(bezoar.inspect), "inspect", finds("backdoored", seen))
    outcome = cli("inspect", "m.onnx", "-o", "result")
    assert outcome.code == 1
    assert "Report: result/report.html" in outcome.out
    assert "Next: bezoar repair m.onnx --data /data/clean --inspection result OUT" in outcome.out
    assert sorted(path.name for path in Path("result").iterdir()) == [
        "inspection.json",
        "inspection.sarif",
        "report.html",
        "triggers.npz",
    ]
    other = cli("inspect", "m.onnx", "--out", "other", "--format", "json")
    assert json.loads(other.out)["verdict"]["status"] == "backdoored"
    assert other.err == "report: other/report.html\n"


def test_looks_at_the_output_path_before_it_opens(
    cli: Cli, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(bezoar.models.opening), "open_model", None)
    Path("there").mkdir()
    data = image_folder(Path("clean"))
    assert "exists already" in cli("inspect", "m", "-o", "there").error
    assert "no such folder" in cli("inspect", "m", "-o", "missing/there").error
    inside = cli("inspect", "there", "-o", "there/result")
    assert inside.code == 64
    assert "inside the model there" in inside.error
    assert "inside the dataset clean" in cli("inspect", "m", "--data", data, "-o", "clean/result").error
