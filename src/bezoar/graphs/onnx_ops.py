"""ONNX operators of image networks in torch (https://onnx.ai/onnx/operators/): one table, `OPERATORS`.

Shape arithmetic is done on small integer tensors on the CPU, as in ONNX itself. Imports torch: import this module inside the
function that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from bezoar.graphs.onnx_arrays import ARRAYS, axes_of
from bezoar.graphs.onnx_layers import LAYERS
from bezoar.graphs.onnx_resize import RESIZE
from bezoar.graphs.onnx_values import Attributes, Inputs, Operator, binary, optional, together, unary


def _clip(inputs: Inputs, options: Attributes) -> Any:
    low, high = (
        options.get(name) if (given := optional(inputs, place)) is None else given[0]
        for place, name in ((1, "min"), (2, "max"))
    )
    return inputs[0] if low is None and high is None else torch.clamp(inputs[0], low, high)


def _reduce(function: Callable[..., Any]) -> Operator:
    def run(inputs: Inputs, options: Attributes) -> Any:
        x, axes = inputs[0], axes_of(inputs, options)
        if not axes and options.get("noop_with_empty_axes", 0):
            return x
        return function(x, tuple(axes or range(x.dim())), keepdim=bool(options.get("keepdims", 1)))

    return Operator(run, frozenset({1}))


def _product(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def _several(function: Callable[[Any, Any], Any]) -> Operator:
    return Operator(lambda inputs, options: reduce(function, together(*inputs)))


def _mean(inputs: Inputs, options: Attributes) -> Any:
    return reduce(torch.add, inputs) / len(inputs)


def _where(inputs: Inputs, options: Attributes) -> Any:
    condition, a, b = inputs
    if not condition.device == a.device == b.device:
        condition, a, b = together(condition, a, b)
    return torch.where(condition, a, b)


def _divide(a: Any, b: Any) -> Any:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _modulo(inputs: Inputs, options: Attributes) -> Any:
    a, b = together(*inputs)
    return torch.fmod(a, b) if options.get("fmod", 0) else torch.remainder(a, b)


def _gelu(inputs: Inputs, options: Attributes) -> Any:
    return F.gelu(inputs[0], approximate=options.get("approximate", "none"))


def _hard_sigmoid(inputs: Inputs, options: Attributes) -> Any:
    return torch.clamp(inputs[0] * options.get("alpha", 0.2) + options.get("beta", 0.5), 0, 1)


def _swish(inputs: Inputs, options: Attributes) -> Any:
    return inputs[0] * torch.sigmoid(options.get("alpha", 1.0) * inputs[0])


def _quantize(inputs: Inputs, options: Attributes) -> Any:
    """Rounded and cut, but kept as floating point; the gradient passes straight through (Bengio et al. 2013)."""
    from onnx import helper

    x, scale, zero = _with_scale(inputs, options)
    kind = inputs[2].dtype if optional(inputs, 2) is not None else torch.uint8
    if given := options.get("output_dtype"):
        kind = getattr(torch, helper.tensor_dtype_to_np_dtype(given).name)
    limits = torch.iinfo(kind)
    y = x / scale + zero
    y = y + (torch.round(y) - y).detach()
    return torch.clamp(y, limits.min, limits.max)


def _dequantize(inputs: Inputs, options: Attributes) -> Any:
    x, scale, zero = _with_scale(inputs, options)
    return (x.to(torch.float32) - zero) * scale


def _with_scale(inputs: Inputs, options: Attributes) -> tuple[Any, Any, Any]:
    """The tensor, its scale and zero point, which are one number or one per index of `axis`."""
    x, scale = inputs[:2]
    zero = optional(inputs, 2)
    zero = torch.zeros_like(scale) if zero is None else zero.to(torch.float32)
    if scale.dim() == 1 and x.dim() > 1:
        shape = [1] * x.dim()
        shape[options.get("axis", 1)] = -1
        scale, zero = scale.view(shape), zero.view(shape)
    return x, scale, zero


def _with(function: Callable[..., Any], *names: tuple[str, float]) -> Operator:
    """An operator of one tensor and of attributes, which have defaults."""
    return Operator(lambda inputs, options: function(inputs[0], *(options.get(name, d) for name, d in names)))


OPERATORS: dict[str, Operator] = {
    **ARRAYS,
    **LAYERS,
    **RESIZE,
    "Abs": unary(torch.abs),
    "Add": binary(torch.add),
    "And": binary(torch.logical_and),
    "Ceil": unary(torch.ceil),
    "Celu": _with(F.celu, ("alpha", 1.0)),
    "Clip": Operator(_clip, frozenset({1, 2})),
    "Cos": unary(torch.cos),
    "DequantizeLinear": Operator(_dequantize),
    "Div": binary(_divide),
    "Elu": _with(F.elu, ("alpha", 1.0)),
    "Equal": binary(torch.eq),
    "Erf": unary(torch.erf),
    "Exp": unary(torch.exp),
    "Floor": unary(torch.floor),
    "Gelu": Operator(_gelu),
    "Greater": binary(torch.gt),
    "GreaterOrEqual": binary(torch.ge),
    "HardSigmoid": Operator(_hard_sigmoid),
    "HardSwish": unary(F.hardswish),
    "LeakyRelu": _with(F.leaky_relu, ("alpha", 0.01)),
    "Less": binary(torch.lt),
    "LessOrEqual": binary(torch.le),
    "Log": unary(torch.log),
    "Max": _several(torch.maximum),
    "Mean": Operator(_mean),
    "Min": _several(torch.minimum),
    "Mish": unary(F.mish),
    "Mod": Operator(_modulo),
    "Mul": binary(torch.mul),
    "Neg": unary(torch.neg),
    "Not": unary(torch.logical_not),
    "Or": binary(torch.logical_or),
    "PRelu": binary(lambda x, slope: torch.where(x < 0, x * slope, x)),
    "Pow": binary(torch.pow),
    "QuantizeLinear": Operator(_quantize),
    "Reciprocal": unary(torch.reciprocal),
    "ReduceL1": _reduce(lambda x, axes, keepdim: x.abs().sum(axes, keepdim)),
    "ReduceL2": _reduce(lambda x, axes, keepdim: torch.linalg.vector_norm(x, 2, axes, keepdim)),
    "ReduceLogSumExp": _reduce(torch.logsumexp),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceProd": _reduce(_product),
    "ReduceSum": _reduce(torch.sum),
    "ReduceSumSquare": _reduce(lambda x, axes, keepdim: x.square().sum(axes, keepdim)),
    "Relu": unary(F.relu),
    "Round": unary(torch.round),
    "Selu": unary(F.selu),
    "Sigmoid": unary(torch.sigmoid),
    "Sign": unary(torch.sign),
    "Sin": unary(torch.sin),
    "Softplus": unary(F.softplus),
    "Softsign": unary(F.softsign),
    "Sqrt": unary(torch.sqrt),
    "Sub": binary(torch.sub),
    "Sum": _several(torch.add),
    "Swish": Operator(_swish),
    "Tanh": unary(torch.tanh),
    "ThresholdedRelu": _with(lambda x, alpha: torch.where(x > alpha, x, torch.zeros_like(x)), ("alpha", 1.0)),
    "Where": Operator(_where),
    "Xor": binary(torch.logical_xor),
}
