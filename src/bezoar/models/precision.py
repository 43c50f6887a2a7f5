"""Whether torch takes products in bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for it: elsewhere it is slower than float32, not faster.

    A property of the machine, not a timing: the same machine gives the same answer, and on a CPU the same networks and triggers.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
