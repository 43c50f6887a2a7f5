"""ONNX operators of the layers of image networks: convolution, pooling, normalisation, products, attention. Imports torch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from bezoar.graphs.onnx_arrays import torch_pads
from bezoar.graphs.onnx_values import Attributes, Inputs, NotTranslatedError, Operator, binary, optional


def _conv(inputs: Inputs, options: Attributes) -> Any:
    x, weight = inputs[:2]
    kernel = list(weight.shape[2:])
    n = len(kernel)
    strides, dilations = options.get("strides", [1] * n), options.get("dilations", [1] * n)
    x, padding = padded(x, window_pads(x, kernel, strides, dilations, options))
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[n]
    return conv(x, weight, optional(inputs, 2), strides, padding, dilations, options.get("group", 1))


def _conv_transpose(inputs: Inputs, options: Attributes) -> Any:
    x, weight = inputs[:2]
    n = weight.dim() - 2
    pads = options.get("pads", [0] * 2 * n)
    if options.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in options:
        raise NotTranslatedError("auto_pad or output_shape")
    if pads[:n] != pads[n:]:
        raise NotTranslatedError("uneven pads")
    ones = [1] * n
    conv = {1: F.conv_transpose1d, 2: F.conv_transpose2d}[n]
    extra = options.get("output_padding", [0] * n)
    strides, dilations = options.get("strides", ones), options.get("dilations", ones)
    return conv(x, weight, optional(inputs, 2), strides, pads[:n], extra, options.get("group", 1), dilations)


def window_pads(
    x: Any, kernel: list[int], strides: list[int], dilations: list[int], options: Attributes
) -> list[int]:
    """Padding in ONNX order: begins of all axes, then ends."""
    n = len(kernel)
    auto = options.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return [0] * 2 * n
    if auto == "NOTSET":
        return list(options.get("pads", [0] * 2 * n))
    begins, ends = [], []
    for side, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-side // s) - 1) * s + (k - 1) * d + 1 - side, 0)
        small = total // 2
        begins.append(small if auto == "SAME_UPPER" else total - small)
        ends.append(total - small if auto == "SAME_UPPER" else small)
    return begins + ends


def padded(x: Any, pads: list[int], value: float = 0.0) -> tuple[Any, list[int]]:
    """`x` and the padding that the layer itself is to do: all of it where it is even, none otherwise."""
    n = len(pads) // 2
    if pads[:n] == pads[n:] and min(pads) >= 0:
        return x, pads[:n]
    return F.pad(x, torch_pads(pads), value=value), [0] * n


def _max_pool(inputs: Inputs, options: Attributes) -> Any:
    x, kernel = inputs[0], options["kernel_shape"]
    ones = [1] * len(kernel)
    strides, dilations = options.get("strides", ones), options.get("dilations", ones)
    pads = window_pads(x, kernel, strides, dilations, options)
    ceil = bool(options.get("ceil_mode", 0))
    if any(2 * pad > k for pad, k in zip(pads, kernel * 2, strict=True)):  # more than torch does itself
        x, padding = F.pad(x, torch_pads(pads), value=-torch.inf), [0] * len(kernel)
    else:
        x, padding = padded(x, pads, -torch.inf)
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(kernel)]
    return pool(x, kernel, strides, padding, dilations, ceil_mode=ceil)


def _average_pool(inputs: Inputs, options: Attributes) -> Any:
    x, kernel = inputs[0], options["kernel_shape"]
    ones = [1] * len(kernel)
    strides = options.get("strides", ones)
    if options.get("dilations", ones) != ones:
        raise NotTranslatedError("dilations")
    pads = window_pads(x, kernel, strides, ones, options)
    ceil, counted = bool(options.get("ceil_mode", 0)), bool(options.get("count_include_pad", 0))
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(kernel)]
    n = len(kernel)
    if pads[:n] == pads[n:] and all(2 * pad <= k for pad, k in zip(pads, kernel, strict=False)):
        return pool(x, kernel, strides, pads[:n], ceil, counted)
    if ceil:
        raise NotTranslatedError("ceil_mode with uneven pads")
    total = pool(F.pad(x, torch_pads(pads)), kernel, strides)
    if counted:
        return total
    return total / pool(F.pad(torch.ones_like(x[:1, :1]), torch_pads(pads)), kernel, strides)


def _batch_normalization(inputs: Inputs, options: Attributes) -> Any:
    x, scale, bias, mean, variance = inputs
    if options.get("training_mode", 0):  # of weights, whose standardisation is written so; images are refused
        mean = variance = None
    return F.batch_norm(x, mean, variance, scale, bias, mean is None, 0.0, options.get("epsilon", 1e-5))


def _instance_normalization(inputs: Inputs, options: Attributes) -> Any:
    x, scale, bias = inputs
    return F.instance_norm(x, weight=scale, bias=bias, eps=options.get("epsilon", 1e-5))


def _group_normalization(inputs: Inputs, options: Attributes) -> Any:
    x, scale, bias = inputs
    groups = options["num_groups"]
    if scale.shape[0] != x.shape[1]:  # before opset 21, one number per group
        scale, bias = (part.repeat_interleave(x.shape[1] // groups) for part in (scale, bias))
    return F.group_norm(x, groups, scale, bias, options.get("epsilon", 1e-5))


def _layer_normalization(inputs: Inputs, options: Attributes) -> Any:
    x, scale = inputs[:2]
    axis = options.get("axis", -1) % x.dim()
    shape, eps, bias = x.shape[axis:], options.get("epsilon", 1e-5), optional(inputs, 2)
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return F.layer_norm(x, shape, scale, bias, eps)
    normal = F.layer_norm(x, shape, eps=eps) * scale
    return normal if bias is None else normal + bias


def _rms_normalization(inputs: Inputs, options: Attributes) -> Any:
    x, scale = inputs
    axes = tuple(range(options.get("axis", -1) % x.dim(), x.dim()))
    return x * torch.rsqrt(x.square().mean(axes, keepdim=True) + options.get("epsilon", 1e-5)) * scale


def _lrn(inputs: Inputs, options: Attributes) -> Any:
    size = options["size"]
    alpha, beta, bias = options.get("alpha", 1e-4), options.get("beta", 0.75), options.get("bias", 1.0)
    return F.local_response_norm(inputs[0], size, alpha, beta, bias)


def _lp_normalization(inputs: Inputs, options: Attributes) -> Any:
    x, p, axis = inputs[0], options.get("p", 2), options.get("axis", -1)
    return x / torch.linalg.vector_norm(x, p, axis, keepdim=True)


def _gemm(inputs: Inputs, options: Attributes) -> Any:
    a, b = inputs[:2]
    a = a.T if options.get("transA", 0) else a
    b = b.T if options.get("transB", 0) else b
    product = options.get("alpha", 1.0) * (a @ b)
    c = optional(inputs, 2)
    return product if c is None else product + options.get("beta", 1.0) * c


def _einsum(inputs: Inputs, options: Attributes) -> Any:
    return torch.einsum(options["equation"].replace(" ", ""), *inputs)


def _softmax(function: Any) -> Operator:
    def run(inputs: Inputs, options: Attributes) -> Any:
        (x,) = inputs
        if options["opset"] >= 13:
            return function(x, options.get("axis", -1))
        axis = options.get("axis", 1) % x.dim()  # before opset 13, over all axes from this one on
        return function(x.flatten(axis), axis).reshape(x.shape)

    return Operator(run)


def _attention(inputs: Inputs, options: Attributes) -> Any:
    """Opset 23: softmax(q k' scale + mask) v, heads on axis 1 or, with three axes, within the last one."""
    query, key, value = inputs[:3]
    mask = optional(inputs, 3)
    if any(optional(inputs, place) is not None for place in (4, 5)) or options.get("softcap", 0):
        raise NotTranslatedError("with a cache or softcap")
    joined = query.dim() == 3
    if joined:
        heads = (options["q_num_heads"], options["kv_num_heads"], options["kv_num_heads"])
        query, key, value = (
            x.unflatten(-1, (count, -1)).transpose(1, 2)
            for x, count in zip((query, key, value), heads, strict=True)
        )
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    scale = options.get("scale") or 1 / math.sqrt(query.shape[-1])
    result = F.scaled_dot_product_attention(
        query, key, value, mask, is_causal=bool(options.get("is_causal", 0)), scale=scale
    )
    return result.transpose(1, 2).flatten(2) if joined else result


def _global_average_pool(inputs: Inputs, options: Attributes) -> Any:
    return inputs[0].mean(tuple(range(2, inputs[0].dim())), keepdim=True)


def _global_max_pool(inputs: Inputs, options: Attributes) -> Any:
    return inputs[0].amax(tuple(range(2, inputs[0].dim())), keepdim=True)


LAYERS: dict[str, Operator] = {
    "Attention": Operator(_attention),
    "AveragePool": Operator(_average_pool),
    "BatchNormalization": Operator(_batch_normalization),
    "Conv": Operator(_conv),
    "ConvTranspose": Operator(_conv_transpose),
    "Einsum": Operator(_einsum),
    "Gemm": Operator(_gemm),
    "GlobalAveragePool": Operator(_global_average_pool),
    "GlobalMaxPool": Operator(_global_max_pool),
    "GroupNormalization": Operator(_group_normalization),
    "InstanceNormalization": Operator(_instance_normalization),
    "LRN": Operator(_lrn),
    "LayerNormalization": Operator(_layer_normalization),
    "LogSoftmax": _softmax(torch.log_softmax),
    "LpNormalization": Operator(_lp_normalization),
    "MatMul": binary(torch.matmul),
    "MaxPool": Operator(_max_pool),
    "RMSNormalization": Operator(_rms_normalization),
    "Softmax": _softmax(torch.softmax),
}
