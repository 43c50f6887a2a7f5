"""The largest margin that any input can give each label, without data (Wang, Xiang, Miller and Kesidis 2024, "MM-BD", S&P).

A network that has learnt a trigger answers with its target more surely than any natural class can be answered.
"""

from __future__ import annotations

import torch

from bezoar.inspect.functional.folding import Prepared, at_once

_STARTS = 2
_STEPS, _HASTY_STEPS = 20, 6
_RATE = 0.1
_DECAY = (0.9, 0.99)  # Adam's
_LEAST = 1e-6  # logits: a label that nothing makes the first is as good as never said


def largest_margins(
    network: Prepared, shape: tuple[int, int, int], labels: torch.Tensor, seed: int, *, hasty: bool = False
) -> torch.Tensor:
    """-log of the largest margin found of each of `labels` (G,): its logit less the best other one; small = suspicious.

    `hasty`: from one start in few steps, for a first sight of very many labels.
    """
    n_starts, steps = (1, _HASTY_STEPS) if hasty else (_STARTS, _STEPS)
    draw = torch.Generator().manual_seed(seed)
    starts = torch.rand((n_starts, *shape), generator=draw).to(network.device)
    some = max(1, at_once(starts) // n_starts)
    margins = torch.cat([_ascended(network, starts, part, steps) for part in labels.split(some)])
    return -margins.clamp(min=_LEAST).log()


def _ascended(network: Prepared, starts: torch.Tensor, labels: torch.Tensor, steps: int) -> torch.Tensor:
    """The largest margin (G,) that Adam finds for each label from all of `starts` (S, C, H, W)."""
    x = starts.repeat(len(labels), 1, 1, 1)
    wanted = labels.repeat_interleave(len(starts))[:, None]
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    best = torch.full((len(x),), -torch.inf, device=x.device)
    for step in range(1, steps + 1):
        x.requires_grad_(True)
        logits = network(x)
        margin = logits.gather(1, wanted)[:, 0] - logits.scatter(1, wanted, -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad(margin.sum(), x)
        with torch.no_grad():
            best = torch.maximum(best, margin)
            mean.lerp_(gradient, 1 - _DECAY[0])
            square.lerp_(gradient.square(), 1 - _DECAY[1])
            spread = (square / (1 - _DECAY[1] ** step)).sqrt() + 1e-12
            x = (x + _RATE * mean / (1 - _DECAY[0] ** step) / spread).clamp(0, 1)
    return best.unflatten(0, (len(labels), -1)).amax(1)
