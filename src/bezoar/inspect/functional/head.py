"""The last linear layer of a network, found by watching one run. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bezoar.inspect.functional.folding import at_once

_ATEN = torch.ops.aten
_SAME = 1e-3


@dataclass(frozen=True, slots=True)
class Head:
    """Logits are `features @ weight.T + bias`, up to a constant per image: features (N, D), weight (K, D), bias (K,), float32."""

    features: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor


def last_layer(network: nn.Module, images: torch.Tensor, n_labels: int) -> Head | None:
    """The last product (N, D) x (D, K) on the way to the logits, at `images` (N, C, H, W); None where there is no such layer."""
    parts: list[Head] = []
    with torch.no_grad():
        for batch in images.split(at_once(images)):
            with _Watch(len(batch), n_labels) as watch:
                logits = network(batch).float()
            if watch.last is None:
                return None
            head = watch.last
            again = head.features @ head.weight.T + head.bias
            if (again.log_softmax(1) - logits.log_softmax(1)).abs().max() > _SAME * (1 + logits.std()):
                return None
            parts.append(head)
    return Head(torch.cat([part.features for part in parts]), parts[0].weight, parts[0].bias)


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    def __init__(self, n: int, n_labels: int) -> None:
        super().__init__()
        self._n, self._k = n, n_labels
        self.last: Head | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (_ATEN.addmm.default, _ATEN.mm.default, _ATEN.linear.default) and out.shape == (
            self._n,
            self._k,
        ):
            if func is _ATEN.addmm.default:
                bias, features, weight = args[0], args[1], args[2].T
            elif func is _ATEN.mm.default:
                bias, features, weight = None, args[0], args[1].T
            else:
                features, weight, bias = args[0], args[1], args[2] if len(args) > 2 else None
            bias = features.new_zeros(self._k) if bias is None else bias
            self.last = Head(*(t.detach().float().clone() for t in (features, weight, bias.expand(self._k))))
        return out
