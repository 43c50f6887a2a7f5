"""Stored bytes to tensors, and trained tensors back to bytes of the type and layout that were stored.

Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bezoar.errors import InputError, quoted

DTYPES = {
    "ByteStorage": torch.uint8, "CharStorage": torch.int8, "ShortStorage": torch.int16, "IntStorage": torch.int32,
    "LongStorage": torch.int64, "HalfStorage": torch.float16, "FloatStorage": torch.float32, "DoubleStorage": torch.float64,
    "BoolStorage": torch.bool, "BFloat16Storage": torch.bfloat16, "ComplexFloatStorage": torch.complex64,
}  # fmt: skip


MAX_AXES = 64  # of torch
_MAX_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class View:
    """Where a tensor lies: in which record, as what type, and how (`torch.as_strided`)."""

    record: str
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def of(self, content: bytes, where: str | Path) -> torch.Tensor:
        """The tensor, in memory of its own; InputError where the record is too short for it or it shows numbers twice."""
        if not self._fits(len(content)):
            raise InputError(
                f"{where}: {quoted(self.record)} has {len(content):,} bytes, which do not hold a tensor of shape "
                f"{str(self.size[:9])[:80]}; is the file complete?"
            )
        if 0 in self.size:
            return torch.zeros(self.size, dtype=self.dtype)
        return _flat(bytearray(content), self.dtype).as_strided(self.size, self.stride, self.offset).clone()

    def _fits(self, length: int) -> bool:
        """Whether all of it lies within so many bytes, each number once, and torch can have it at all."""
        if not len(self.size) == len(self.stride) <= MAX_AXES:
            return False
        if max(math.prod(side or 1 for side in self.size), self.offset, *self.stride) > _MAX_INTEGER:
            return False
        last = self.offset + sum((side - 1) * step for side, step in zip(self.size, self.stride, strict=True))
        stored, rest = divmod(length, self.dtype.itemsize)
        return not rest and (0 in self.size or (math.prod(self.size) <= stored and last < stored))

    def written(self, content: bytes, tensor: torch.Tensor) -> bytes:
        """`content` with `tensor` in this place."""
        if not tensor.numel():
            return content
        changed = bytearray(content)
        _flat(changed, self.dtype).as_strided(self.size, self.stride, self.offset).copy_(
            tensor.detach().cpu()
        )
        return bytes(changed)


def _flat(content: bytearray, dtype: torch.dtype) -> torch.Tensor:
    return torch.frombuffer(content, dtype=dtype)


def in_single_precision(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as networks here compute with it: floating point in 32 bits."""
    return tensor.float() if tensor.is_floating_point() else tensor


def require_finite(name: str, tensor: torch.Tensor, where: str | Path) -> None:
    """InputError where a weight is NaN or infinite: nothing can be measured on such a network."""
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise InputError(f"{where}: the weights {quoted(name)} hold NaN or infinity; the model cannot work")


def require_shapes(
    expected: dict[str, torch.Size], given: dict[str, torch.Size], where: str | Path, what: str
) -> None:
    """InputError where the weights that a file has are not those that an architecture asks for."""
    missing = [name for name in expected if name not in given]
    surplus = [name for name in given if name not in expected]
    if missing or surplus:
        parts = [f"lacks {_some(missing)}"] if missing else []
        parts += [f"has {_some(surplus)} besides"] if surplus else []
        raise InputError(
            f"{where}: is not {what}: the file {' and '.join(parts)}; name the right architecture"
        )
    for name, size in expected.items():
        if size != given[name]:
            raise InputError(
                f"{where}: is not {what}: {quoted(name)} has shape {tuple(given[name])}, not {tuple(size)}; "
                "name the right architecture"
            )


def _some(names: Sequence[Any]) -> str:
    others = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{quoted(names[0])}{others}"
