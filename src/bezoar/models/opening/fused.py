"""Torch's fused transformer kernels, which have no gradient, written out with operators that have one.

A transformer that is traced in evaluation mode calls them ("fast path", torch/nn/modules/transformer.py). Imports torch: import
this module inside the function that needs it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from bezoar.errors import InputError


def multi_head_attention(
    query: Any,
    key: Any,
    value: Any,
    width: int,
    heads: int,
    qkv_weight: Any,
    qkv_bias: Any,
    weight: Any,
    bias: Any,
    mask: Any = None,
    *_: Any,
) -> tuple[Any, Any]:
    """Of tokens (N, L, D); `width` is D. The attention weights, its second output, are left out: image classifiers drop them."""
    if mask is not None:
        raise InputError("its attention has a mask, which image classifiers do not need")
    parts = [
        F.linear(tokens, w, b).unflatten(-1, (heads, -1)).transpose(1, 2)
        for tokens, w, b in zip(
            (query, key, value), qkv_weight.split(width), qkv_bias.split(width), strict=True
        )
    ]
    mixed = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    return F.linear(mixed, weight, bias), torch.empty(0)


def encoder_layer(
    tokens: Any,
    width: int,
    heads: int,
    qkv_weight: Any,
    qkv_bias: Any,
    weight: Any,
    bias: Any,
    gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Any,
    norm_bias_1: Any,
    norm_weight_2: Any,
    norm_bias_2: Any,
    weight_1: Any,
    bias_1: Any,
    weight_2: Any,
    bias_2: Any,
    mask: Any = None,
    *_: Any,
) -> Any:
    """One layer of `torch.nn.TransformerEncoder` on tokens (N, L, D)."""

    def attended(x: Any) -> Any:
        return multi_head_attention(x, x, x, width, heads, qkv_weight, qkv_bias, weight, bias, mask)[0]

    def fed_forward(x: Any) -> Any:
        hidden = F.linear(x, weight_1, bias_1)
        return F.linear(F.gelu(hidden) if gelu else F.relu(hidden), weight_2, bias_2)

    def first(x: Any) -> Any:
        return F.layer_norm(x, (width,), norm_weight_1, norm_bias_1, eps)

    def second(x: Any) -> Any:
        return F.layer_norm(x, (width,), norm_weight_2, norm_bias_2, eps)

    if norm_first:
        tokens = tokens + attended(first(tokens))
        return tokens + fed_forward(second(tokens))
    tokens = first(tokens + attended(tokens))
    return second(tokens + fed_forward(tokens))
