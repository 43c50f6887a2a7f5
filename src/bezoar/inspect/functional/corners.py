"""Which label images of one class come near, when random patches cover their corners, and those of other classes do not?

Triggers often sit in corners (Gu et al. 2017; Turner, Tsipras and Madry 2019), and what a network learnt of them fits many a
random patch. A backdoor for one class alone (TaCT, Tang et al. 2021, arXiv:1908.00686) stays hidden to whoever looks at all
classes at once, so each is compared with the others. No gradient. Imports torch.
"""

from __future__ import annotations

import torch

from bezoar.inspect.functional.folding import Prepared, at_once
from bezoar.inspect.functional.random_patterns import patch_side, patched
from bezoar.inspect.functional.sources import Exits, pools_of_labels

_PER_LABEL = (24, 16)  # images, where labels are few, and many
_FEW = 16
_FEWEST = 4  # labels, to compare one with
_LEAST = 1e-4  # nats


@torch.no_grad()  # type: ignore[untyped-decorator]
def corner_exits(
    network: Prepared, images: torch.Tensor, own: torch.Tensor, n_labels: int, seed: int
) -> Exits:
    """Per label the log of the share of its loss towards some other label that patches leave, less what they leave elsewhere.

    Of images (N, C, H, W) that the network gives the labels `own` (N,). Elsewhere: the median over classes, then over labels.
    """
    sizes = torch.full((n_labels,), torch.nan)
    labels = torch.full((n_labels,), -1)
    known, pools = pools_of_labels(own, n_labels, _PER_LABEL[n_labels > _FEW])
    if len(known) < _FEWEST:
        return Exits(sizes, labels)
    shown = images[pools.flatten()]
    covered = _covered(shown, torch.Generator().manual_seed(seed))
    left = (_losses(network, covered, len(known)) / _losses(network, shown, len(known))).log().cpu()
    itself = torch.zeros_like(left, dtype=torch.bool).scatter(1, known.cpu()[:, None], True)
    left = left.masked_fill(itself, torch.nan)
    left = left - left.nanmedian(0, keepdim=True).values
    left = left - left.nanmedian(1, keepdim=True).values
    least = left.nan_to_num(torch.inf).min(1)
    sizes[known.cpu()], labels[known.cpu()] = least.values, least.indices
    return Exits(sizes, labels)


def _losses(network: Prepared, images: torch.Tensor, groups: int) -> torch.Tensor:
    """Mean loss (S, K) of each class's images towards each label."""
    chances = torch.cat([network(batch).log_softmax(1) for batch in images.split(at_once(images))])
    return (-chances.unflatten(0, (groups, -1)).mean(1)).clamp(min=_LEAST)


def _covered(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """With a random patch in each corner, a pixel from the edges."""
    height, width = images.shape[2:]
    side = patch_side(images)
    for top in (1, height - side - 1):
        for left in (1, width - side - 1):
            places = torch.tensor([max(top, 0), max(left, 0)]).expand(len(images), -1)
            images = patched(images, places, draw)
    return images
