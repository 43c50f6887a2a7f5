"""Defaults are those of the papers, where these state them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bezoar.attacks import ATTACKS

OF_THE_PAPERS: dict[str, dict[str, Any]] = {
    "adaptive-blend": {"pieces": 16, "mask_rate": 0.5, "alpha": 0.15, "test_alpha": 0.2},
    "adaptive-patch": {"opacities": "0.5,0.2,0.5,0.3"},
    "blended": {"alpha": 0.2},
    "bullseye": {"group": 5, "steps": 4000, "eps": 0.1 * 255},
    "label-consistent": {"eps": 16.0, "steps": 100},
    "rare-word": {"word": "cf"},
    "sentence": {"sentence": "I watched this 3D movie"},
    "sig": {"delta": 20.0, "frequency": 6.0},
    "wanet": {"grid": 4, "strength": 0.5, "cover_ratio": 2.0},
    "witches-brew": {"eps": 16.0, "steps": 250, "restarts": 8},
}


@pytest.mark.parametrize("name", OF_THE_PAPERS)
def test_defaults(name: str) -> None:
    attack: Any = ATTACKS[name]
    defaults = {each.name: each.default for each in dataclasses.fields(attack)}
    stated = OF_THE_PAPERS[name]
    assert {each: defaults[each] for each in stated} == pytest.approx(stated)
