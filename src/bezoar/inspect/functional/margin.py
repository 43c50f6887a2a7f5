"""The largest margin that any input can give each label, without data (Wang, Xiang, Miller and Kesidis 2024, "MM-BD", S&P).

A network that has learnt a trigger answers with its target more surely than any natural class can be answered.
"""

from __future__ import annotations

import torch

from bezoar.inspect.functional.folding import Prepared

_STARTS = 4
_STEPS = 30
_RATE = 0.1


def largest_margins(network: Prepared, shape: tuple[int, int, int], n_labels: int, seed: int) -> torch.Tensor:
    """-log of the largest margin found (K,): logit of the label less the best other one; small = suspicious."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand((1, _STARTS, *shape), generator=draw).to(network.device).repeat(n_labels, 1, 1, 1, 1)
    labels = torch.arange(n_labels, device=x.device).repeat_interleave(_STARTS)
    x = x.flatten(0, 1)
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    best = torch.full((len(x),), -torch.inf, device=x.device)
    for step in range(1, _STEPS + 1):
        x.requires_grad_(True)
        z = network(x)
        own = z.gather(1, labels[:, None])[:, 0]
        other = z.scatter(1, labels[:, None], -torch.inf).amax(1)
        margin = own - other
        (g,) = torch.autograd.grad(margin.sum(), x)
        with torch.no_grad():
            best = torch.maximum(best, margin)
            mean = 0.9 * mean + 0.1 * g
            square = 0.99 * square + 0.01 * g * g
            move = mean / (1 - 0.9**step) / ((square / (1 - 0.99**step)).sqrt() + 1e-12)
            x = (x + _RATE * move).clamp(0, 1)
    return -best.reshape(n_labels, _STARTS).amax(1).clamp(min=1e-6).log()
