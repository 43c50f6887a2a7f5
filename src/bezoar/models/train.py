"""A small image classifier that two CPU cores train within a minute, to show what poison does to a model.

Four convolutions with batch normalisation, trained with AdamW under the one-cycle schedule (Smith and Topin
2019). Augmentation is light, shifts of up to two pixels and a change of brightness: heavy cropping would hide
a small patch. Products are taken in bfloat16 where the processor, or the GPU, has instructions for it; weights stay float32.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bezoar.devices import torch_device
from bezoar.errors import InputError, MissingExtraError, UsageError
from bezoar.models.precision import has_bfloat16
from bezoar.progress import track
from bezoar.seeds import generator

if TYPE_CHECKING:
    import torch

_BATCH = 100
_PEAK_RATE = 0.006
_WEIGHT_DECAY = 0.02
_WIDTHS = (24, 48, 96, 128)
_FEATURES = 128
_MAX_SHIFT = 2
_PREDICT_BATCH = 500


@dataclass(frozen=True)
class Classifier:
    """A trained network; `module` takes float32 images (N, 3, H, W) in [0, 1] and returns logits."""

    module: torch.nn.Sequential

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The label of each image: uint8 (N, H, W, 3) in, int32 (N,) out."""
        return np.asarray(self._run(self.module, images).argmax(axis=1), np.int32)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The penultimate activations: uint8 (N, H, W, 3) in, float32 (N, D) out."""
        return self._run(self.module[:-1], images)

    def _run(self, layers: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        _check_images(images)
        layers.eval()
        with torch.inference_mode():
            parts: list[NDArray[np.float32]] = [
                layers(to_tensor(images[i : i + _PREDICT_BATCH])).numpy()
                for i in range(0, len(images), _PREDICT_BATCH)
            ]
        return np.concatenate(parts)


def train_classifier(
    images: NDArray[np.uint8],
    labels: ArrayLike,
    n_classes: int,
    *,
    epochs: int = 8,
    seed: int,
    start: Classifier | None = None,
) -> Classifier:
    """Train on images uint8 (N, H, W, 3), H and W >= 16, with labels (N,) from 0 to `n_classes` - 1.

    `start`, a network of the same shape, is trained further, in a copy, instead of a new one.

    On the CPU of one machine the same seed gives the same network, on a GPU (where torch sees one) nearly so; the network is on
    the CPU afterwards, and torch's own random state is left as it was.
    InputError when images and labels do not fit together; MissingExtraError without torch;
    UsageError for no epochs or fewer than two classes.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtraError("training a network", "torch") from None

    if epochs < 1 or n_classes < 2:
        raise UsageError(f"cannot train for {epochs} epochs on {n_classes} classes; give at least 1 and 2")
    targets = _check_labels(images, labels, n_classes)
    if start is not None:
        module = copy.deepcopy(start.module)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(
                int(seed)
            )  # networks begin on the CPU, wherever they are trained
            module = network(n_classes, images)
    _fit(module, images, targets, epochs, seed)
    module.eval()
    return Classifier(module)


def _check_images(images: NDArray[np.uint8]) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise InputError(f"images are {images.dtype} {images.shape}; expected uint8 (N, H, W, 3) with N >= 1")
    if min(images.shape[1:3]) < 16:
        raise InputError(
            f"images are {images.shape[1]} x {images.shape[2]}; the network needs 16 x 16 or more"
        )


def _check_labels(images: NDArray[np.uint8], labels: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    _check_images(images)
    targets = np.asarray(labels)
    if targets.shape != (len(images),) or not np.issubdtype(targets.dtype, np.integer):
        raise InputError(f"labels are {targets.dtype} {targets.shape}; expected {len(images)} integers")
    if targets.min() < 0 or targets.max() >= n_classes:
        raise InputError(f"labels run from {targets.min()} to {targets.max()}, outside 0 to {n_classes - 1}")
    return targets.astype(np.int64)


def network(n_classes: int, images: NDArray[np.uint8]) -> torch.nn.Sequential:
    """Normalisation, the convolutions, a 2 x 2 pooled grid (it keeps places apart), features, logits."""
    from torch import nn

    layers: list[nn.Module] = [_normalisation(images)]
    width = 3
    for i, wider in enumerate(_WIDTHS):
        layers.append(nn.Conv2d(width, wider, 3, padding=1, bias=False))
        if i < len(_WIDTHS) - 1:
            layers.append(nn.MaxPool2d(2))  # before the normalisation, which then costs a quarter
        layers += [nn.BatchNorm2d(wider), nn.ReLU()]
        width = wider
    layers += [
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * width, _FEATURES),
        nn.ReLU(),
        nn.Linear(_FEATURES, n_classes),
    ]
    return nn.Sequential(*layers)


def _normalisation(images: NDArray[np.uint8]) -> torch.nn.Module:
    """A frozen 1 x 1 convolution that takes the images' channels to zero mean and unit spread."""
    import torch

    some = images[:1000].reshape(-1, 3) / 255.0
    mean, spread = some.mean(axis=0), some.std(axis=0) + 1e-3
    layer = torch.nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor(1 / spread)).reshape(3, 3, 1, 1))
        layer.bias.copy_(torch.tensor(-mean / spread))
    return layer.requires_grad_(False)


def _fit(
    module: torch.nn.Sequential, images: NDArray[np.uint8], targets: NDArray[np.int64], epochs: int, seed: int
) -> None:
    import torch

    n = len(images)
    batches = max(1, n // _BATCH)  # the few records left over in one epoch come up in another
    device = torch_device()
    module.to(device, memory_format=torch.channels_last)
    weights = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=_PEAK_RATE, weight_decay=_WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK_RATE, total_steps=epochs * batches)
    half = has_bfloat16(device)
    rng = generator(seed, "train")
    module.train()
    with track("train", epochs * batches) as bar:
        for _ in range(epochs):
            for rows in np.array_split(rng.permutation(n)[: batches * _BATCH], batches):
                inputs = to_tensor(shifted(rng, images[rows]))
                inputs *= torch.from_numpy(rng.uniform(0.8, 1.2, (len(rows), 1, 1, 1)).astype(np.float32))
                given = torch.from_numpy(targets[rows]).to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=half):
                    logits = module(inputs.to(device))
                loss = torch.nn.functional.cross_entropy(logits.float(), given)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                bar.advance()
    module.cpu()


def shifted(rng: np.random.Generator, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each image shifted by up to `_MAX_SHIFT` pixels both ways; its border pixels fill the gap."""
    n, height, width, _ = images.shape
    top, left = rng.integers(0, 2 * _MAX_SHIFT + 1, (2, n))
    margin = (_MAX_SHIFT, _MAX_SHIFT)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    return np.moveaxis(windows[np.arange(n), top, left], 1, 3)


def to_tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """Float images (N, 3, H, W) in [0, 1], laid out channels last."""
    import torch

    return torch.tensor(images).permute(0, 3, 1, 2).to(torch.float32) / 255
