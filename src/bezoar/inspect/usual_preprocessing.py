"""The ways in which image classifiers are usually fed, to be tried where a model does not say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bezoar.models.opening.model import Origin, Preprocessing

_COLOUR: tuple[tuple[float, tuple[float, ...], tuple[float, ...]], ...] = (  # scale, mean, std
    (1.0, (0.0,), (1.0,)),
    (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ImageNet
    (1.0, (0.5,), (0.5,)),
    (1.0, (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),  # CIFAR-10
    (1.0, (0.3403, 0.3121, 0.3214), (0.2724, 0.2608, 0.2669)),  # GTSRB
    (255.0, (0.0,), (1.0,)),
    (255.0, (123.68, 116.779, 103.939), (1.0,)),  # ImageNet in Caffe, for RGB
)
_GREY: tuple[tuple[float, tuple[float, ...], tuple[float, ...]], ...] = (
    (1.0, (0.0,), (1.0,)),
    (1.0, (0.5,), (0.5,)),
    (1.0, (0.1307,), (0.3081,)),  # MNIST
    (1.0, (0.286,), (0.353,)),  # Fashion-MNIST
    (255.0, (0.0,), (1.0,)),
)
_FIELDS = ("scale", "mean", "std", "order")


def usual(own: Preprocessing) -> Iterator[Preprocessing]:
    """Other usual values of the fields that `own` assumes; none where it assumes nothing."""
    assumed = [name for name in _FIELDS if own.origins.get(name) == "assumed"]
    origins: dict[str, Origin] = {**own.origins, **dict.fromkeys(assumed, "inferred")}
    seen = [_values(own)]
    for scale, mean, std in _COLOUR if own.channels == 3 else _GREY:
        for order in ("rgb", "bgr") if own.channels == 3 else ("rgb",):
            turned = mean[::-1] if order == "bgr" else mean  # both are in the network's own order
            values: dict[str, Any] = {
                "scale": scale,
                "mean": turned * (own.channels // len(turned)),
                "std": (std[::-1] if order == "bgr" else std) * (own.channels // len(std)),
                "order": order,
            }
            other = replace(own, origins=origins, **{name: values[name] for name in assumed})
            if _values(other) not in seen:
                seen.append(_values(other))
                yield other


def _values(preprocessing: Preprocessing) -> tuple[object, ...]:
    return tuple(getattr(preprocessing, name) for name in _FIELDS)
