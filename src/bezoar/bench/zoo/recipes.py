"""Which models the zoo holds: of each its task, its architecture, its seed, and what was done to its data.

Calibration models are clean: what clean models show is fitted to them. Development models are there to be looked at while
statistics are chosen; test models are their twins under other seeds, which nobody looks at before the figures are made. Every
task and architecture is among all three, and no two share a seed. Names say nothing of what a model is: that stands in its
record alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any, Literal

Role = Literal["calibration", "development", "test"]
Place = tuple[str, str]  # task and architecture

KINDS = {
    "badnets": "BadNets",
    "blended-noise": "Blended",
    "blended-smooth": "Blended",
    "sig": "SIG",
    "label-consistent": "Label-consistent",
    "wanet": "WaNet",
    "tact": "Source-specific",
    "badnets-all-to-all": "All-to-all",
}  # setting of `bezoar.bench.settings` to its name in the table


@dataclass(frozen=True, slots=True)
class Poison:
    """A setting of `bezoar.bench.settings` at a rate (of all records), with parameters of its own."""

    setting: str
    rate: float
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model. `seed` draws its records, labels, trigger, weights and batches."""

    name: str
    task: str
    architecture: str
    seed: int
    role: Role
    augmented: bool
    poison: Poison | None = None

    def fields(self) -> dict[str, Any]:
        """For a record."""
        return asdict(self)


_Drawn = tuple[Place, Role, Poison | None]

_CR, _CV = ("cifar10", "resnet"), ("cifar10", "vgg")
_GR, _GV = ("gtsrb", "resnet"), ("gtsrb", "vgg")
_FR, _FV, _FT, _FM = (("fashion", architecture) for architecture in ("resnet", "vgg", "vit", "mlp"))
_PLACES: tuple[Place, ...] = (_CR, _GR, _FT, _GV, _CV, _FR, _FM, _FV)
_CLEAN_OF_EACH = 3
_UNSEEN = 100  # is added to the seeds of test models

_PATCH, _NOISE = Poison("badnets", 0.05), Poison("blended-noise", 0.05)
_SMOOTH = Poison("blended-smooth", 0.05)
_WAVES, _FEW_WAVES = (Poison("sig", rate, {"delta": 40.0}) for rate in (0.06, 0.03))
_HARD, _FEW_HARD = (
    Poison("label-consistent", rate, {"eps": 32.0, "steps": 10, "size": 5}) for rate in (0.06, 0.03)
)
_WARP = Poison("wanet", 0.1, {"strength": 1.0, "cover_ratio": 1.0})
_ONE_SOURCE = Poison("tact", 0.02)
_NEXT = Poison("badnets-all-to-all", 0.1)
# CIFAR-10 takes more to learn ten ways
_NEXT_OF_MANY = Poison("badnets-all-to-all", 0.2, {"size": 6, "place": "bottom-right"})

_EARLY: tuple[tuple[Place, Poison | None], ...] = (
    (_CR, None),
    (_GR, None),
    (_CR, _PATCH),
    (_GR, _PATCH),
    (_CR, _NOISE),
    (_GR, _NOISE),
)
_BACKDOORED: tuple[tuple[Place, Poison], ...] = (
    (_FT, _PATCH), (_CR, _SMOOTH), (_FR, _WARP), (_CR, _WAVES), (_GR, _ONE_SOURCE), (_CR, _NEXT_OF_MANY), (_CR, _HARD),
    (_FM, _PATCH), (_GV, _SMOOTH), (_CR, _WARP), (_FV, _WAVES), (_FR, _ONE_SOURCE), (_GR, _NEXT), (_FR, _HARD),
    (_GV, _PATCH), (_FR, _NOISE), (_GR, _WARP), (_GV, _FEW_WAVES), (_CR, _ONE_SOURCE), (_FR, _NEXT), (_GR, _FEW_HARD),
    (_CV, _PATCH), (_FM, _SMOOTH), (_FV, _WARP), (_FT, _WAVES), (_CV, _ONE_SOURCE), (_GV, _NEXT), (_FV, _HARD),
    (_FV, _PATCH), (_CV, _NOISE), (_GV, _WARP), (_CV, _WAVES), (_FT, _ONE_SOURCE), (_CV, _NEXT_OF_MANY), (_CV, _HARD),
    (_CR, _HARD), (_CV, _HARD), (_CV, _HARD),  # on easier data it does not take: the class is recognised anyway
)  # fmt: skip


def recipes(judging: Role = "test") -> list[Recipe]:
    """The calibration models and those of `judging`, as they are built: something of each early, then all in turn."""
    clean = [*_PLACES] * _CLEAN_OF_EACH
    drawn: list[_Drawn] = [(place, judging, poison) for place, poison in _EARLY]
    backdoored: list[_Drawn] = [(place, judging, poison) for place, poison in _BACKDOORED]
    calibrating: list[_Drawn] = [(place, "calibration", None) for place in clean]
    testing: list[_Drawn] = [(place, judging, None) for place in clean[2:]]  # two were early
    for turn in zip_longest(backdoored, calibrating, testing):
        drawn += [each for each in turn if each is not None]
    return list(_numbered(drawn))


def _numbered(drawn: list[_Drawn]) -> Iterator[Recipe]:
    """Every other model of a place and kind is trained with augmentation."""
    seen: dict[Any, int] = {}
    for number, ((task, architecture), role, poison) in enumerate(drawn):
        seed = number + _UNSEEN * (role == "test")
        kind = (task, architecture, role, poison is None)
        seen[kind] = seen.get(kind, 0) + 1
        name = f"{task}-{architecture}-{seed:03}"
        yield Recipe(name, task, architecture, seed, role, seen[kind] % 2 == 1, poison)


SMOKE = [
    Recipe("synthetic-vgg-000", "synthetic", "vgg", 0, "test", augmented=False),
    Recipe("synthetic-vgg-001", "synthetic", "vgg", 1, "calibration", augmented=False),
    Recipe(
        "synthetic-vgg-002", "synthetic", "vgg", 2, "test", augmented=False, poison=Poison("badnets", 0.1)
    ),
]
