"""ONNX operators that make, cut, join and reorder tensors, and those of shape arithmetic. Imports torch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from bezoar.graphs.onnx_values import (
    MAX_ELEMENTS,
    Attributes,
    Inputs,
    NotTranslatedError,
    Operator,
    bounded,
    optional,
    together,
    unary,
)


def _reshape(inputs: Inputs, options: Attributes) -> Any:
    x, wanted = inputs
    if not options.get("allowzero", 0):
        wanted = [x.shape[i] if side == 0 else side for i, side in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(inputs: Inputs, options: Attributes) -> Any:
    (x,) = inputs
    axis = options.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.flatten(1) if axis == 1 and x.dim() > 1 else x.reshape(math.prod(x.shape[:axis]), -1)


def axes_of(inputs: Inputs, options: Attributes) -> list[int] | None:
    """Axes as the second input (newer opsets) or an attribute."""
    axes = optional(inputs, 1)
    return options.get("axes") if axes is None else axes


def _squeeze(inputs: Inputs, options: Attributes) -> Any:
    axes = axes_of(inputs, options)
    return inputs[0].squeeze() if axes is None else inputs[0].squeeze(tuple(axes))


def _unsqueeze(inputs: Inputs, options: Attributes) -> Any:
    x, axes = inputs[0], axes_of(inputs, options) or []
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(inputs: Inputs, options: Attributes) -> Any:
    (x,) = inputs
    return x.permute(options.get("perm") or list(reversed(range(x.dim()))))


def _slice(inputs: Inputs, options: Attributes) -> Any:
    x = inputs[0]
    starts = options["starts"] if optional(inputs, 1) is None else inputs[1]
    ends = options["ends"] if optional(inputs, 2) is None else inputs[2]
    axes = optional(inputs, 3) or options.get("axes") or list(range(len(starts)))
    steps = optional(inputs, 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen = range(x.shape[axis])[slice(start, end, step)]
        if step > 0:
            x = x[(slice(None),) * (axis % x.dim()) + (slice(chosen.start, chosen.stop, step),)]
        else:
            x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64, device=x.device))
    return x


def _gather(inputs: Inputs, options: Attributes) -> Any:
    x, index = inputs
    axis = options.get("axis", 0) % x.dim()
    index = _from_the_front(index, x, axis)
    picked = x.index_select(axis, index.reshape(-1))
    return picked.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def _gather_elements(inputs: Inputs, options: Attributes) -> Any:
    x, index = inputs
    axis = options.get("axis", 0) % x.dim()
    return x.gather(axis, _from_the_front(index, x, axis))


def _gather_nd(inputs: Inputs, options: Attributes) -> Any:
    x, index = inputs
    if options.get("batch_dims", 0):
        raise NotTranslatedError("batch_dims")
    return x[tuple(_from_the_front(index[..., i], x, i) for i in range(index.shape[-1]))]


def _from_the_front(index: Any, x: Any, axis: int) -> Any:
    """Indices without negative ones, where `x` lies."""
    index = index.to(x.device, torch.int64)
    return torch.where(index < 0, index + x.shape[axis], index)


def _split(inputs: Inputs, options: Attributes) -> Any:
    x, axis = inputs[0], options.get("axis", 0)
    sizes = options.get("split") if optional(inputs, 1) is None else inputs[1]
    if sizes is None:
        return tuple(torch.split(x, -(-x.shape[axis] // options["n_outputs"]), axis))
    return tuple(torch.split(x, sizes, axis))


def _concat(inputs: Inputs, options: Attributes) -> Any:
    return torch.cat(together(*inputs), options["axis"])


def _expand(inputs: Inputs, options: Attributes) -> Any:
    x, wanted = inputs
    return x.expand(torch.broadcast_shapes(x.shape, tuple(wanted)))


def _tile(inputs: Inputs, options: Attributes) -> Any:
    return inputs[0].repeat(inputs[1])


def _pad(inputs: Inputs, options: Attributes) -> Any:
    x = inputs[0]
    pads = options["pads"] if optional(inputs, 1) is None else inputs[1]
    value = optional(inputs, 2) or [options.get("value", 0.0)]
    if (given := optional(inputs, 3)) is not None:
        full = [0] * 2 * x.dim()
        for place, axis in enumerate(axis % x.dim() for axis in given):
            full[axis], full[axis + x.dim()] = pads[place], pads[place + len(given)]
        pads = full
    mode = options.get("mode", "constant")
    if not any(pads):
        return x
    if mode == "constant":
        return F.pad(x, torch_pads(pads), value=value[0])
    if any(pads[axis] or pads[axis + x.dim()] for axis in (0, 1)):
        raise NotTranslatedError(f"mode {mode} over batch or channels")
    spatial = [*pads[2 : x.dim()], *pads[x.dim() + 2 :]]
    modes = {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    return F.pad(x, torch_pads(spatial), mode=modes[mode])


def torch_pads(pads: list[int]) -> list[int]:
    """ONNX order (begins, then ends) to torch order (last axis first, begin and end together)."""
    n = len(pads) // 2
    return [side for axis in reversed(range(n)) for side in (pads[axis], pads[axis + n])]


def _constant(inputs: Inputs, options: Attributes) -> Any:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in options:
            kind = torch.float32 if "float" in name else torch.int64
            value = options[name]
            return value if name == "value" else torch.tensor(value, dtype=kind)
    raise NotTranslatedError("of this kind")


def _constant_of_shape(inputs: Inputs, options: Attributes) -> Any:
    return options.get("value", torch.zeros(1)).reshape(()).expand(bounded(inputs[0])).clone()


def _range(inputs: Inputs, options: Attributes) -> Any:
    (start,), (limit,), (step,) = inputs
    if not step or abs((limit - start) / step) > MAX_ELEMENTS:
        raise NotTranslatedError(f"from {start} to {limit} in steps of {step}")
    count = max(math.ceil((limit - start) / step), 0)
    kind = torch.float32 if any(isinstance(n, float) for n in (start, limit, step)) else torch.int64
    return torch.arange(count, dtype=kind) * step + start


def _shape(inputs: Inputs, options: Attributes) -> Any:
    sides = list(inputs[0].shape)[options.get("start", 0) : options.get("end")]
    return torch.tensor(sides, dtype=torch.int64)


def _size(inputs: Inputs, options: Attributes) -> Any:
    return torch.tensor(inputs[0].numel())


def _cast(inputs: Inputs, options: Attributes) -> Any:
    from onnx import helper

    name = helper.tensor_dtype_to_np_dtype(options["to"]).name
    kind = {"float16": "float32", "float64": "float32", "bfloat16": "float32"}.get(name, name)
    wanted = getattr(torch, kind, None)
    if not isinstance(wanted, torch.dtype):
        raise NotTranslatedError(f"to {name}")
    return inputs[0].to(wanted)


def _cast_like(inputs: Inputs, options: Attributes) -> Any:
    return inputs[0].to(inputs[1].dtype)


def _cumulative_sum(inputs: Inputs, options: Attributes) -> Any:
    x, (axis,) = inputs
    x = x.flip(axis) if options.get("reverse", 0) else x
    total = x.cumsum(axis).to(x.dtype)
    total = total - x if options.get("exclusive", 0) else total
    return total.flip(axis) if options.get("reverse", 0) else total


def _depth_to_space(inputs: Inputs, options: Attributes) -> Any:
    (x,) = inputs
    n, channels, height, width = x.shape
    block = options["blocksize"]
    if options.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    parts = x.reshape(n, block, block, channels // block**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, channels // block**2, height * block, width * block)


def _space_to_depth(inputs: Inputs, options: Attributes) -> Any:
    (x,) = inputs
    n, channels, height, width = x.shape
    block = options["blocksize"]
    parts = x.reshape(n, channels, height // block, block, width // block, block)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, height // block, width // block)


def _triangle(inputs: Inputs, options: Attributes) -> Any:
    k = (optional(inputs, 1) or [0])[0]
    return torch.triu(inputs[0], k) if options.get("upper", 1) else torch.tril(inputs[0], k)


def _numbers(function: Any, *places: int) -> Operator:
    return Operator(function, frozenset(places))


ARRAYS: dict[str, Operator] = {
    "Cast": Operator(_cast),
    "CastLike": Operator(_cast_like),
    "Concat": Operator(_concat),
    "Constant": Operator(_constant),
    "ConstantOfShape": _numbers(_constant_of_shape, 0),
    "CumSum": _numbers(_cumulative_sum, 1),
    "DepthToSpace": Operator(_depth_to_space),
    "Dropout": unary(lambda x: x),
    "Expand": _numbers(_expand, 1),
    "Flatten": Operator(_flatten),
    "Gather": Operator(_gather),
    "GatherElements": Operator(_gather_elements),
    "GatherND": Operator(_gather_nd),
    "Identity": unary(lambda x: x),
    "Pad": _numbers(_pad, 1, 2, 3),
    "Range": _numbers(_range, 0, 1, 2),
    "Reshape": _numbers(_reshape, 1),
    "Shape": Operator(_shape),
    "Size": Operator(_size),
    "Slice": _numbers(_slice, 1, 2, 3, 4),
    "SpaceToDepth": Operator(_space_to_depth),
    "Split": _numbers(_split, 1),
    "Squeeze": _numbers(_squeeze, 1),
    "Tile": _numbers(_tile, 1),
    "Transpose": Operator(_transpose),
    "Trilu": _numbers(_triangle, 1),
    "Unsqueeze": _numbers(_unsqueeze, 1),
}
