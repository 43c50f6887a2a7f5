"""The attacks that a benchmark measures, each with the choices that vary from trial to trial (labels, trigger, place)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.attacks import ATTACKS, Attack
from bezoar.data import Dataset, Modality, decode
from bezoar.data import open as open_dataset
from bezoar.errors import InputError
from bezoar.seeds import generator

RATES = (0.001, 0.003, 0.01, 0.05)
_PHOTOS = "imagenette/val.parquet"
_CANVAS, _PATCH = 32, 3  # as the attacks count lengths


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run one registered attack.

    Attributes:
        name: as `--only attack=NAME` takes it.
        title: for a table.
        attack: registered name.
        modality: of the packs that it applies to.
        parameters: those that every trial has; an attack that lacks one of them is "not available".
        clean_label: the poison keeps its label: one class alone supplies it, so that a class with many records is chosen.
        one_source: the poison comes from one class instead of from all but the target.
        placed: the trigger sits at one place, which varies with the trial.
        photo: the trigger is a photograph, which varies with the trial.
        encoder: the attack follows an encoder's gradient, and the scan is told that encoder.
        extra_rates: measured beside `RATES`.

    """

    name: str
    title: str
    attack: str
    modality: Modality = "image"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    clean_label: bool = False
    one_source: bool = False
    placed: bool = False
    photo: bool = False
    encoder: bool = False
    extra_rates: tuple[float, ...] = ()


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("badnets", "BadNets, fixed place", "badnets", placed=True, extra_rates=(0.002,)),
        Setting(
            "badnets-random",
            "BadNets, random places",
            "badnets",
            parameters={"place": "random"},
            extra_rates=(0.002,),
        ),
        Setting(
            "badnets-all-to-all",
            "BadNets, all to all",
            "badnets",
            parameters={"all_to_all": 1, "target": None},
            placed=True,
        ),
        Setting(
            "badnets-one-source",
            "BadNets, one source class",
            "badnets",
            one_source=True,
            placed=True,
            extra_rates=(0.002,),
        ),
        Setting("blended-noise", "Blended 0.2, noise", "blended", parameters={"pattern": "noise"}),
        Setting("blended-smooth", "Blended 0.2, smooth", "blended", parameters={"pattern": "smooth"}),
        Setting("blended-photo", "Blended 0.2, photo", "blended", photo=True),
        Setting("sig", "SIG", "sig", clean_label=True, extra_rates=(0.02,)),
        Setting("label-consistent", "Label-consistent", "label-consistent", clean_label=True),
        Setting("wanet", "WaNet", "wanet"),
        Setting("adaptive-blend", "Adaptive-Blend", "adaptive-blend"),
        Setting("adaptive-patch", "Adaptive-Patch", "adaptive-patch"),
        Setting("tact", "TaCT", "tact", one_source=True, extra_rates=(0.005,)),
        Setting(
            "feature-collision", "Feature collision", "feature-collision", clean_label=True, encoder=True
        ),
        Setting("bullseye", "Bullseye Polytope", "bullseye", clean_label=True, encoder=True),
        Setting("witches-brew", "Witches' Brew", "witches-brew", clean_label=True),
        Setting("label-noise", "Label noise", "label-noise"),
        Setting("flooding", "Flooding", "flooding"),
        Setting("rare-word", "Rare word", "rare-word", "text"),
        Setting("sentence", "Sentence", "sentence", "text"),
        Setting("label-flip", "Label flips", "label-flip", "text"),
    )
}


def unavailable(setting: Setting) -> str | None:
    """Why this setting cannot be run with the attacks that are installed; None when it can."""
    if setting.attack not in ATTACKS:
        return f"the attack {setting.attack} is not installed"
    lacking = sorted(set(setting.parameters) - _fields(setting))
    return f"the attack {setting.attack} has no parameter {lacking[0]}" if lacking else None


def build(setting: Setting, dataset: Dataset, seed: int, packs: Path | None, scratch: Path) -> Attack:
    """The attack of one trial; labels, trigger and place depend on the setting, the dataset's labels and `seed`.

    A photo is written to the folder `scratch`. UsageError when the parameters make no sense.
    """
    rng = generator(seed, "bench", "attack", setting.name)
    target, source = _labels(setting, dataset, rng)
    y, x = (int(v) for v in rng.integers(0, _CANVAS - _PATCH, 2))
    offered: dict[str, Any] = {
        "target": target,
        "target_index": int(rng.choice(np.flatnonzero((dataset.labels != target) & (dataset.labels >= 0)))),
        "pattern_seed": int(rng.integers(2**31)),
    }
    if setting.one_source:
        offered["source"] = source
    elif setting.clean_label:
        offered["source"] = target
    if setting.placed:
        offered["place"] = f"{y},{x}"
    if setting.photo:
        offered["pattern"] = str(_photo(packs, scratch, rng))
    fields = _fields(setting)
    given = {name: value for name, value in offered.items() if name in fields} | dict(setting.parameters)
    attack: Attack = ATTACKS[setting.attack](**given)
    return attack


def _labels(setting: Setting, dataset: Dataset, rng: np.random.Generator) -> tuple[int, int]:
    """Target and source; classes that have to supply all the poison are drawn from the larger third."""
    sizes = np.bincount(dataset.labels[dataset.labels >= 0], minlength=len(dataset.label_names))
    present = np.flatnonzero(sizes)
    large = present[np.argsort(-sizes[present], kind="stable")][: max(1, len(present) // 3)]
    target = int(rng.choice(large if setting.clean_label else present))
    others = np.setdiff1d(large if setting.one_source else present, target)
    if not len(others):
        others = np.setdiff1d(present, target)
    return target, int(rng.choice(others))


def _photo(packs: Path | None, scratch: Path, rng: np.random.Generator) -> Path:
    path = None if packs is None else packs / _PHOTOS
    if path is None or not path.is_file():
        raise InputError(f"the photograph to blend in comes from {_PHOTOS}, which is not among the packs")
    from PIL import Image

    photos = open_dataset(path)
    out = scratch / "photo.png"
    Image.fromarray(decode(photos[int(rng.integers(len(photos)))].content)).save(out)
    return out


def _fields(setting: Setting) -> set[str]:
    attack: Any = ATTACKS[setting.attack]
    return {each.name for each in dataclasses.fields(attack)}
