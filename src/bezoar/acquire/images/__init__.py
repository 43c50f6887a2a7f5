"""Images: whether bytes that were verified are one, and re-encoding them in processes that may do nothing else."""

from __future__ import annotations

from bezoar.acquire.images.checking import Checked, Problem, check
from bezoar.acquire.images.options import Reencode, unsuitable
from bezoar.acquire.images.workshop import Workshop

__all__ = ["Checked", "Problem", "Reencode", "Workshop", "check", "unsuitable"]
