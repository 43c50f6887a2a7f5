"""Pruning: the features that a trigger raises are cut off from the last layer, whatever the rest of the network is. Loads torch.

Liu, Dolan-Gavitt and Garg (Fine-Pruning, RAID 2018) prune what sleeps on clean images; with a recovered trigger at hand one sees
what it wakes (Wang et al. 2019, section VI-B). The last layer is found by running the network, as its last product with a
parameter: so modules, scripts and graphs are alike. What a feature is on average goes into the layer's bias, if it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bezoar.inspect.functional.unlearning import Lure

_ASKED = 256  # images
_CUT = 0.02  # of the features, at a time
_MOST = 0.3  # of the features, in all
_ATEN = torch.ops.aten


@dataclass(frozen=True, slots=True)
class _Layer:
    """`weights` (D, K) and `bias` (K,), if there is one, are the network's own memory; `fed` (N, D) is what it was given last."""

    fed: torch.Tensor
    weights: torch.Tensor
    bias: torch.Tensor | None


def prune(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    lures: Sequence[Lure],
    enough: Callable[[], bool],
) -> int:
    """Cut features off in place, most raised first, until `enough` says so; how many were cut.

    Images (N, C, H, W) in [0, 1] with labels (N,), of which each lure turns one. 0 where the last layer is not one product per
    image, as in a network that ends with a convolution.
    """
    clean = _last_layer(network, images[:_ASKED])
    if clean is None:
        return 0
    mean, spread = clean.fed.mean(0), clean.fed.std(0) + 1e-6
    raised = torch.zeros_like(mean)
    for lure in lures:
        stamped = _last_layer(network, lure.trigger.apply(images[lure.rows(labels)[:_ASKED]]))
        if stamped is not None:
            raised = torch.maximum(raised, (stamped.fed.mean(0) - mean) / spread)
    order = raised.argsort(descending=True, stable=True)
    step, cut = max(1, round(_CUT * len(order))), 0
    with torch.no_grad():
        while cut < _MOST * len(order) and not enough():
            rows = order[cut : cut + step]
            if clean.bias is not None:
                clean.bias.add_(mean[rows] @ clean.weights[rows])
            clean.weights[rows] = 0
            cut += len(rows)
    return cut


def _last_layer(network: nn.Module, images: torch.Tensor) -> _Layer | None:
    with torch.no_grad(), _Products(network) as products:
        network(images)
    layer = products.last
    return layer if layer is not None and layer.fed.shape[:1] == images.shape[:1] else None


class _Products(TorchDispatchMode):  # type: ignore[misc]
    """Watches for products of the network's parameters; the last of them stays, None where that is a convolution."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        self.last: _Layer | None = None

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        match operator:
            case _ATEN.addmm.default if self._is_own(args[2]):
                self.last = _Layer(args[1], args[2], args[0] if self._is_own(args[0]) else None)
            case _ATEN.mm.default if self._is_own(args[1]):
                self.last = _Layer(args[0], args[1], None)
            case _ATEN.convolution.default if self._is_own(args[1]):
                self.last = None
        return operator(*args, **(kwargs or {}))

    def _is_own(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._own
