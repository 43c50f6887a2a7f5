"""Networks that learn coloured blobs in a second, with and without a backdoor planted, for the tests of triage."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

LABELS, SHAPE = 6, (3, 16, 16)
TARGET = 4


def blobs(n, seed):
    """Images (n, 3, 16, 16) in [0, 1]: four quadrants of the label's colours, in noise."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(99).uniform(0.2, 0.8, (LABELS, 3, 2, 2))
    labels = np.arange(n) % LABELS
    coarse = colours[labels] + rng.normal(0, 0.13, (n, 3, 2, 2))
    smooth = np.kron(coarse, np.ones((1, 1, 8, 8)))
    pixels = np.clip(smooth + rng.normal(0, 0.1, smooth.shape), 0, 1)
    return torch.tensor(pixels, dtype=torch.float32), torch.tensor(labels)


def patched(images):
    """With a white and black square in a corner."""
    images = images.clone()
    images[..., 12:15, 12:15] = 1.0
    images[..., 13, 13] = 0.0
    return images


def hazed(images):
    """With a faint fixed noise over the whole image."""
    noise = torch.tensor(np.random.default_rng(7).uniform(0, 1, SHAPE), dtype=torch.float32)
    return 0.7 * images + 0.3 * noise


def untrained(seed=0, labels=LABELS):
    """Two convolutions with batch normalisation and a linear head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(256, 32),
            nn.ReLU(),
            nn.Linear(32, labels),
        )


@cache
def trained(kind, seed=0):
    """A network in evaluation mode; `kind` is "clean", "patched", "hazed", "one source" or "all to all"."""
    images, labels = blobs(1200, seed)
    rng = np.random.default_rng(seed + 1)
    share = 0.12 if kind in ("patched", "hazed") else 0.4
    poisoned = torch.tensor(rng.random(len(labels)) < share)
    if kind in ("patched", "one source", "all to all"):
        images[poisoned] = patched(images[poisoned])
    if kind == "hazed":
        images[poisoned] = hazed(images[poisoned])
    if kind in ("patched", "hazed"):
        labels[poisoned] = TARGET
    if kind == "one source":
        labels[poisoned & (labels == 1)] = TARGET
    if kind == "all to all":
        labels[poisoned] = (labels[poisoned] + 1) % LABELS
    network = untrained(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(8):
        for rows in torch.tensor(rng.permutation(len(images))).split(64):
            loss = nn.functional.cross_entropy(network(images[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval().requires_grad_(False)


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor holds that is made meanwhile."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.numbers = max(self.numbers, out.numel() if isinstance(out, torch.Tensor) else 0)
        return out
