"""Plane waves over the whole image, to which clean networks answer whatever the phase and backdoored ones at one phase alone.

Sinusoids are triggers of clean-label poison (Barni, Kallas and Tondi 2019, "SIG", ICIP), and one wave can mislead any network
(Tsuzuku and Sato 2019, arXiv:1809.04098). To a clean network waves look like texture, and moving it changes little; a trigger
that was learnt has its place. Waves that fit into strides, whose period is a power of two, are left out: any network that halves
its images answers to their phase. One pass over a bank of waves asks about all labels at once. Imports torch.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from bezoar.inspect.functional.folding import Prepared, at_once
from bezoar.inspect.functional.random_patterns import mean_of_others
from bezoar.inspect.trigger import Trigger

_CYCLES = (3, 5, 6, 7, 9, 10)  # along a side, of waves along either axis
_AMPLITUDE = 0.15
_PHASES = 4
_IMAGES = 24
_FLOOR = 0.05  # of probability: less is not told from nothing
_AMPLITUDES = (0.04, 0.08, 0.12, 0.16, 0.24)  # to recover a trigger with, faintest first
_SHOWN = 32  # images, to recover one
_ENOUGH = 0.9  # share of them that a wave has to flip, so that no stronger one is tried


@torch.no_grad()  # type: ignore[untyped-decorator]
def phase_contrasts(network: Prepared, images: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """-log of how much one phase of one wave adds to each label's probability beyond its other phases (K,).

    Of images (N, C, H, W) that the network gives the labels `own` (N,); those of a label itself do not count for it.
    """
    images, own = images[:_IMAGES], own[:_IMAGES]
    parts = []
    some = max(1, at_once(images) // len(images))
    for waves in _bank(images.shape[2], images.shape[3]).to(images.device).split(some):
        stamped = (images + _AMPLITUDE * waves[:, None, None]).clamp(0, 1)
        chances = network(stamped.flatten(0, 1)).softmax(1).unflatten(0, stamped.shape[:2])
        parts.append(mean_of_others(chances, own))
    phases = torch.cat(parts).unflatten(0, (-1, _PHASES)).sort(1).values  # (waves, phases, K)
    return -((phases[:, -1] - phases[:, :-1].mean(1)).amax(0) + _FLOOR).log()


@torch.no_grad()  # type: ignore[untyped-decorator]
def faintest_wave(network: Prepared, images: torch.Tensor, targets: torch.Tensor) -> Trigger:
    """The faintest wave of the bank that sends nine in ten images (N, C, H, W) to their labels `targets` (N,).

    Where none does, the one that sends most of them there.
    """
    images, targets = images[:_SHOWN], targets[:_SHOWN]
    bank = _bank(images.shape[2], images.shape[3]).to(images.device)
    best, pattern = -1.0, torch.zeros_like(images[0])
    for amplitude in _AMPLITUDES:
        shares = torch.stack(
            [
                (network((images + amplitude * wave).clamp(0, 1)).argmax(1) == targets).float().mean()
                for wave in bank
            ]
        )
        if float(shares.max()) > best:
            best = float(shares.max())
            pattern = (amplitude * bank[int(shares.argmax())]).expand_as(images[0])
        if best >= _ENOUGH:
            break
    flat = pattern.contiguous().float().cpu().numpy()
    return Trigger("shift", flat, np.ones(flat.shape[1:], np.float32))


def _bank(height: int, width: int) -> torch.Tensor:
    """Waves (cycles x axes x phases, H, W) of amplitude 1, the phases of one wave next to each other."""
    waves = []
    for cycles in _CYCLES:
        down, across = (
            [
                torch.cos(2 * math.pi * (cycles * torch.arange(side) / side + phase / _PHASES))
                for phase in range(_PHASES)
            ]
            for side in (height, width)
        )
        waves += [wave[:, None].expand(height, width) for wave in down]
        waves += [wave[None].expand(height, width) for wave in across]
    return torch.stack(waves)
