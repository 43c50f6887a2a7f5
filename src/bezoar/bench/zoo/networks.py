"""Thin networks of four families, small enough for one core to train in a minute. This module loads torch.

A residual network (He et al., CVPR 2016), one in the style of VGG (Simonyan and Zisserman, ICLR 2015), a vision transformer
(Dosovitskiy et al., ICLR 2021) and a multi-layer perceptron.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

_RESNET_STEM, _RESNET_WIDTHS = 32, (64, 128)
_VGG_WIDTHS = (16, 32, 64, 128)
_VIT_WIDTH, _VIT_DEPTH, _VIT_HEADS, _VIT_PATCHES = 64, 4, 4, 4  # patches along a side
_MLP_WIDTHS = (384, 192)

Shape = tuple[int, int, int]  # C, H, W


def network(
    architecture: str, shape: Shape, n_classes: int, mean: Sequence[float], std: Sequence[float]
) -> nn.Module:
    """Float32 images (N, C, H, W) in [0, 1] to logits (N, K); `mean` and `std` of pixels per channel, (C,), are inside."""
    return nn.Sequential(_Normalised(mean, std), ARCHITECTURES[architecture](shape, n_classes))


class _Normalised(nn.Module):  # type: ignore[misc]
    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


def _resnet(shape: Shape, n_classes: int) -> nn.Module:
    layers = _pooled(shape[0], _RESNET_STEM)
    width = _RESNET_STEM
    for wider in _RESNET_WIDTHS:
        layers.append(_Residual(width, wider))
        width = wider
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes))


class _Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions, the first of which halves the image, beside a shortcut that does the same."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(width, wider, stride=2), nn.ReLU(), *_convolution(wider, wider)
        )
        self.shortcut = nn.Sequential(*_convolution(width, wider, size=1, stride=2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _convolution(width: int, wider: int, *, size: int = 3, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(width, wider, size, stride, size // 2, bias=False), nn.BatchNorm2d(wider)


def _pooled(width: int, wider: int) -> list[nn.Module]:
    """A convolution and its pooling; to normalise what is pooled costs a quarter."""
    convolution, normalisation = _convolution(width, wider)
    return [convolution, nn.MaxPool2d(2), normalisation, nn.ReLU()]


def _vgg(shape: Shape, n_classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    width, side = shape[0], shape[1]
    for wider in _VGG_WIDTHS:
        layers += _pooled(width, wider)
        width, side = wider, side // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side * side, n_classes))


def _mlp(shape: Shape, n_classes: int) -> nn.Module:
    channels, height, width = shape
    layers: list[nn.Module] = [nn.Flatten()]
    size = channels * height * width
    for narrower in _MLP_WIDTHS:
        layers += [nn.Linear(size, narrower), nn.ReLU()]
        size = narrower
    return nn.Sequential(*layers, nn.Linear(size, n_classes))


class _Transformer(nn.Module):  # type: ignore[misc]
    def __init__(self, shape: Shape, n_classes: int) -> None:
        super().__init__()
        side = shape[1] // _VIT_PATCHES
        self.patches = nn.Conv2d(shape[0], _VIT_WIDTH, side, side)
        self.places = nn.Parameter(0.02 * torch.randn(1, _VIT_PATCHES**2, _VIT_WIDTH))
        self.blocks = nn.Sequential(*(_Block() for _ in range(_VIT_DEPTH)))
        self.head = nn.Sequential(nn.LayerNorm(_VIT_WIDTH), nn.Linear(_VIT_WIDTH, n_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.head(self.blocks(tokens).mean(1))


class _Block(nn.Module):  # type: ignore[misc]
    """Pre-normalised attention and a perceptron, each beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(_VIT_WIDTH), nn.LayerNorm(_VIT_WIDTH)
        self.queries_keys_values = nn.Linear(_VIT_WIDTH, 3 * _VIT_WIDTH)
        self.joined = nn.Linear(_VIT_WIDTH, _VIT_WIDTH)
        self.perceptron = nn.Sequential(
            nn.Linear(_VIT_WIDTH, 2 * _VIT_WIDTH), nn.GELU(), nn.Linear(2 * _VIT_WIDTH, _VIT_WIDTH)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self._attention(self.before(tokens))
        return tokens + self.perceptron(self.between(tokens))

    def _attention(self, tokens: torch.Tensor) -> torch.Tensor:
        n, length, width = tokens.shape
        parts = self.queries_keys_values(tokens).reshape(n, length, 3, _VIT_HEADS, width // _VIT_HEADS)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(queries, keys, values)
        return self.joined(mixed.transpose(1, 2).reshape(n, length, width))


ARCHITECTURES: dict[str, Callable[[Shape, int], nn.Module]] = {
    "resnet": _resnet,
    "vgg": _vgg,
    "vit": _Transformer,
    "mlp": _mlp,
}
