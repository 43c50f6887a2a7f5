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
from bezoar.attacks.bullseye import BullseyePolytope
from bezoar.attacks.collision import FeatureCollision, collide
from bezoar.attacks.flooding import Flooding
from bezoar.attacks.label_consistent import LabelConsistent
from bezoar.attacks.label_flip import LabelFlip
from bezoar.attacks.label_noise import LabelNoise
from bezoar.attacks.poisoning import PoisonedCopy, poison
from bezoar.attacks.rare_word import RareWord
from bezoar.attacks.sentence import SentenceInsertion
from bezoar.attacks.sig import Sig
from bezoar.attacks.tact import Tact
from bezoar.attacks.truth import PoisonedRecord, Truth, cover_mask, read_truth, truth_mask
from bezoar.attacks.wanet import WaNet
from bezoar.attacks.witches_brew import WitchesBrew
from bezoar.attacks.writing import write_poisoned

__all__ = [
    "ATTACKS",
    "AdaptiveBlend",
    "AdaptivePatch",
    "Attack",
    "BadNets",
    "Blended",
    "BullseyePolytope",
    "CoverCrafter",
    "Covered",
    "Crafter",
    "FeatureCollision",
    "Flooding",
    "GradientEncoder",
    "LabelConsistent",
    "LabelFlip",
    "LabelNoise",
    "PoisonedCopy",
    "PoisonedRecord",
    "RareWord",
    "SentenceInsertion",
    "Sig",
    "Surrogate",
    "Tact",
    "Triggered",
    "Truth",
    "WaNet",
    "WitchesBrew",
    "collide",
    "cover_mask",
    "poison",
    "read_truth",
    "truth_mask",
    "write_poisoned",
]
