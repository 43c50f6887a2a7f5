"""`timm:NAME` and `hf:NAME`: pretrained vision models of timm and of Hugging Face transformers as encoders.

Weights come from the hub's cache or, where the libraries are allowed to, from the hub itself:
`HF_HUB_OFFLINE=1` keeps them off the network. Only safetensors weights are loaded, never pickles, and never
code from a model's repository. `hf:` also takes a folder written by `save_pretrained`.
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from bezoar.devices import torch_device
from bezoar.embed.base import Features, Images
from bezoar.errors import InputError, MissingExtraError

_BATCH = 32
_DEFAULT_SIZE = 224
_MAX_SIZE = 1024


@dataclass(frozen=True)
class TorchEncoder:
    """A torch model with its own input size and normalisation, run in evaluation mode, on a GPU where torch sees one."""

    name: str
    size: int
    dim: int
    digest: str
    module: Any = field(repr=False)
    sample_size: int = 0

    def fit(self, sample: Images, seed: int) -> TorchEncoder:
        """Itself: it is pretrained."""
        return self

    def encode(self, images: Images) -> Features:
        """Features, float32 (N, D), of uint8 images (N, size, size, 3)."""
        import torch

        device = torch_device()
        module = self._on_gpu if device.type == "cuda" else self.module
        features = np.empty((len(images), self.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                part = torch.from_numpy(
                    np.ascontiguousarray(images[start : start + _BATCH].transpose(0, 3, 1, 2))
                )
                features[start : start + len(part)] = module(part.to(device).float() / 255).cpu().numpy()
        return features

    @cached_property
    def _on_gpu(self) -> Any:
        """A copy there; the module itself stays where `torch_module` promises it, on the CPU."""
        return copy.deepcopy(self.module).to(torch_device())

    def torch_module(self) -> Any:
        """On the CPU: images (N, 3, size, size) in [0, 1] to features (N, D)."""
        return self.module


def load_timm(name: str) -> TorchEncoder:
    """The timm model `name` without its classifier: pooled features.

    Raises MissingExtraError without the extra `timm`, InputError when there is no such model or no
    safetensors.
    """
    try:
        import timm
        import timm.data
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingExtraError(f"timm:{name}", "timm") from error

    def load() -> tuple[Any, dict[str, Any]]:
        known = timm.get_pretrained_cfg(name)
        if known is None or not known.hf_hub_id:
            raise InputError("no pretrained timm model has this name")
        # Left to itself timm falls back on pickles; naming the file leaves it no choice.
        weights = {"file": hf_hub_download(known.hf_hub_id, "model.safetensors"), "custom_load": False}
        model = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=weights)
        return model, dict(timm.data.resolve_model_data_config(model))

    model, config = _loading(f"timm:{name}", load)
    return _encoder(f"timm:{name}", model, config["input_size"][-1], config["mean"], config["std"])


def load_hf(name: str) -> TorchEncoder:
    """The transformers model `name`, a hub name or a folder: its pooled output, else its first (class) token.

    Raises MissingExtraError without the extra `hf`, InputError when there is no such image model or no
    safetensors.
    """
    try:
        from transformers import AutoModel, image_processing_utils
    except ImportError as error:
        raise MissingExtraError(f"hf:{name}", "hf") from error

    def load() -> tuple[Any, dict[str, Any]]:
        config, _ = image_processing_utils.ImageProcessingMixin.get_image_processor_dict(name)
        return AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False), config

    model, config = _loading(f"hf:{name}", load)
    vision = getattr(model, "vision_model", model)  # CLIP and its kin: images only
    mean, std = config.get("image_mean", (0.0,) * 3), config.get("image_std", (1.0,) * 3)
    return _encoder(f"hf:{name}", vision, _side(config, f"hf:{name}"), mean, std)


def _loading(what: str, load: Callable[[], tuple[Any, dict[str, Any]]]) -> tuple[Any, dict[str, Any]]:
    """The model and its image configuration; whatever the libraries raise becomes one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside these libraries are not the user's
            return load()
    except Exception as error:  # both libraries raise many unrelated types for a missing or unsafe model
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{what}: the model cannot be loaded ({reason})") from error


def _side(config: dict[str, Any], what: str) -> int:
    """Side of the square that the processor feeds to the model: of its crop, else of its resize."""
    size = (config.get("crop_size") if config.get("do_center_crop") else None) or config.get(
        "size", _DEFAULT_SIZE
    )
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    if not isinstance(size, int) or not 0 < size <= _MAX_SIZE:
        raise InputError(f"{what}: its image size is {size!r}, not one number up to {_MAX_SIZE}")
    return size


def _encoder(name: str, model: Any, size: int, mean: Any, std: Any) -> TorchEncoder:
    import torch

    class Normalised(torch.nn.Module):  # type: ignore[misc]
        """[0, 1] to the model's own scale, and its output to (N, D)."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(1, -1, 1, 1))
            self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(1, -1, 1, 1))

        def forward(self, images: Any) -> Any:
            return _pooled(self.model((images - self.mean) / self.std)).float()

    module = Normalised().eval().requires_grad_(False)
    try:
        with torch.inference_mode():
            dim = module(torch.zeros(1, 3, size, size)).shape[1]
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"{name}: is no encoder of {size} x {size} RGB images ({str(error)[:200]})"
        ) from error
    return TorchEncoder(name, size, dim, _digest(module, size), module)


def _pooled(output: Any) -> Any:
    """One vector per image of a tensor or of a transformers output."""
    if not hasattr(output, "last_hidden_state"):
        return output.flatten(1)
    pooled = getattr(output, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)
    hidden = output.last_hidden_state
    return hidden[:, 0] if hidden.dim() == 3 else hidden.mean((2, 3))


def _digest(module: Any, size: int) -> str:
    """SHA-256 over the architecture as printed, the size and every weight."""
    import torch

    total = hashlib.sha256(f"torch encoder 1\n{size}\n{module}\n".encode())
    for key, value in sorted(module.state_dict().items()):
        total.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
