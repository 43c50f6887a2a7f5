"""The attacks that a benchmark measures, and which of their choices vary from trial to trial (labels, trigger, place)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bezoar.attacks import ATTACKS
from bezoar.data import Modality

RATES = (0.001, 0.003, 0.01, 0.05)


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
        Setting("badnets-faint", "BadNets, opacity 0.5", "badnets", parameters={"opacity": 0.5}, placed=True),
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
        Setting(
            "sig-strong",
            "SIG, stronger at test time",
            "sig",
            parameters={"test_delta": 40.0},
            clean_label=True,
            extra_rates=(0.02,),
        ),
        Setting("label-consistent", "Label-consistent", "label-consistent", clean_label=True),
        Setting("wanet", "WaNet", "wanet"),
        Setting("adaptive-blend", "Adaptive-Blend", "adaptive-blend"),
        Setting("adaptive-patch", "Adaptive-Patch", "adaptive-patch"),
        Setting("tact", "TaCT", "tact", one_source=True, extra_rates=(0.005,)),
        Setting(
            "feature-collision", "Feature collision", "feature-collision", clean_label=True, encoder=True
        ),
        Setting(
            "bullseye",
            "Bullseye Polytope",
            "bullseye",
            parameters={"steps": 200},  # with one encoder they bring the loss to rest
            clean_label=True,
            encoder=True,
        ),
        Setting(
            "witches-brew",
            "Witches' Brew",
            "witches-brew",
            parameters={"steps": 100, "restarts": 1},  # a twentieth of the paper's work
            clean_label=True,
        ),
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
    lacking = sorted(set(setting.parameters) - fields_of(setting))
    return f"the attack {setting.attack} has no parameter {lacking[0]}" if lacking else None


def fields_of(setting: Setting) -> set[str]:
    """The parameters that the setting's attack has."""
    attack: Any = ATTACKS[setting.attack]
    return {each.name for each in dataclasses.fields(attack)}
