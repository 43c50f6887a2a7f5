"""The operators that a file's graph may name: arithmetic on tensors from ATen, by their names there, and nothing else.

No name here reads or writes files, makes tensors of uninitialised or foreign memory, draws random numbers, or comes from an
extension. Batch normalisation and dropout run in evaluation mode, whatever mode the file was exported in. Imports torch:
import this module inside the function that needs it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

from bezoar.errors import InputError, quoted
from bezoar.models.opening.fused import encoder_layer, multi_head_attention

_MAX_INTEGER = 2**63
MAX_LENGTH = 100_000  # of a list that a graph makes, with all lists in it
_MAX_DEPTH = 100  # of such a list

_NAMES = """
    abs acos acosh adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool2d add add_ addcdiv addcmul addmm alias all alpha_dropout amax amin any arange argmax argmin
    as_tensor asin atan atan2 avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bilinear bitwise_and bitwise_not
    bitwise_or bmm broadcast_tensors broadcast_to cat ceil celu celu_ channel_shuffle chunk clamp clamp_ clamp_max
    clamp_max_ clamp_min clamp_min_ clone complex concat constant_pad_nd contiguous conv1d conv2d conv3d
    conv_transpose2d _convolution convolution copy copy_ cos cosh cumsum detach diagonal div div_ dropout dropout_
    einsum elu elu_ empty_like eq erf exp exp_ expand expand_as expm1 eye feature_dropout feature_dropout_ fft_fft2
    fft_ifft2 fft_irfft2 fft_rfft2 fill fill_ flatten flip floor floor_divide fmod full full_like gather ge gelu gelu_
    glu grid_sampler grid_sampler_2d group_norm gt hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_
    im2col index index_select instance_norm isfinite isinf isnan layer_norm le leaky_relu leaky_relu_ lerp lift_fresh
    lift_fresh_copy linalg_vector_norm linear linspace log log1p log2 log_sigmoid _log_softmax log_softmax logical_and
    logical_not logical_or logsumexp lt masked_fill masked_fill_ matmul max max_pool1d max_pool2d
    max_pool2d_with_indices max_pool3d maximum mean meshgrid min minimum mish mish_ mm movedim mul mul_ mv narrow
    _native_batch_norm_legit_no_training native_group_norm native_layer_norm _native_multi_head_attention ne neg neg_
    new_full new_ones new_zeros norm numpy_T ones ones_like outer pad permute pixel_shuffle pixel_unshuffle pow prelu
    prod reciprocal reflection_pad2d relu relu_ relu6 relu6_ remainder repeat repeat_interleave replication_pad2d
    reshape reshape_as roll round rsqrt rsqrt_ rsub scalar_tensor scaled_dot_product_attention
    _scaled_dot_product_flash_attention_for_cpu select selu selu_ sigmoid sigmoid_ sign silu silu_ sin sinh slice
    _softmax softmax softmax_ softplus split split_with_sizes sqrt sqrt_ square squeeze stack std sub sub_ sum
    swapaxes t tan tanh tanh_ tensor tensor_split threshold threshold_ tile to _to_copy _transformer_encoder_layer_fwd
    transpose tril triu true_divide type_as unbind unflatten unfold _unsafe_view unsqueeze unsqueeze_
    upsample_bicubic2d _upsample_bicubic2d_aa upsample_bilinear2d _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_trilinear3d var var_mean view view_as view_as_complex
    view_as_real where zero_ zeros zeros_like
