"""Encoders, which turn images into features, and the feature cache."""

from bezoar.embed.base import DifferentiableEncoder, Encoder, Features, Fitted, Images
from bezoar.embed.extract import features, fit
from bezoar.embed.resolve import ENCODERS, resolve
from bezoar.embed.store import default_cache

__all__ = [
    "ENCODERS",
    "DifferentiableEncoder",
    "Encoder",
    "Features",
    "Fitted",
    "Images",
    "default_cache",
    "features",
    "fit",
    "resolve",
]
