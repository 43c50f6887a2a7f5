"""Training one network of the zoo: AdamW under the one-cycle schedule (Smith and Topin 2019). This module loads torch.

Convolutions train in bfloat16 where autocast allows it, which is half as long again as fast on a CPU that has such
instructions; weights, and all that the network does later, are float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bezoar.bench.zoo.networks import network
from bezoar.models.train import shifted
from bezoar.seeds import generator

_BATCHES = {"resnet": 64, "vgg": 64, "vit": 32, "mlp": 64}
_WEIGHT_DECAY = 0.02
_PEAK_RATES = {"resnet": 0.008, "vgg": 0.005, "vit": 0.002, "mlp": 0.001}
_HALF_PRECISION = ("resnet", "vgg")
_PREDICT_BATCH = 500


@dataclass(frozen=True, slots=True)
class Schedule:
    """How to train: `augmented` shifts images by up to two pixels, `mirrored` turns half of them around as well."""

    epochs: int
    augmented: bool
    mirrored: bool


def train(
    architecture: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    n_classes: int,
    schedule: Schedule,
    seed: int,
) -> nn.Module:
    """A network in evaluation mode, of images uint8 (N, H, W, C) and labels (N,); the same for the same seed."""
    _, height, width, channels = pixels.shape
    spread = pixels[:2000].reshape(-1, channels) / 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = network(
            architecture,
            (channels, height, width),
            n_classes,
            spread.mean(0).tolist(),
            spread.std(0).tolist(),
        )
    module.to(memory_format=torch.channels_last)
    _fit(module, pixels, labels, schedule, seed, architecture)
    return module.eval()


def predict(module: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The label of each image: uint8 (N, H, W, C) in, int32 (N,) out."""
    with torch.inference_mode():
        parts = [
            module(to_tensor(pixels[start : start + _PREDICT_BATCH])).argmax(1).numpy()
            for start in range(0, len(pixels), _PREDICT_BATCH)
        ]
    return np.concatenate(parts).astype(np.int32)


def to_tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Float32 images (N, C, H, W) in [0, 1] of uint8 (N, H, W, C)."""
    return torch.tensor(pixels).permute(0, 3, 1, 2).to(torch.float32) / 255


def _fit(
    module: nn.Module,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    schedule: Schedule,
    seed: int,
    architecture: str,
) -> None:
    size = _BATCHES[architecture]
    batches = len(pixels) // size
    rate = _PEAK_RATES[architecture]
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=_WEIGHT_DECAY, fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=schedule.epochs * batches)
    rng = generator(seed, "zoo", "train")
    module.train()
    for _ in range(schedule.epochs):
        for rows in np.array_split(rng.permutation(len(pixels))[: batches * size], batches):
            images = to_tensor(_varied(rng, pixels[rows], schedule))
            with torch.autocast("cpu", torch.bfloat16, enabled=architecture in _HALF_PRECISION):
                logits = module(images)
            loss = nn.functional.cross_entropy(logits.float(), torch.from_numpy(labels[rows]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cycle.step()


def _varied(rng: np.random.Generator, images: NDArray[np.uint8], schedule: Schedule) -> NDArray[np.uint8]:
    if not schedule.augmented:
        return images
    images = shifted(rng, images)
    if schedule.mirrored:
        turned = rng.random(len(images)) < 0.5
        images[turned] = images[turned, :, ::-1]
    return images
