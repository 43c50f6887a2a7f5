"""Weights for architectures of timm and torchvision, and folders of Hugging Face, made by these libraries themselves."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import warnings

import pytest

from bezoar.errors import InputError, LimitError, MissingExtraError, UsageError

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from bezoar.models.opening import open_model  # noqa: E402

SIZE, K = 32, 4


@pytest.fixture
def library(torchvision_operators):
    """Imports a library, or skips."""

    def load(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return importlib.import_module(name)
            except ImportError:
                pytest.skip(f"{name} is not installed")

    return load


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def images(n=3, size=SIZE):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def quietly(function, *arguments, **options):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def check(model, module, tmp_path, **options):
    """The opened model gives what the library's gives on images normalised as it says, and is saved and opened again."""
    p, x = model.preprocessing, images(size=model.preprocessing.height)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (p.mean, p.std))
    y = quietly(module.eval(), (x - mean) / std)
    y = getattr(y, "logits", y)
    torch.testing.assert_close(quietly(model.network(), x), y, rtol=1e-4, atol=1e-4)
    trained = model.trainable()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.05)
    model.save(trained, tmp_path / "saved")
    again = open_model(tmp_path / "saved", **options)
    assert (again.format, again.class_names) == (model.format, model.class_names)
    torch.testing.assert_close(quietly(again.network(), x), quietly(trained, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet10t", {}),
        ("vit_tiny_patch16_224", {"img_size": SIZE, "depth": 2}),
        ("mobilenetv3_small_050", {}),
    ],
)
def test_timm(tmp_path, library, name, options):
    timm = library("timm")
    module = timm.create_model(name, num_classes=K, **options)
    torch.save(module.state_dict(), tmp_path / "m.pt")
    query = "&".join(f"{key}={value}" for key, value in options.items())
    architecture = f"timm:{name}" + (f"?{query}" if query else "")
    given = {"architecture": architecture, "preprocessing": {"size": SIZE}}
    model = open_model(tmp_path / "m.pt", **given)
    assert (model.format, model.n_classes, model.architecture) == ("state-dict", K, architecture)
    assert model.preprocessing.origins["mean"] == "model"
    check(model, module, tmp_path, **given)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small"])
def test_torchvision(tmp_path, library, name):
    models = library("torchvision.models")
    safetensors = library("safetensors.torch")
    module = quietly(models.get_model, name, weights=None, num_classes=K)
    safetensors.save_file(module.state_dict(), tmp_path / "m")
    given = {"architecture": f"torchvision:{name}", "preprocessing": {"size": 64}}
    model = open_model(tmp_path / "m", **given)
    assert (model.format, model.n_classes) == ("safetensors", K)
    check(model, module, tmp_path, **given)


def test_another_architecture_is_one_line(tmp_path, library):
    library("timm")
    module = library("torchvision.models").resnet18(num_classes=K)
    torch.save(module.state_dict(), tmp_path / "m.pt")
    with pytest.raises(InputError, match=r"is not timm:resnet34: the file lacks 'layer1.2.*more"):
        open_model(tmp_path / "m.pt", architecture="timm:resnet34")
    with pytest.raises(InputError, match=r"'conv1\.weight' has shape \(64, 3, 7, 7\)"):
        open_model(tmp_path / "m.pt", architecture="timm:resnet18?in_chans=1")
    with pytest.raises(UsageError, match="timm has no model"):
        open_model(tmp_path / "m.pt", architecture="timm:resnet")
    with pytest.raises(UsageError, match="no classifier"):
        open_model(tmp_path / "m.pt", architecture="torchvision:fcn_resnet50")
    with pytest.raises(InputError, match="cannot be built"):
        open_model(tmp_path / "m.pt", architecture="timm:resnet18?nonsense=1")


def test_an_architecture_that_is_not_installed(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(2, 2)}, tmp_path / "m.pt")
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"bezoar\[timm\]"):
        open_model(tmp_path / "m.pt", architecture="timm:resnet18")


# Hugging Face


def transformer(transformers, kind):
    """A small classifier of transformers."""
    size = {"image_size": SIZE, "num_labels": K, "id2label": {i: f"class {i}" for i in range(K)}}
    tokens = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "patch_size": 8,
    }
    configs = {
        "vit": lambda: transformers.ViTConfig(**size, **tokens),
        "beit": lambda: transformers.BeitConfig(**size, **tokens),
        "swin": lambda: transformers.SwinConfig(
            **size, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
        ),
        "resnet": lambda: transformers.ResNetConfig(
            **size, embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic"
        ),
    }
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return quietly(transformers.AutoModelForImageClassification.from_config, configs[kind]())


