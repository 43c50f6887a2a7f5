"""One label's trigger in full: as small as it can be made while it still flips nine images of ten. Imports torch."""

from __future__ import annotations

import torch
from torch import nn

from bezoar.errors import InputError
from bezoar.inspect.functional.folding import Prepared, at_once, prepare
from bezoar.inspect.functional.search import Search, Towards
from bezoar.inspect.functional.waves import faintest_wave
from bezoar.inspect.trigger import Form, Trigger

_PER_STEP = 32
_STEPS = 150


def recover(
    network: nn.Module,
    images: torch.Tensor,
    target: int | torch.Tensor,
    *,
    kind: Form,
    seed: int,
    steps: int = _STEPS,
) -> Trigger:
    """The smallest trigger found that sends images (N, C, H, W) to the label `target`, or each to its own of `target` (N,).

    InputError when the network gives them all that label as they are.
    """
    shape = (images.shape[1], images.shape[2], images.shape[3])
    fast = network if isinstance(network, Prepared) else prepare(network, shape, seed)
    images = images.to(fast.device, torch.float32)
    targets = torch.as_tensor(target, device=fast.device).expand(len(images))
    with torch.no_grad():
        own = torch.cat([fast(batch).argmax(1) for batch in images.split(at_once(images))])
    rows = torch.nonzero(own != targets)[:, 0]
    if not len(rows):
        raise InputError(
            f"the network gives every image label {int(targets[0])} as it is; give images of other labels"
        )
    if kind == "wave":
        wave: Trigger = faintest_wave(fast, images[rows], targets[rows])
        return wave
    search = Search.begin(
        fast,
        images,
        rows[None],
        Towards(targets[None]),
        kind,
        per_step=min(_PER_STEP, len(rows)),
        seed=seed,
        finest=True,
    )
    return search.run(steps).triggers[0]
