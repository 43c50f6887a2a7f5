"""The range: published attacks that poison a *copy* of a dataset, with ground truth, to measure defences."""

from __future__ import annotations

from bezoar.attacks.badnets import BadNets
from bezoar.attacks.base import ATTACKS, Attack, Crafter, GradientEncoder
from bezoar.attacks.blended import Blended
from bezoar.attacks.collision import FeatureCollision, collide
from bezoar.attacks.poisoning import PoisonedCopy, poison, write_poisoned
from bezoar.attacks.truth import PoisonedRecord, Truth, read_truth, truth_mask

__all__ = [
    "ATTACKS",
    "Attack",
    "BadNets",
    "Blended",
    "Crafter",
    "FeatureCollision",
    "GradientEncoder",
    "PoisonedCopy",
    "PoisonedRecord",
    "Truth",
    "collide",
    "poison",
    "read_truth",
    "truth_mask",
    "write_poisoned",
]
