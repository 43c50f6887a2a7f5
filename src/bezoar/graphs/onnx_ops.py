"""ONNX operators of convolutional image networks in torch (https://onnx.ai/onnx/operators/).

`OPERATORS` maps an operator to a function of its inputs (tensors, None where left out) and its attributes
(a dict, with the graph's version under "opset"). Shape arithmetic is done on small integer tensors, like in
ONNX itself. Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

Inputs = list[Any]
Attributes = dict[str, Any]
Operator = Callable[[Inputs, Attributes], Any]

_MAX_CONSTANT = 2**26  # elements that ConstantOfShape and Expand may make


class NotTranslatedError(Exception):
    """An attribute or an input form that is not covered here."""


def attributes(node: Any, opset: int) -> Attributes:
    """The attributes of a node as Python values; tensors as torch tensors."""
    from onnx import AttributeProto, helper

    values: Attributes = {"opset": opset}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.TENSOR:
            value = to_tensor(value)
        elif attribute.type == AttributeProto.STRING:
            value = value.decode("utf-8", "replace")
        values[attribute.name] = value
    return values


def to_tensor(tensor: Any) -> Any:
    """A torch tensor of an ONNX tensor that is stored in the file itself."""
    from onnx import numpy_helper

    return torch.from_numpy(np.array(numpy_helper.to_array(tensor)))


def _conv(inputs: Inputs, options: Attributes) -> Any:
    x, weight = inputs[:2]
    bias = inputs[2] if len(inputs) > 2 else None
    kernel = list(weight.shape[2:])
    n = len(kernel)
    strides, dilations = options.get("strides", [1] * n), options.get("dilations", [1] * n)
    x = F.pad(x, _torch_pads(_pads(x, kernel, strides, dilations, options)))
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[n]
    return conv(x, weight, bias, strides, 0, dilations, options.get("group", 1))


def _pads(
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


def _torch_pads(pads: list[int]) -> list[int]:
    """ONNX order (begins, then ends) to torch order (last axis first, begin and end together)."""
    n = len(pads) // 2
    return [side for axis in reversed(range(n)) for side in (pads[axis], pads[axis + n])]


def _max_pool(inputs: Inputs, options: Attributes) -> Any:
    (x,) = inputs
    kernel = options["kernel_shape"]
    strides, dilations = (
        options.get("strides", [1] * len(kernel)),
        options.get("dilations", [1] * len(kernel)),
    )
    x = F.pad(x, _torch_pads(_pads(x, kernel, strides, dilations, options)), value=-torch.inf)
    pool = {1: F.max_pool1d, 2: F.max_pool2d}[len(kernel)]
    return pool(x, kernel, strides, 0, dilations, ceil_mode=bool(options.get("ceil_mode", 0)))


def _average_pool(inputs: Inputs, options: Attributes) -> Any:
    (x,) = inputs
    kernel = options["kernel_shape"]
    ones = [1] * len(kernel)
    strides = options.get("strides", ones)
    if options.get("ceil_mode", 0) or options.get("dilations", ones) != ones:
        raise NotTranslatedError("ceil_mode or dilations")
    pads = _torch_pads(_pads(x, kernel, strides, ones, options))
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d}[len(kernel)]
    total = pool(F.pad(x, pads), kernel, strides)
    if options.get("count_include_pad", 0) or not any(pads):
        return total
    return total / pool(F.pad(torch.ones_like(x[:1, :1]), pads), kernel, strides)


def _batch_normalization(inputs: Inputs, options: Attributes) -> Any:
    x, scale, bias, mean, variance = inputs
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, options.get("epsilon", 1e-5))


def _layer_normalization(inputs: Inputs, options: Attributes) -> Any:
    x, scale = inputs[:2]
    axis = options.get("axis", -1) % x.dim()
    bias = inputs[2] if len(inputs) > 2 else None
    normal = F.layer_norm(x, x.shape[axis:], eps=options.get("epsilon", 1e-5)) * scale
    return normal if bias is None else normal + bias


def _gemm(inputs: Inputs, options: Attributes) -> Any:
    a, b = inputs[:2]
    a = a.T if options.get("transA", 0) else a
    b = b.T if options.get("transB", 0) else b
    product = options.get("alpha", 1.0) * (a @ b)
    c = inputs[2] if len(inputs) > 2 else None
    return product if c is None else product + options.get("beta", 1.0) * c


def _clip(inputs: Inputs, options: Attributes) -> Any:
    low = inputs[1] if len(inputs) > 1 else options.get("min")
    high = inputs[2] if len(inputs) > 2 else options.get("max")
    return inputs[0] if low is None and high is None else torch.clamp(inputs[0], low, high)


def _pad(inputs: Inputs, options: Attributes) -> Any:
    x = inputs[0]
    pads = _ints(inputs[1]) if len(inputs) > 1 else list(options["pads"])
    value = inputs[2] if len(inputs) > 2 else options.get("value", 0.0)
    if len(inputs) > 3 and inputs[3] is not None:
        axes = [axis % x.dim() for axis in _ints(inputs[3])]
        full = [0] * 2 * x.dim()
        for place, axis in enumerate(axes):
            full[axis], full[axis + x.dim()] = pads[place], pads[place + len(axes)]
        pads = full
    mode = options.get("mode", "constant")
    if mode == "constant":
        return F.pad(x, _torch_pads(pads), value=0.0 if value is None else float(value))
    if any(pads[axis] or pads[axis + x.dim()] for axis in (0, 1)):
        raise NotTranslatedError(f"mode {mode} over batch or channels")
    spatial = [*pads[2 : x.dim()], *pads[x.dim() + 2 :]]
    return F.pad(x, _torch_pads(spatial), mode={"edge": "replicate", "reflect": "reflect"}[mode])


def _reshape(inputs: Inputs, options: Attributes) -> Any:
    x, wanted = inputs[0], _ints(inputs[1])
    keep_zero = options.get("allowzero", 0)
    return x.reshape([x.shape[i] if side == 0 and not keep_zero else side for i, side in enumerate(wanted)])


def _flatten(inputs: Inputs, options: Attributes) -> Any:
    (x,) = inputs
    axis = options.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


def _axes(inputs: Inputs, options: Attributes) -> list[int] | None:
    """Axes as the second input (newer opsets) or an attribute."""
    if len(inputs) > 1 and inputs[1] is not None:
        return _ints(inputs[1])
    return options.get("axes")


def _squeeze(inputs: Inputs, options: Attributes) -> Any:
    axes = _axes(inputs, options)
    return inputs[0].squeeze() if axes is None else inputs[0].squeeze(tuple(axes))


def _unsqueeze(inputs: Inputs, options: Attributes) -> Any:
    x, axes = inputs[0], _axes(inputs, options) or []
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _reduce(function: Callable[..., Any]) -> Operator:
    def reduce(inputs: Inputs, options: Attributes) -> Any:
        x, axes = inputs[0], _axes(inputs, options)
        if not axes and options.get("noop_with_empty_axes", 0):
            return x
        return function(x, tuple(axes or range(x.dim())), keepdim=bool(options.get("keepdims", 1)))

    return reduce


def _softmax(inputs: Inputs, options: Attributes) -> Any:
    (x,) = inputs
    if options["opset"] >= 13:
        return torch.softmax(x, options.get("axis", -1))
    axis = options.get("axis", 1) % x.dim()  # before opset 13, over all axes from this one on
    return torch.softmax(x.flatten(axis), axis).reshape(x.shape)


def _slice(inputs: Inputs, options: Attributes) -> Any:
    x = inputs[0]
    given = [_ints(item) if item is not None else None for item in inputs[1:]] + [None] * (5 - len(inputs))
    starts, ends = given[0] or options["starts"], given[1] or options["ends"]
    axes = given[2] or options.get("axes") or list(range(len(starts)))
    for start, end, axis, step in zip(starts, ends, axes, given[3] or [1] * len(starts), strict=True):
        chosen = range(x.shape[axis])[slice(start, end, step)]
        x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64, device=x.device))
    return x


def _gather(inputs: Inputs, options: Attributes) -> Any:
    x, index = inputs
    axis = options.get("axis", 0) % x.dim()
    index = torch.where(index < 0, index + x.shape[axis], index).to(x.device)
    picked = x.index_select(axis, index.reshape(-1))
    return picked.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def _split(inputs: Inputs, options: Attributes) -> Any:
    x, axis = inputs[0], options.get("axis", 0)
    sizes = _ints(inputs[1]) if len(inputs) > 1 else options.get("split")
    if sizes is None:
        raise NotTranslatedError("without sizes")
    return tuple(torch.split(x, sizes, axis))


def _constant(inputs: Inputs, options: Attributes) -> Any:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in options:
            value = options[name]
            kind = torch.float32 if "float" in name else torch.int64
            return value if name == "value" else torch.tensor(value, dtype=kind)
    raise NotTranslatedError("of this kind")


def _constant_of_shape(inputs: Inputs, options: Attributes) -> Any:
    value = options.get("value", torch.zeros(1))
    return value.expand(_bounded(_ints(inputs[0]))).clone() if inputs[0].numel() else value[0]


def _expand(inputs: Inputs, options: Attributes) -> Any:
    shape = torch.broadcast_shapes(inputs[0].shape, tuple(_ints(inputs[1])))
    return inputs[0].expand(_bounded(list(shape)))


def _bounded(shape: list[int]) -> list[int]:
    if np.prod(np.array(shape, float)) > _MAX_CONSTANT:
        raise NotTranslatedError(f"shape {shape} is too large")
    return shape


def _shape(inputs: Inputs, options: Attributes) -> Any:
    sides = list(inputs[0].shape)[options.get("start", 0) : options.get("end")]
    return torch.tensor(sides, dtype=torch.int64)


def _cast(inputs: Inputs, options: Attributes) -> Any:
    from onnx import TensorProto

    kinds = {
        TensorProto.FLOAT: torch.float32,
        TensorProto.DOUBLE: torch.float64,
        TensorProto.FLOAT16: torch.float16,
        TensorProto.INT32: torch.int32,
        TensorProto.INT64: torch.int64,
        TensorProto.BOOL: torch.bool,
        TensorProto.UINT8: torch.uint8,
    }
    return inputs[0].to(kinds[options["to"]])


def _divide(inputs: Inputs, options: Attributes) -> Any:
    a, b = inputs
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _ints(tensor: Any) -> list[int]:
    return [int(value) for value in tensor.reshape(-1).tolist()]


def _unary(function: Callable[[Any], Any]) -> Operator:
    return lambda inputs, options: function(inputs[0])


def _binary(function: Callable[[Any, Any], Any]) -> Operator:
    return lambda inputs, options: function(inputs[0], inputs[1])


OPERATORS: dict[str, Operator] = {
    "Add": _binary(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda inputs, options: torch.cat(inputs, options["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Div": _divide,
    "Dropout": _unary(lambda x: x),
    "Elu": lambda inputs, options: F.elu(inputs[0], options.get("alpha", 1.0)),
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _unary(lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True)),
    "GlobalMaxPool": _unary(lambda x: x.amax(tuple(range(2, x.dim())), keepdim=True)),
    "HardSigmoid": lambda inputs, options: torch.clamp(
        inputs[0] * options.get("alpha", 0.2) + options.get("beta", 0.5), 0, 1
    ),
    "HardSwish": _unary(F.hardswish),
    "Identity": _unary(lambda x: x),
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": lambda inputs, options: F.leaky_relu(inputs[0], options.get("alpha", 0.01)),
    "MatMul": _binary(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "PRelu": _binary(lambda x, slope: torch.where(x < 0, x * slope, x)),
    "Pad": _pad,
    "Pow": _binary(torch.pow),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _unary(F.relu),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _unary(torch.sigmoid),
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Sqrt": _unary(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(torch.sub),
    "Tanh": _unary(torch.tanh),
    "Transpose": lambda inputs, options: inputs[0].permute(
        options.get("perm") or list(reversed(range(inputs[0].dim())))
    ),
    "Unsqueeze": _unsqueeze,
    "Where": lambda inputs, options: torch.where(*inputs),
}
