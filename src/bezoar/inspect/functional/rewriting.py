"""The same answers by cheaper calls, whatever a network is made of: its calls are seen in one run, and exchanged in later ones.

In evaluation mode batch normalisation is an affine map per channel, so a convolution before it can do its work (Jacob et al.
2018, arXiv:1712.05877, section 3.2), also across a max pooling where no channel's sign changes. A convolution whose windows do
not overlap is a product of matrices, and so is attention among few tokens: torch's kernels for them are slow backwards. Imports
torch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the usual name
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

_ATEN = torch.ops.aten
_PLAIN = {torch.conv2d, _ATEN.conv2d.default}  # input, weight, bias, stride, padding, dilation, groups
_GENERAL = {_ATEN.convolution.default, _ATEN._convolution.default}  # these may be transposed
_TRANSPOSED = 6  # where they say so
_POOLS = {F.max_pool2d, torch.max_pool2d, _ATEN.max_pool2d.default}
_INFERRED = _ATEN._native_batch_norm_legit_no_training.default  # gives a tuple
_NORMS = {  # where weight, bias, mean, variance and epsilon stand
    F.batch_norm: (3, 4, 1, 2, 7),
    torch.batch_norm: (1, 2, 3, 4, 7),
    _ATEN.batch_norm.default: (1, 2, 3, 4, 7),
    _INFERRED: (1, 2, 3, 4, 6),
}
_TRAINING = 5  # where all but the last say that they train
_ATTENTION = {F.scaled_dot_product_attention, _ATEN.scaled_dot_product_attention.default}
_FEW = 128  # tokens


class Rewritten(nn.Module):  # type: ignore[misc]
    """`network`, which is not changed and must not move any more, by the cheaper calls that `probe` (N, C, H, W) shows."""

    def __init__(self, network: nn.Module, probe: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        with _Watch() as seen:
            network(probe)
        self._exchange = _Exchange(seen.foldable())

    def forward(self, images: torch.Tensor) -> Any:
        """As the network."""
        with self._exchange:
            return self.network(images)


@dataclass(frozen=True, slots=True)
class _Norm:
    """A normalisation of what a convolution made; `between` are the tensors on the way."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    between: tuple[torch.Tensor, ...]
    parts: tuple[Any, ...] = ()  # weight, bias, mean, variance, epsilon

    @property
    def fused(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The convolution's weight and bias with the normalisation in them."""
        scale, offset, mean, variance, epsilon = self.parts
        weight, bias = nn.utils.fusion.fuse_conv_bn_weights(
            self.weight, self.bias, mean, variance, epsilon, scale, offset
        )
        return weight.detach().contiguous(memory_format=torch.channels_last), bias.detach()


class _Watch(TorchFunctionMode):  # type: ignore[misc]
    """What convolutions make, who reads it, and which normalisations follow."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Any] = []  # so that no other tensor gets their identity
        self._reads: Counter[int] = Counter()
        self._made: dict[int, _Norm] = {}
        self._norms: list[_Norm] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not _touches(func, out):
            return out
        self._kept.append((args, kwargs, out))
        self._reads.update(id(tensor) for tensor in _tensors([*args, *kwargs.values()]))
        if _convolves(func, args):
            bias = args[2] if len(args) > 2 else kwargs.get("bias")
            self._made[id(out)] = _Norm(args[1], bias, (out,))
        elif func in _POOLS and args and id(args[0]) in self._made:
            before = self._made[id(args[0])]
            self._made[id(out)] = replace(before, between=(*before.between, out))
        elif func in _NORMS and args and id(args[0]) in self._made and (parts := _parts(func, args, kwargs)):
            self._norms.append(replace(self._made[id(args[0])], parts=parts))
        return out

    def foldable(self) -> list[_Norm]:
        """Those whose convolution, and all between, nothing else reads."""
        return [norm for norm in self._norms if self._alone(norm)]

    def _alone(self, norm: _Norm) -> bool:
        scale, mean = norm.parts[0], norm.parts[2]
        return all(self._reads[id(tensor)] == 1 for tensor in (norm.weight, mean, *norm.between)) and (
            len(norm.between) == 1 or scale is None or bool((scale > 0).all())
        )


class _Exchange(TorchFunctionMode):  # type: ignore[misc]
    """Weights are told by their identity."""

    def __init__(self, norms: list[_Norm]) -> None:
        super().__init__()
        self._kept = norms
        self._fused = {id(norm.weight): norm.fused for norm in norms}
        self._gone = {id(norm.parts[2]) for norm in norms}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _NORMS and args and (parts := _parts(func, args, kwargs)) and id(parts[2]) in self._gone:
            return (args[0], *[args[0].new_empty(0)] * 2) if func is _INFERRED else args[0]
        if func in _ATTENTION and args and args[0].is_cpu and args[0].shape[-2] <= _FEW:
            with sdpa_kernel(SDPBackend.MATH):
                return func(*args, **kwargs)
        if _convolves(func, args):
            if id(args[1]) in self._fused:
                args = (args[0], *self._fused[id(args[1])], *args[3:])
                kwargs = {name: value for name, value in kwargs.items() if name != "bias"}
            if func in _PLAIN and (tiled := _tiled(*args, **kwargs)) is not None:
                return tiled
        return func(*args, **kwargs)


def _tiled(
    images: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> torch.Tensor | None:
    """A convolution with windows side by side, as one product; None for any other, and where a window is a pixel."""
    height, width = weight.shape[2:]
    if (
        _two(stride) != (height, width)
        or (height, width) == (1, 1)
        or (_two(padding), _two(dilation), groups) != ((0, 0), (1, 1), 1)
        or images.dim() != 4
        or images.shape[2] % height
        or images.shape[3] % width
    ):
        return None
    tiles = images.unflatten(3, (-1, width)).unflatten(2, (-1, height)).permute(0, 2, 4, 1, 3, 5).flatten(3)
    return F.linear(tiles, weight.flatten(1), bias).permute(0, 3, 1, 2)


def _two(value: Any) -> tuple[Any, ...]:
    if isinstance(value, int | str):
        return (value, value)
    return tuple(value) if len(value) == 2 else (value[0], value[0])


def _touches(func: Any, out: Any) -> bool:
    """Whether a call reads or changes values: assigning to parts gives None, asking for a shape no tensor."""
    if getattr(func, "__name__", "") == "__get__":
        return isinstance(out, torch.Tensor)
    return out is None or isinstance(out, torch.Tensor | tuple | list)


def _convolves(func: Any, args: Any) -> bool:
    """Not where arguments are named that mostly are not."""
    if func in _GENERAL:
        return len(args) > _TRANSPOSED and not args[_TRANSPOSED]
    return len(args) > 1 and (func in _PLAIN or func is _ATEN.conv2d.padding)


def _parts(func: Any, args: Any, kwargs: Any) -> tuple[Any, ...] | None:
    """None where it trains, keeps no statistics, or leaves something to defaults."""
    if func is F.batch_norm:
        bound = signature(func).bind(*args, **kwargs)
        bound.apply_defaults()
        args = bound.args
    places = _NORMS[func]
    if len(args) <= places[-1] or args[places[2]] is None or (func is not _INFERRED and args[_TRAINING]):
        return None
    return tuple(args[place] for place in places)


def _tensors(values: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found