def saved(module, path, **options):
    from transformers.utils import logging

    logging.disable_progress_bar()
    quietly(module.save_pretrained, path, **options)
    processor = {
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_center_crop": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
    }
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


@pytest.mark.parametrize("kind", ["vit", "beit", "swin", "resnet"])
def test_a_folder_of_transformers(tmp_path, library, kind):
    module = transformer(library("transformers"), kind)
    model = open_model(saved(module, tmp_path / "m"))
    assert (model.format, model.n_classes, model.architecture) == ("hf", K, f"transformers:{kind}")
    assert model.class_names == tuple(f"class {i}" for i in range(K))
    assert model.preprocessing.mean == (0.5, 0.4, 0.3)
    assert model.preprocessing.origins["mean"] == "model"
    check(model, module, tmp_path)


def test_shards_are_written_as_they_were(tmp_path, library):
    module = transformer(library("transformers"), "vit")
    folder = saved(module, tmp_path / "m", max_shard_size="8KB")
    shards = {path.name for path in folder.glob("*.safetensors")}
    assert len(shards) > 1
    model = open_model(folder)
    check(model, module, tmp_path)
    assert {path.name for path in (tmp_path / "saved").glob("*.safetensors")} == shards
    assert len({open_model(path).digest for path in (folder, tmp_path / "saved")}) == 2


def test_a_folder_of_timm(tmp_path, library):
    timm, safetensors = library("timm"), library("safetensors.torch")
    module = timm.create_model("resnet10t", num_classes=K)
    from timm.models import save_for_hf

    quietly(
        save_for_hf,
        module,
        tmp_path / "m",
        model_config={"label_names": list("abcd")},
        safe_serialization=True,
    )
    assert safetensors
    model = open_model(tmp_path / "m", preprocessing={"size": SIZE})
    assert (model.architecture, model.class_names) == ("timm:resnet10t", ("a", "b", "c", "d"))
    check(model, module, tmp_path, preprocessing={"size": SIZE})


def test_code_in_a_folder_is_not_run_and_not_passed_on(tmp_path, library, canary):
    folder = saved(transformer(library("transformers"), "vit"), tmp_path / "m")
    (folder / "modeling_evil.py").write_text(f"open({str(canary)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoModelForImageClassification": "modeling_evil.Evil",
        "AutoConfig": "modeling_evil.Evil",
    }
    (folder / "config.json").write_text(json.dumps(config))
    model = open_model(folder)
    model.save(model.trainable(), tmp_path / "saved")
    assert not (tmp_path / "saved" / "modeling_evil.py").exists()
    assert "auto_map" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    config["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="no image classifier of transformers"):
        open_model(folder)


def changed(folder, target, **settings):
    shutil.copytree(folder, target)
    config = json.loads((folder / "config.json").read_text()) | settings
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_configurations_that_do_not_fit_or_are_too_large(tmp_path, library):
    folder = saved(transformer(library("transformers"), "vit"), tmp_path / "m")
    for i, (settings, kind, message) in enumerate(
        [
            ({"hidden_size": 100_000}, LimitError, "of memory"),
            ({"num_hidden_layers": 500_000}, LimitError, "layers|of memory"),
            ({"num_labels": 10**9, "id2label": None}, LimitError, "1,000,000,000"),
            ({"num_hidden_layers": 2}, InputError, "the file lacks"),
            ({"intermediate_size": 64}, InputError, "of other shape"),
            ({"hidden_size": "x"}, InputError, r"config\.json is wrong|cannot be built"),
            ({"architectures": ["ViTModel"]}, InputError, "no image classifier"),
            ({"num_attention_heads": 0}, InputError, r"config\.json is wrong|cannot be built"),
        ]
    ):
        with pytest.raises(kind, match=message) as caught:
            open_model(changed(folder, tmp_path / str(i), **settings))
        assert "\n" not in str(caught.value)


def test_truncated_shards(tmp_path, library):
    folder = saved(transformer(library("transformers"), "vit"), tmp_path / "m")
    size = (folder / "model.safetensors").stat().st_size
    for length in (size - 1, size // 2, 100, 0):
        os.truncate(folder / "model.safetensors", length)
        with pytest.raises(InputError, match=r"truncated|damaged|JSON"):
            open_model(folder)