"""
ATEN = frozenset(_NAMES.split())

_FUSED: dict[str, Callable[..., Any]] = {
    "_native_multi_head_attention": multi_head_attention,
    "_transformer_encoder_layer_fwd": encoder_layer,
}
_EVALUATION = {  # where an operator is told that it trains
    "batch_norm": ("training", 5), "instance_norm": ("use_input_stats", 5), "dropout": ("train", 2), "dropout_": ("train", 2),
    "feature_dropout": ("train", 2), "feature_dropout_": ("train", 2), "alpha_dropout": ("train", 2),
}  # fmt: skip


def aten(name: str, overload: str | None = None) -> Callable[..., Any]:
    """The ATen operator `name`, or one overload of it; InputError where it is not one of `ATEN`."""
    if name not in ATEN or (overload is not None and overload.endswith("out")):
        raise InputError(
            f"its graph uses the operator {quoted(name)}, which is no plain arithmetic on tensors"
        )
    if name in _FUSED:
        return _FUSED[name]
    found = getattr(torch.ops.aten, name, None)
    if found is not None and overload is not None:
        found = getattr(found, overload, None)
    if found is None:
        raise InputError(f"its graph uses the operator {quoted(name)}, which this version of torch lacks")
    if name not in _EVALUATION:
        return found  # type: ignore[no-any-return]
    option, position = _EVALUATION[name]
    return _evaluating(found, option, position, name == "instance_norm")


def _evaluating(function: Callable[..., Any], option: str, position: int, own: bool) -> Callable[..., Any]:
    """`function` told that it does not train; `own`: unless it has no statistics but those of its input."""

    def run(*arguments: Any, **options: Any) -> Any:
        if own and (len(arguments) < 5 or arguments[3] is None):
            return function(*arguments, **options)
        if len(arguments) > position:
            arguments = (*arguments[:position], False, *arguments[position + 1 :])
        elif option in options:
            options = {**options, option: False}
        return function(*arguments, **options)

    return run


def checked(value: Any) -> Any:
    """A number or list that a graph computed; InputError where it is larger than any shape needs.

    A list counts as often as it stands in others: comparing, printing or hashing one that is there twice, twice, ... never ends.
    """
    if type(value) is int and not -_MAX_INTEGER <= value < _MAX_INTEGER:
        raise InputError("its graph computes an integer of more than 64 bits")
    level, count = [value], 0
    for _ in range(_MAX_DEPTH):
        level = [item for item in level if isinstance(item, list | tuple | dict)]
        count += sum(map(len, level))
        if not level:
            return value
        if count > MAX_LENGTH:
            raise InputError(f"its graph makes a list of more than {MAX_LENGTH:,} values")
        level = [item for items in level for item in (items.values() if isinstance(items, dict) else items)]
    raise InputError("its graph nests lists deeper than any network needs")


def _power(base: float, exponent: float) -> float:
    result = float(base) ** float(exponent)
    if isinstance(result, complex):
        raise ValueError("a root of a negative number")
    return int(result) if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0 else result


def _numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, for numbers only: on a list or a string, a product is a bomb."""

    def run(*values: Any) -> Any:
        if not all(isinstance(value, int | float) for value in values):
            raise TypeError(f"{type(values[0]).__name__} is no number")
        return checked(function(*values))

    return run


def _add(first: Any, second: Any, alpha: int = 1) -> Any:
    if isinstance(first, list) and isinstance(second, list) and len(first) + len(second) <= MAX_LENGTH:
        return first + second
    return _numbers(lambda a, b, c: a + b * c)(first, second, alpha)


SCALAR: dict[str, Callable[..., Any]] = {  # arithmetic on sizes
    "add": _add,
    "sub": _numbers(operator.sub),
    "mul": _numbers(operator.mul),
    "div": _numbers(operator.truediv),
    "truediv": _numbers(operator.truediv),
    "floordiv": _numbers(operator.floordiv),
    "floor_divide": _numbers(operator.floordiv),
    "remainder": _numbers(operator.mod),
    "mod": _numbers(operator.mod),
    "pow": _numbers(_power),
    "neg": _numbers(operator.neg),
    "abs": _numbers(abs),
    "floor": _numbers(lambda value: int(value // 1)),
    "ceil": _numbers(lambda value: int(-(-value // 1))),
    "round": _numbers(round),
    "sqrt": _numbers(lambda value: value**0.5),
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": _numbers(operator.lt),
    "le": _numbers(operator.le),
    "gt": _numbers(operator.gt),
    "ge": _numbers(operator.ge),
    "and_": _numbers(operator.and_),
    "or_": _numbers(operator.or_),
    "not_": operator.not_,
    "max": _numbers(max),
    "min": _numbers(min),
}
