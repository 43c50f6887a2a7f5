"""A network made ready to be asked thousands of times: by cheaper calls (`bezoar.inspect.functional.rewriting`), with tensors
that lie channels last, and products in bfloat16 where the processor has instructions for it. Imports torch.

What does not answer as the original did is not used.
"""

from __future__ import annotations

import copy
import time
import warnings

import torch
from torch import nn

from bezoar.devices import torch_device
from bezoar.errors import InputError
from bezoar.inspect.functional.rewriting import Rewritten
from bezoar.models.precision import has_bfloat16

_PROBES = 4
_PIXELS = {"cpu": 2**19, "cuda": 2**24}  # of images that go through a network at once: bounds memory
_SAME = 1e-3  # of the spread of the answers: what folding may change
_SIMILAR = 0.05  # the same for bfloat16


class OutOfTime(Exception):  # noqa: N818 - nothing is wrong
    """A prepared network was asked for more after its deadline."""


class Prepared(nn.Module):  # type: ignore[misc]
    """`forward`: float32 images (N, C, H, W) in [0, 1] to float32 logits (N, K), differentiable in the images alone.

    After its `deadline`, in CPU seconds of the process, it raises OutOfTime: whatever asks, a budget is kept.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, layout: torch.memory_format, half: bool
    ) -> None:
        super().__init__()
        self.network, self.device, self.layout, self.half = network, device, layout, half
        self.deadline: float | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, whatever the layout of the images."""
        if self.over:
            raise OutOfTime
        images = images.contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits = self.network(images)
        return logits.float()

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.process_time() > self.deadline


def prepare(network: nn.Module, shape: tuple[int, int, int], seed: int) -> Prepared:
    """A fast copy of `network` for images of `shape` (C, H, W), on a GPU where torch sees one; the original is left alone."""
    device = torch_device()
    draw = torch.Generator().manual_seed(seed)
    probe = torch.rand((_PROBES, *shape), generator=draw)
    with torch.no_grad():
        wanted = network(probe).float()
        probe = probe.to(device)
        try:
            fast = _laid(network, probe, wanted, torch.channels_last)
        except InputError:  # views of channels that lie last are none: they would have to copy
            fast = _laid(network, probe, wanted, torch.contiguous_format)
    fast.eval()
    return fast


def _laid(
    network: nn.Module, probe: torch.Tensor, wanted: torch.Tensor, layout: torch.memory_format
) -> Prepared:
    copied = _copied(network).to(probe.device)
    if all(p.dim() <= 4 for p in copied.parameters()):
        copied = copied.to(memory_format=layout)
    rewritten = Rewritten(copied, probe)
    cheapest = rewritten if _agrees(rewritten, probe, wanted, _SAME) else copied
    fast = Prepared(cheapest, probe.device, layout, half=has_bfloat16(probe.device))
    if not _agrees(fast, probe, wanted, _SIMILAR):
        fast = Prepared(cheapest, probe.device, layout, half=False)
        fast(probe)  # it must not fail
    return fast


def at_once(images: torch.Tensor) -> int:
    """How many images like these (..., H, W) may go through a network at once."""
    height, width = images.shape[-2:]
    return int(max(1, _PIXELS[images.device.type] // (height * width)))


def _agrees(network: nn.Module, probe: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> bool:
    """Whether its logits are those wanted (N, K), up to a constant per image, in units of their spread.

    Not where it fails: some operators do not take products in bfloat16 beside weights in float32.
    """
    try:
        answers = network(probe).float().cpu()
    except InputError:
        return False
    chances = [logits.log_softmax(1).exp() for logits in (answers, wanted)]
    centred = [logits - logits.mean(1, keepdim=True) for logits in (answers, wanted)]
    gap, most = (chances[0] - chances[1]).abs().max(), chances[1].max()
    spread = centred[1].std().clamp(min=1e-6)
    return bool(gap <= tolerance * most or (centred[0] - centred[1]).abs().max() <= tolerance * spread)


def _copied(network: nn.Module) -> nn.Module:
    if isinstance(network, torch.jit.ScriptModule):
        return torch.jit.freeze(network.eval())  # it folds by itself, and its calls are not seen
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about what it keeps in exported modules
        return copy.deepcopy(network).requires_grad_(False)
