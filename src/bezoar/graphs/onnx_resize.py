"""The ONNX operator Resize (https://onnx.ai/onnx/operators/onnx__Resize.html), one axis after the other. Imports torch."""

from __future__ import annotations

import math
from typing import Any

import torch

from bezoar.graphs.onnx_values import MAX_ELEMENTS, Attributes, Inputs, NotTranslatedError, Operator, optional


def _resize(inputs: Inputs, options: Attributes) -> Any:
    x = inputs[0]
    if options.get("antialias", 0) or options.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NotTranslatedError("antialias or keep_aspect_ratio_policy")
    scales = optional(inputs, 2) if options["opset"] > 10 else optional(inputs, 1)
    sizes = optional(inputs, 3)
    axes = options.get("axes") or list(range(x.dim()))
    for place, axis in enumerate(axes):
        side = x.shape[axis]
        wanted = sizes[place] if sizes else math.floor(side * scales[place])
        if wanted > MAX_ELEMENTS:
            raise NotTranslatedError(f"to {wanted} pixels")
        if wanted != side:
            x = _along(x, axis, wanted, wanted / side if sizes else scales[place], options)
    return x


def _along(x: Any, axis: int, wanted: int, scale: float, options: Attributes) -> Any:
    """A weighted sum of the neighbours of each new place."""
    side = x.shape[axis]
    places = _places(torch.arange(wanted, dtype=torch.float64), side, wanted, scale, options)
    shape = [-1 if i == axis % x.dim() else 1 for i in range(x.dim())]
    total = None
    for neighbour, weight in _neighbours(places, options):
        part = x.index_select(axis, neighbour.clamp(0, side - 1).long().to(x.device))
        if weight is not None:
            part = part * weight.to(x.device, x.dtype).view(shape)
        total = part if total is None else total + part
    return total


def _places(new: Any, side: int, wanted: int, scale: float, options: Attributes) -> Any:
    """Where in the old axis each place of the new one lies."""
    kind = options.get(
        "coordinate_transformation_mode", "half_pixel" if options["opset"] > 10 else "asymmetric"
    )
    match kind:
        case "half_pixel":
            return (new + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (new + 0.5) / scale - 0.5 if wanted > 1 else new * 0
        case "align_corners":
            return new * ((side - 1) / (wanted - 1)) if wanted > 1 else new * 0
        case "asymmetric":
            return new / scale
    raise NotTranslatedError(f"coordinate_transformation_mode {kind}")


def _neighbours(places: Any, options: Attributes) -> list[tuple[Any, Any]]:
    mode = options.get("mode", "nearest")
    if mode == "nearest":
        default = "round_prefer_floor" if options["opset"] > 10 else "floor"
        rounded = {
            "round_prefer_floor": torch.ceil(places - 0.5),
            "round_prefer_ceil": torch.floor(places + 0.5),
            "floor": torch.floor(places),
            "ceil": torch.ceil(places),
        }[options.get("nearest_mode", default)]
        return [(rounded, None)]
    low = torch.floor(places)
    part = places - low
    if mode == "linear":
        return [(low, 1 - part), (low + 1, part)]
    if mode != "cubic" or options.get("exclude_outside", 0):
        raise NotTranslatedError(f"mode {mode}, or exclude_outside")
    a = options.get("cubic_coeff_a", -0.75)
    return [(low + i, _cubic((part - i).abs(), a)) for i in (-1, 0, 1, 2)]


def _cubic(x: Any, a: float) -> Any:
    """Keys' convolution kernel (1981)."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


RESIZE: dict[str, Operator] = {
    "Resize": Operator(_resize, frozenset({1, 2, 3})),
    "Upsample": Operator(lambda inputs, options: _resize(inputs, {**options, "opset": 10}), frozenset({1})),
}
