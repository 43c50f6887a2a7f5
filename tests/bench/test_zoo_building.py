from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bezoar.bench.zoo.making import make, model_path, read_record, record_path
from bezoar.bench.zoo.recipes import SMOKE
from bezoar.bench.zoo.tasks import TASKS, Task
from bezoar.errors import InputError

torch = pytest.importorskip("torch")

from bezoar.bench.zoo.building import build, exported  # noqa: E402 - they load torch
from bezoar.bench.zoo.networks import ARCHITECTURES, network  # noqa: E402
from bezoar.bench.zoo.training import Schedule, predict, train  # noqa: E402

CLEAN, _, POISONED = SMOKE


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    for recipe in SMOKE:
        build(recipe, None, folder)
    return folder


def test_a_network_takes_any_number_of_images_in_the_unit_range(zoo: Path) -> None:
    module = torch.export.load(model_path(zoo, CLEAN.name)).module()
    task = TASKS["synthetic"]
    pixels, labels = task.samples(task.halves(None)[0])
    record = read_record(zoo, CLEAN)
    assert record is not None
    assert record["accuracy"] == pytest.approx(np.mean(predict(module, pixels) == labels), abs=1e-4)
    assert record["accuracy"] > 0.9
    one, many = (module(torch.zeros(n, 3, 20, 20)) for n in (1, 7))
    assert one.shape == (1, 4)
    torch.testing.assert_close(many, one.expand(7, -1))


def test_the_backdoor_takes_and_only_the_record_says_so(zoo: Path) -> None:
    record = read_record(zoo, POISONED)
    assert record is not None
    assert record["took"]
    assert record["success"] >= 0.5
    assert record["attack"] == "badnets"
    assert record["target"] == record["parameters"]["target"]
    assert {path.name for path in (zoo / "models").iterdir()} == {f"{recipe.name}.pt2" for recipe in SMOKE}
    for path in (zoo / "models").iterdir():
        assert b"badnets" not in path.read_bytes()


def test_the_same_recipe_gives_the_same_network(zoo: Path, tmp_path: Path) -> None:
    again = build(POISONED, None, tmp_path)
    before = read_record(zoo, POISONED)
    assert before is not None
    assert again | {"cpu_seconds": 0, "shape": None} == before | {"cpu_seconds": 0, "shape": None}
    weights = [torch.export.load(model_path(folder, POISONED.name)).state_dict for folder in (zoo, tmp_path)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_only_what_is_missing_is_built_and_a_failure_is_a_line(zoo: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    assert make(SMOKE, None, zoo, 1, lines.append) == []
    assert lines == []

    failures = make([replace(CLEAN, architecture="none")], None, tmp_path, 1, lines.append)
    assert [f"{CLEAN.name}: failed: KeyError: 'none'"] == lines
    assert failures == [f"{CLEAN.name}: KeyError: 'none'"]
    assert not record_path(tmp_path, CLEAN.name).exists()


def test_a_record_of_another_recipe_or_of_nothing_is_refused(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another model of that name"):
        read_record(zoo, replace(CLEAN, augmented=True))
    path = record_path(tmp_path, CLEAN.name)
    path.parent.mkdir()
    for content in ("{", "[]", "{}", "[" * 100_000, json.dumps({"name": CLEAN.name})):
        path.write_text(content)
        with pytest.raises(InputError, match="no record of a model"):
            read_record(tmp_path, CLEAN)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_learns_and_can_be_exported(architecture: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    pixels = np.clip(rng.normal(60 + 60 * labels[:, None, None, None], 20, (600, 28, 28, 1)), 0, 255).astype(
        np.uint8
    )
    module = train(architecture, pixels, labels, 3, Schedule(4, augmented=True, mirrored=True), seed=0)
    assert np.mean(predict(module, pixels) == labels) > 0.9
    assert exported(module, (1, 28, 28)).startswith(b"PK")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_normalise_by_themselves(architecture: str) -> None:
    module = network(architecture, (3, 32, 32), 5, [0.5, 0.4, 0.3], [0.2, 0.2, 0.2]).eval()
    images = torch.rand(2, 3, 32, 32)
    mean = torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)
    torch.testing.assert_close(module(images), module[1]((images - mean) / 0.2), atol=1e-4, rtol=1e-4)
    assert module(images).shape == (2, 5)


def test_grey_tasks_see_what_pillow_calls_grey() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    task = Task("t", "T", "fashion_mnist", 1, 1, {}, mirrored=False)
    wanted = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in pixels])[..., None]
    assert np.array_equal(task.fed(pixels), wanted)
    equal = np.repeat(pixels[..., :1], 3, axis=3)
    assert np.array_equal(task.fed(equal), pixels[..., :1])


def test_who_judges_and_who_inspects_share_no_record() -> None:
    judging, inspecting = TASKS["synthetic"].halves(None)
    assert not set(judging.keys.to_pylist()) & set(inspecting.keys.to_pylist())
    again = TASKS["synthetic"].halves(None)
    assert [half.digest for half in again] == [judging.digest, inspecting.digest]
