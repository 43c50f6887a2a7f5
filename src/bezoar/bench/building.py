"""Building the attack of one trial: labels, trigger and place vary with the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bezoar.attacks import ATTACKS, Attack
from bezoar.bench.settings import Setting, fields_of
from bezoar.data import Dataset, decode
from bezoar.data import open as open_dataset
from bezoar.errors import InputError
from bezoar.seeds import generator

_PHOTOS = "imagenette/val.parquet"
_CANVAS, _PATCH = 32, 3  # as the attacks count lengths


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
    fields = fields_of(setting)
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
