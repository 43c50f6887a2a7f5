"""`timm:` and `hf:` on local stand-ins: the hubs themselves cannot be reached from a test."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from bezoar.devices import torch_device
from bezoar.embed import resolve
from bezoar.errors import InputError, MissingExtraError

torch = pytest.importorskip("torch", reason="the extra torch is not installed")


@pytest.fixture
def transformers(monkeypatch, torchvision_operators):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("transformers", reason="the extra hf is not installed")


@pytest.fixture
def vit(transformers, tmp_path):
    """A tiny, randomly initialised vision transformer in a folder."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=32,
        patch_size=16,
    )
    folder = tmp_path / "vit"
    transformers.ViTModel(config).save_pretrained(folder)
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 32, "width": 32},
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.6, 0.7],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def test_hf_applies_the_models_own_normalisation(transformers, vit, blobs):
    encoder = resolve(f"hf:{vit}")
    assert (encoder.size, encoder.dim) == (32, 16)
    images = blobs(35)
    model = transformers.ViTModel.from_pretrained(vit).eval()
    given = (images / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.6, 0.7]
    with torch.no_grad():
        expected = model(torch.from_numpy(given.transpose(0, 3, 1, 2)).float()).pooler_output
    np.testing.assert_allclose(encoder.encode(images), expected.numpy(), atol=1e-5)
    assert encoder.fit(images, 0) is encoder


def test_hf_module_has_a_gradient(vit, blobs):
    encoder = resolve(f"hf:{vit}")
    images = blobs(3)
    given = torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255
    given.requires_grad_()
    features = encoder.torch_module()(given)
    np.testing.assert_allclose(features.detach().numpy(), encoder.encode(images), atol=1e-4)
    features.sum().backward()
    assert given.grad.abs().max() > 0


def test_the_copy_for_a_gpu_leaves_the_module_where_it_is(vit, blobs):
    encoder = resolve(f"hf:{vit}")
    copied = encoder._on_gpu
    assert copied is encoder._on_gpu
    assert copied is not encoder.torch_module()
    given = torch.from_numpy(blobs(2).transpose(0, 3, 1, 2)).float() / 255
    there = copied(given.to(torch_device())).cpu()
    here = encoder.torch_module()(given)
    assert here.device.type == "cpu"
    np.testing.assert_allclose(there.numpy(), here.numpy(), rtol=1e-2, atol=1e-3)


def test_hf_digest_follows_the_weights(transformers, vit):
    first = resolve(f"hf:{vit}").digest
    assert resolve(f"hf:{vit}").digest == first
    model = transformers.ViTModel.from_pretrained(vit)
    next(model.parameters()).data.add_(0.1)
    model.save_pretrained(vit)
    assert resolve(f"hf:{vit}").digest != first


def test_hf_refuses_pickled_weights(vit):
    weights = vit / "model.safetensors"
    torch.save({}, vit / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        resolve(f"hf:{vit}")


def test_hf_runs_no_code_from_the_model(vit):
    config = json.loads((vit / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (vit / "config.json").write_text(json.dumps(config))
    (vit / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InputError, match="cannot be loaded"):
        resolve(f"hf:{vit}")


@pytest.mark.parametrize("broken", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_hf_with_a_broken_file(vit, broken):
    (vit / broken).write_bytes(b"{broken")
    with pytest.raises(InputError, match="cannot be loaded"):
        resolve(f"hf:{vit}")


def test_hf_with_no_such_model(transformers, tmp_path):
    with pytest.raises(InputError, match="cannot be loaded"):
        resolve(f"hf:{tmp_path / 'none'}")


def test_hf_without_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"bezoar\[hf\]"):
        resolve("hf:any")


@pytest.fixture
def timm(monkeypatch):
    """A stand-in with timm's own signatures; it records what it was asked for."""
    asked = {}

    def create_model(name, pretrained, num_classes, pretrained_cfg_overlay):
        asked.update(name=name, pretrained=pretrained, num_classes=num_classes, **pretrained_cfg_overlay)
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.AdaptiveAvgPool2d(1))

    module, data, hub = ModuleType("timm"), ModuleType("timm.data"), ModuleType("huggingface_hub")
    module.create_model = create_model
    module.get_pretrained_cfg = lambda name: (
        SimpleNamespace(hf_hub_id="timm/tiny") if name == "tiny" else None
    )
    module.data = data
    data.resolve_model_data_config = lambda model: {
        "input_size": (3, 48, 48), "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)
    }  # fmt: skip
    hub.hf_hub_download = lambda repository, file: f"/hub/{repository}/{file}"
    for name, stand_in in (("timm", module), ("timm.data", data), ("huggingface_hub", hub)):
        monkeypatch.setitem(sys.modules, name, stand_in)
    return asked


def test_timm_takes_safetensors_and_no_classifier(timm, blobs):
    encoder = resolve("timm:tiny")
    assert timm == {
        "name": "tiny",
        "pretrained": True,
        "num_classes": 0,
        "file": "/hub/timm/tiny/model.safetensors",
        "custom_load": False,
    }
    assert (encoder.size, encoder.dim) == (48, 5)
    images = np.full((2, 48, 48, 3), 128, np.uint8)
    module = encoder.torch_module()
    given = torch.full((2, 3, 48, 48), 128 / 255)
    np.testing.assert_allclose(encoder.encode(images), module(given).numpy(), atol=1e-5)


def test_timm_with_no_such_model(timm):
    with pytest.raises(InputError, match="no pretrained timm model has this name"):
        resolve("timm:other")


def test_timm_without_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"bezoar\[timm\]"):
        resolve("timm:any")
