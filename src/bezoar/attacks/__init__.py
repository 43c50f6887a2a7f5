"""The range: published attacks that poison a *copy* of a dataset, with ground truth, to measure defences."""

from __future__ import annotations

from bezoar.attacks.adaptive_blend import AdaptiveBlend
from bezoar.attacks.adaptive_patch import AdaptivePatch
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
from bezoar.attacks.flooding import Flooding
from bezoar.attacks.label_noise import LabelNoise
from bezoar.attacks.poisoning import PoisonedCopy, poison
from bezoar.attacks.sig import Sig
from bezoar.attacks.tact import Tact
from bezoar.attacks.truth import PoisonedRecord, Truth, cover_mask, read_truth, truth_mask
from bezoar.attacks.wanet import WaNet
from bezoar.attacks.writing import write_poisoned

__all__ = [
    "ATTACKS",
    "AdaptiveBlend",
    "AdaptivePatch",
    "Attack",
    "BadNets",
    "Blended",
    "CoverCrafter",
    "Covered",
    "Crafter",
    "FeatureCollision",
    "Flooding",
    "GradientEncoder",
    "LabelNoise",
    "PoisonedCopy",
    "PoisonedRecord",
    "Sig",
    "Surrogate",
    "Tact",
    "Triggered",
    "Truth",
    "WaNet",
    "collide",
    "cover_mask",
    "poison",
    "read_truth",
    "truth_mask",
    "write_poisoned",
]
