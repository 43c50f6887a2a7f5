"""A network made ready to be asked thousands of times: convolutions carry their batch normalisation, tensors lie channels last,
and products are taken in bfloat16 where the processor has instructions for it. Imports torch.

In evaluation mode batch normalisation is an affine map per channel, so a convolution before it can do its work (Jacob et al.
2018, arXiv:1712.05877, section 3.2). Which layers follow each other is seen by running the network once, not by reading its code;
a folded network that does not answer as the original did is thrown away.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import nn

from bezoar.inspect.functional.graph_folding import fold_graph
from bezoar.models.precision import has_bfloat16

_PROBES = 4
_PIXELS = {"cpu": 2**19, "cuda": 2**24}  # of images that go through a network at once: bounds memory
_SAME = 1e-3  # of the spread of the answers: what folding may change
_SIMILAR = 0.05  # the same for bfloat16


class Prepared(nn.Module):  # type: ignore[misc]
    """`forward`: float32 images (N, C, H, W) in [0, 1] to float32 logits (N, K), differentiable in the images alone."""

    def __init__(self, network: nn.Module, device: torch.device, half: bool) -> None:
        super().__init__()
        self.network, self.device, self.half = network, device, half

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, whatever the layout of the images."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits = self.network(images)
        return logits.float()


def prepare(network: nn.Module, shape: tuple[int, int, int], seed: int) -> Prepared:
    """A fast copy of `network` for images of `shape` (C, H, W), on a GPU where torch sees one; the original is left alone."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    draw = torch.Generator().manual_seed(seed)
    probe = torch.rand((_PROBES, *shape), generator=draw)
    with torch.no_grad():
        wanted = network(probe).float()
        folded = _folded(network, probe)
        if folded is None or not _agree(folded(probe), wanted, _SAME):
            folded = _copied(network)
        folded = folded.to(device)
        if all(p.dim() <= 4 for p in folded.parameters()):
            folded = folded.to(memory_format=torch.channels_last)
        fast = Prepared(folded, device, half=has_bfloat16(device))
        if not _agree(fast(probe.to(device)).cpu(), wanted, _SIMILAR):
            fast = Prepared(folded, device, half=False)
    fast.eval()
    return fast


def at_once(images: torch.Tensor) -> int:
    """How many images like these (..., H, W) may go through a network at once."""
    height, width = images.shape[-2:]
    return int(max(1, _PIXELS[images.device.type] // (height * width)))


def _agree(answers: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> bool:
    """Whether logits are the same, up to a constant per image, in units of their spread."""
    gap = (answers.float().log_softmax(1).exp() - wanted.log_softmax(1).exp()).abs().max()
    centred = [logits.float() - logits.float().mean(1, keepdim=True) for logits in (answers, wanted)]
    spread = centred[1].std().clamp(min=1e-6)
    return bool(gap <= tolerance or (centred[0] - centred[1]).abs().max() <= tolerance * spread)


def _copied(network: nn.Module) -> nn.Module:
    if isinstance(network, torch.jit.ScriptModule):
        return network.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about what it keeps in exported modules
        return copy.deepcopy(network).requires_grad_(False)


def _folded(network: nn.Module, probe: torch.Tensor) -> nn.Module | None:
    if isinstance(network, torch.jit.ScriptModule):
        return torch.jit.freeze(network.eval())
    clone = _copied(network)
    for module in clone.modules():
        if isinstance(module, torch.fx.GraphModule):
            fold_graph(module)
    _fold_modules(clone, probe)
    return clone


def _fold_modules(network: nn.Module, probe: torch.Tensor) -> None:
    """Fold every `BatchNorm2d` whose input is, as an object, what a `Conv2d` has just returned."""
    made: dict[int, tuple[nn.Conv2d, Any]] = {}  # the tensors are kept, so that no other gets their identity
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if type(module) is nn.Conv2d:
            made[id(output)] = (module, output)
        elif inputs and id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    watched = [m for m in network.modules() if type(m) in (nn.Conv2d, nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(after) for module in watched]
    try:
        network(probe)
    finally:
        for hook in hooks:
            hook.remove()
    for conv, norm in pairs:
        if sum(conv is c for c, _ in pairs) == 1 == sum(norm is n for _, n in pairs) and _usable(norm):
            conv.weight, conv.bias = nn.utils.fusion.fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            _replace(network, norm)
    network.requires_grad_(False)


def _usable(norm: nn.BatchNorm2d) -> bool:
    return norm.running_mean is not None and norm.running_var is not None


def _replace(network: nn.Module, norm: nn.Module) -> None:
    for parent in network.modules():
        for name, child in parent.named_children():
            if child is norm:
                setattr(parent, name, nn.Identity())
