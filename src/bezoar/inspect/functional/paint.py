"""Triggers as parameters that gradients can move: many at once, of one kind (`bezoar.inspect.trigger`). Imports torch."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from bezoar.inspect.trigger import Kind, Trigger

Parameters = dict[str, torch.Tensor]  # each (G, ...)

RATES: dict[Kind, float] = {
    "patch": 0.5,
    "shift": 0.02,
    "warp": 0.15,
}  # Adam's, in the units of the parameters
_FAINT = -1.0  # the mask's logit at the start: 27 % of each pixel
_START: dict[Kind, float] = {"patch": 0.5, "shift": 0.01, "warp": 0.1}  # standard deviation


def start(
    kind: Kind, groups: int, shape: tuple[int, int, int], cells: int, draw: torch.Generator
) -> Parameters:
    """The same start for each of `groups` triggers on images of `shape` (C, H, W); masks and warps have `cells` points a side."""

    def noise(*sides: int) -> torch.Tensor:
        return _START[kind] * torch.randn((1, *sides), generator=draw)

    match kind:
        case "patch":
            parameters = {"mask": _FAINT + 0.2 * noise(1, cells, cells), "pattern": noise(*shape)}
        case "shift":
            parameters = {"shift": noise(*shape)}
        case "warp":
            parameters = {"flow": noise(2, cells, cells)}
    return {name: value.repeat(groups, *[1] * (value.dim() - 1)) for name, value in parameters.items()}


def stamp(kind: Kind, parameters: Parameters, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (G, n, C, H, W) with their group's trigger, and the triggers' sizes (G,) as in `Trigger.size`."""
    groups, n, _, height, width = images.shape
    match kind:
        case "patch":
            mask, pattern = _mask(parameters, (height, width)), parameters["pattern"].sigmoid()
            stamped = images * (1 - mask)[:, None] + (pattern * mask)[:, None]
            return stamped, mask.mean((1, 2, 3))
        case "shift":
            shift = parameters["shift"]
            return (images + shift[:, None]).clamp(0, 1), shift.abs().mean((1, 2, 3))
        case "warp":
            flow = _flow(parameters, (height, width))
            grid = _places(flow).repeat_interleave(n, 0)
            warped = F.grid_sample(images.flatten(0, 1), grid, padding_mode="border", align_corners=True)
            return warped.unflatten(0, (groups, n)), (flow.square().sum(1) + 1e-8).sqrt().mean(
                (1, 2)
            ) / height


def triggers(kind: Kind, parameters: Parameters, size: tuple[int, int]) -> list[Trigger]:
    """The values of all groups, for images of `size` (H, W)."""
    with torch.no_grad():
        match kind:
            case "patch":
                patterns, masks = parameters["pattern"].sigmoid(), _mask(parameters, size)[:, 0]
            case "shift":
                patterns = parameters["shift"]
                masks = torch.ones((len(patterns), *size))
            case "warp":
                patterns = _flow(parameters, size)
                masks = torch.ones((len(patterns), *size))
    return [
        Trigger(kind, pattern.detach().float().cpu().numpy(), mask.detach().float().cpu().numpy())
        for pattern, mask in zip(patterns, masks, strict=True)
    ]


def _mask(parameters: Parameters, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(parameters["mask"], size, mode="bilinear", align_corners=False).sigmoid()


def _flow(parameters: Parameters, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(parameters["flow"], size, mode="bicubic", align_corners=True)


def _places(flow: torch.Tensor) -> torch.Tensor:
    """Where each pixel is read, (G, H, W, 2), as `grid_sample` counts: x before y, from -1 to 1."""
    height, width = flow.shape[2:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=flow.device),
        torch.linspace(-1, 1, width, device=flow.device),
        indexing="ij",
    )
    steps = (max(width - 1, 1) / 2, max(height - 1, 1) / 2)
    return torch.stack([x + flow[:, 1] / steps[0], y + flow[:, 0] / steps[1]], -1)


def cells_of(kind: Kind, shape: tuple[int, int, int], finest: bool) -> int:
    """Points a side: of a mask a quarter of the pixels (all of them for evidence), of a warp six."""
    if kind == "warp":
        return 6
    return max(shape[1:]) if finest else max(4, math.ceil(max(shape[1:]) / 4))
