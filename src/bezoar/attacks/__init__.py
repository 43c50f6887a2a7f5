"""The range: published attacks that poison a *copy* of a dataset, with ground truth, to measure defences."""

from __future__ import annotations

from bezoar.attacks.badnets import BadNets
from bezoar.attacks.base import (
    ATTACKS,
    Attack,
    CoverCrafter,
    Covered,
    Crafter,
    GradientEncoder,
    Surrogate,
    Triggered,
)
from bezoar.attacks.blended import Blended
from bezoar.attacks.collision import FeatureCollision, collide
from bezoar.attacks.poisoning import PoisonedCopy, poison
from bezoar.attacks.truth import PoisonedRecord, Truth, cover_mask, read_truth, truth_mask
from bezoar.attacks.writing import write_poisoned

__all__ = [
    "ATTACKS",
    "Attack",
    "BadNets",
    "Blended",
    "CoverCrafter",
    "Covered",
    "Crafter",
    "FeatureCollision",
    "GradientEncoder",
    "PoisonedCopy",
    "PoisonedRecord",
    "Surrogate",
    "Triggered",
    "Truth",
    "collide",
    "cover_mask",
    "poison",
    "read_truth",
    "truth_mask",
    "write_poisoned",
]
