"""A recovered trigger: arrays and one way to apply them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Kind = Literal["patch", "shift", "warp"]
Form = Literal["patch", "shift", "warp", "wave"]  # what is looked for; a plane wave is a shift


@dataclass(frozen=True, slots=True)
class Trigger:
    """What flips a network's answer, for images (C, H, W) in [0, 1].

    Attributes:
        kind: "patch": images fade to `pattern` where `mask` is 1; "shift": `pattern`, which may be negative, is added and the sum
            is cut to [0, 1]; "warp": pixel (y, x) is read at (y, x) + `pattern`, bilinearly, with the border repeated.
        pattern: float32 (C, H, W), for a warp (2, H, W): rows and columns to move by, in pixels.
        mask: float32 (H, W) in [0, 1]; all ones for shifts and warps.

    """

    kind: Kind
    pattern: NDArray[np.float32]
    mask: NDArray[np.float32]

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) in [0, 1] with the trigger; differentiable."""
        import torch

        pattern, mask = torch.from_numpy(self.pattern).to(images), torch.from_numpy(self.mask).to(images)
        match self.kind:
            case "patch":
                return images * (1 - mask) + pattern * mask
            case "shift":
                return (images + pattern * mask).clamp(0, 1)
            case "warp":
                return _warped(images, pattern * mask)

    @property
    def size(self) -> float:
        """How much it changes: of a patch the mean of its mask, of a shift the mean absolute change per channel, of a warp the
        mean distance over the image's height.
        """
        match self.kind:
            case "patch":
                return float(self.mask.mean())
            case "shift":
                return float(np.abs(self.pattern * self.mask).mean())
            case "warp":
                return float(np.hypot(*(self.pattern * self.mask)).mean() / self.mask.shape[0])


def _warped(images: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    import torch

    height, width = images.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=images.dtype, device=images.device),
        torch.arange(width, dtype=images.dtype, device=images.device),
        indexing="ij",
    )
    grid = torch.stack(
        [2 * (x + flow[1]) / max(width - 1, 1) - 1, 2 * (y + flow[0]) / max(height - 1, 1) - 1], -1
    )
    return torch.nn.functional.grid_sample(
        images, grid.expand(len(images), -1, -1, -1), padding_mode="border", align_corners=True
    )
