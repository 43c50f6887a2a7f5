"""How far features must move for the last layer to say another label: no gradient, no image, one matrix.

For label k, the smallest d with (w_k - w_j) d >= deficit_j for all j, where deficit_j is a quantile over images of
z_j - z_k: a quadratic programme (after arXiv:2511.08944), solved through its dual, whose variables are not negative.
A backdoor's target is near: all images are meant to get there by one and the same move.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

_QUANTILE = 0.9  # of the images must be moved
_STEPS = 400
_MOST, _FEWEST = 2**17, 64  # logits to take quantiles of for one label, and images


def shortest_moves(features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Log length (K,) of the smallest common move of `features` (N, D) to each label of a layer `weight` (K, D), `bias` (K,).

    The features are in random order: where labels are very many, the first are enough.
    """
    n_images = max(_FEWEST, _MOST // len(weight))
    logits = features[:n_images] @ weight.T + bias
    n_labels = logits.shape[1]
    own = logits.argmax(1)
    deficits = torch.stack(
        [torch.quantile((logits - logits[:, k : k + 1])[own != k], _QUANTILE, dim=0) for k in range(n_labels)]
    ).clamp(min=0)
    return _dual(weight @ weight.T, deficits)


def _dual(gram: torch.Tensor, deficits: torch.Tensor) -> torch.Tensor:
    """Accelerated projected gradient on max_l  deficits l - |A' l|^2 / 2, l >= 0, for all labels at once."""
    k = torch.arange(len(gram))

    def product(x: torch.Tensor) -> torch.Tensor:
        """A A' x for every row: A has the rows w_k - w_j."""
        total, across = x.sum(1, keepdim=True), x @ gram
        return gram.diagonal()[:, None] * total - gram * total - across[k, k][:, None] + across

    rate = 1 / _largest(product, deficits)
    now = ahead = torch.zeros_like(deficits)
    for step in range(_STEPS):
        following = (ahead + rate * (deficits - product(ahead))).clamp(min=0)
        following[k, k] = 0
        ahead = following + step / (step + 3) * (following - now)
        now = following
    return (now * product(now)).sum(1).clamp(min=1e-12).sqrt().log()


def _largest(product: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor) -> torch.Tensor:
    """The largest eigenvalue of each label's product, (K, 1), a little too large."""
    x = torch.ones_like(start)
    for _ in range(30):
        x = product(x)
        x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return 1.05 * product(x).norm(dim=1, keepdim=True).clamp(min=1e-12)
