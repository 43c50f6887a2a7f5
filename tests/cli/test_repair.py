from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from torch import nn

import bezoar.inspect.repair
import bezoar.models.opening
from bezoar.data.dataset import Dataset
from bezoar.errors import UsageError
from bezoar.inspect.repair import Repaired, Unlearned
from bezoar.inspect.result import InspectionResult, Severity
from bezoar.report.inspection_folder import write_inspection
from bezoar.report.inspection_repair import repair_to_terminal
from cli.support import Cli, image_folder
from report.inspection_builders import backdoor, inspection, shortcut


class FakeModel:
    n_classes = 4
    class_names = None

    def save(self, trained: nn.Module, path: Path) -> None:
        path.write_bytes(b"weights")


def repaired(after: float = 0.004, title: str = "A small patch") -> Repaired:
    return Repaired(
        module=nn.Identity(),
        accuracy_before=0.975,
        accuracy_after=0.968,
        triggers=(Unlearned(title, 0.985, after),),
        rounds=2,
        unlearned=5,
        images=160,
        held_out=40,
        seconds=31.0,
        cpu_seconds=25.0,
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Models open without a file, and repairs work; what reached the library."""
    seen: dict[str, Any] = {}

    def open_model(path: Path, **options: Any) -> FakeModel:
        seen.update(path=path, opening=options)
        return FakeModel()

    def repair(model: FakeModel, data: Dataset, result: InspectionResult, **options: Any) -> Repaired:
        seen.update(data=data, result=result, options=options)
        return repaired()

    monkeypatch.setitem(vars(bezoar.models.opening), "open_model", open_model)
    monkeypatch.setattr(bezoar.inspect.repair, "repair", repair)
    return seen


@pytest.fixture
def clean(cli: Cli) -> Path:
    return image_folder(Path("clean"))


def saved(*findings: Any, **changes: Any) -> Path:
    write_inspection(inspection(findings or (backdoor(),), **changes), Path("inspection"))
    return Path("inspection")


def test_writes_the_model_and_says_what_it_cost(cli: Cli, seen: dict[str, Any], clean: Path) -> None:
    outcome = cli("repair", "m.onnx", "out.onnx", "--data", clean, "--inspection", saved())
    assert outcome.code == 0
    assert outcome.out.startswith("REPAIRED  /models/signs.onnx → out.onnx\n")
    for words in (
        "clean accuracy",
        "97.5 %",
        "96.8 %",
        "trigger works: A small patch",
        "98.5 %",
        "0.4 %",
        "160 images to train on, 40 held out · 5 triggers unlearned in 2 rounds · 31 s (25 s of CPU)",
        "Next: bezoar inspect out.onnx --data clean",
    ):
        assert words in " ".join(outcome.out.split()), words  # wherever lines end
    assert Path("out.onnx").read_bytes() == b"weights"
    assert not outcome.err


def test_json_fits_its_schema(cli: Cli, seen: dict[str, Any], clean: Path) -> None:
    outcome = cli("repair", "m", "out", "--data", clean, "--inspection", saved(), "--format", "json")
    document = json.loads(outcome.out)
    schema = json.loads((resources.files("bezoar.report") / "schema" / "repair-1.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert document["accuracy"] == {"before": 0.975, "after": 0.968}
    assert document["triggers"] == [{"title": "A small patch", "before": 0.985, "after": 0.004}]
    assert document["repaired"]["digest"] != document["model"]["digest"] == "ab" * 32


@pytest.mark.parametrize("findings", [(shortcut(),), (backdoor(severity=Severity.REVIEW),)])
def test_nothing_to_repair_exits_with_3(
    cli: Cli, seen: dict[str, Any], clean: Path, findings: tuple[Any, ...]
) -> None:
    outcome = cli("repair", "m", "out", "--data", clean, "--inspection", saved(*findings))
    assert outcome.code == 3
    assert outcome.out.startswith("nothing to repair: the inspection in inspection found no backdoor")
    assert not Path("out").exists()
    assert not seen


def test_what_was_said_to_the_inspection_need_not_be_said_again(
    cli: Cli, seen: dict[str, Any], clean: Path
) -> None:
    feeding = {
        "channels": 3,
        "height": 32,
        "width": 48,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.25, 0.25, 0.25],
        "scale": 255.0,
        "order": "bgr",
        "outputs": "logits",
        "origins": {
            "height": "option",
            "width": "option",
            "mean": "option",
            "std": "model",
            "order": "inferred",
        },
    }
    folder = saved(format="safetensors", architecture="timm:resnet18", preprocessing=feeding)
    argv = ["repair", "m", "out", "--data", clean, "--inspection", folder]
    assert cli(*argv, "--mean", "0", "--seed", 3, "--images", 50).code == 0
    assert seen["opening"] == {
        "architecture": "timm:resnet18",
        "n_classes": 4,
        "trust_code": None,
        "preprocessing": {"size": "32x48", "mean": "0"},
    }
    assert seen["options"]["classes"] == ("Stop", "Speed limit (60km/h)", "Yield", "No entry")
    assert (seen["options"]["seed"], seen["options"]["images"]) == (3, 50)


def test_no_code_is_trusted_by_what_a_file_says(cli: Cli, seen: dict[str, Any], clean: Path) -> None:
    folder = saved(
        format="safetensors",
        architecture="evil:run",
        names=("0", "1", "2", "3"),
        preprocessing={"origins": "x"},
    )
    assert cli("repair", "m", "out", "--data", clean, "--inspection", folder).code == 0
    assert seen["opening"] == {
        "architecture": None,
        "n_classes": None,
        "trust_code": None,
        "preprocessing": {},
    }
    assert seen["options"]["classes"] is None  # numbers are no names


def test_bad_calls_are_one_line_before_any_work(
    cli: Cli, seen: dict[str, Any], clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved()
    monkeypatch.setitem(vars(bezoar.models.opening), "open_model", None)
    Path("there").mkdir()
    for argv, code, words in (
        (["m", "there", "--data", clean, "--inspection", folder], 2, "there: exists already"),
        (["m", "no/out", "--data", clean, "--inspection", folder], 2, "no such folder"),
        (["m", "clean/out", "--data", clean, "--inspection", folder], 64, "inside the dataset clean"),
        (["there", "there/out", "--data", clean, "--inspection", folder], 64, "inside the model there"),
        (
            ["m", "out", "--data", clean, "--inspection", "missing"],
            2,
            "missing/inspection.json: no such file",
        ),
        (["m", "out", "--data", clean], 64, "--inspection"),
        (["m", "out", "--inspection", folder], 64, "--data"),
        (["m", "--data", clean, "--inspection", folder], 64, "OUT"),
    ):
        outcome = cli("repair", *argv)
        assert outcome.code == code, argv
        assert words in outcome.error
    assert not Path("out").exists()


def test_another_model_than_the_inspected_is_refused(
    cli: Cli, seen: dict[str, Any], clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Repaired:
        raise UsageError("m: is not the model that was inspected, or has changed; inspect it again")

    monkeypatch.setattr(bezoar.inspect.repair, "repair", refuse)
    outcome = cli("repair", "m", "out", "--data", clean, "--inspection", saved())
    assert outcome.code == 64
    assert "is not the model that was inspected" in outcome.error
    assert not Path("out").exists()


def test_a_trigger_that_still_works_is_said() -> None:
    text = repair_to_terminal(repaired(after=0.4), inspection(), Path("out"), data=Path("clean"))
    assert text.startswith("PARTLY REPAIRED  ")
    assert "The repair did not take out all of it." in text


def test_untrusted_text_is_inert() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[bold red]x[/]\u202e"
    text = repair_to_terminal(
        repaired(title=hostile), inspection(path=hostile), Path(hostile), data=Path(hostile), width=140
    )
    assert not set(text) & {"\x1b", "\x07", "\u202e"}
    assert "[bold red]x[/]" in text
