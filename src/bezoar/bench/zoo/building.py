"""Building one model of the zoo: poison its records, train, measure, write the network and, apart from it, the truth.

A network is a `.pt2` file (`torch.export`) that takes any number of images in [0, 1]; normalisation is inside. Its record
is the only place that says what the model is.
"""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import poison
from bezoar.bench.building import build as attack_of
from bezoar.bench.potency import obeyed
from bezoar.bench.settings import SETTINGS
from bezoar.bench.store import replace
from bezoar.bench.zoo.making import model_path, record_path
from bezoar.bench.zoo.recipes import Poison, Recipe
from bezoar.bench.zoo.tasks import TASKS
from bezoar.data import Dataset
from bezoar.models.surrogate import train_surrogate
from bezoar.models.threads import one_thread

if TYPE_CHECKING:
    from torch import nn

_SURROGATE_EPOCHS = 2


def build(recipe: Recipe, packs: Path | None, folder: Path) -> dict[str, Any]:
    """Train the model and write it; its record. The record comes last: where there is one, the model is complete."""
    with one_thread():
        record, module = _made(recipe, packs)
        for path in (model_path(folder, recipe.name), record_path(folder, recipe.name)):
            path.parent.mkdir(parents=True, exist_ok=True)
        replace(model_path(folder, recipe.name), exported(module, record["shape"]))
        replace(
            record_path(folder, recipe.name), json.dumps(record, indent=1, allow_nan=False).encode() + b"\n"
        )
    return record


def exported(module: nn.Module, shape: tuple[int, int, int]) -> bytes:
    """A `.pt2` file of a network in evaluation mode that takes float32 images (N, C, H, W)."""
    import torch

    module = module.to(memory_format=torch.contiguous_format)  # as most files have it
    dynamic = ({0: torch.export.Dim("batch", max=65_536)},)
    program = torch.export.export(module, (torch.zeros(2, *shape),), dynamic_shapes=dynamic)
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def _made(recipe: Recipe, packs: Path | None) -> tuple[dict[str, Any], nn.Module]:
    from bezoar.bench.zoo.training import Schedule, predict, train

    cpu = time.process_time()
    task = TASKS[recipe.task]
    data = task.train(recipe.seed, packs)
    judging, _ = task.halves(packs)
    dataset, attack = data, None
    if recipe.poison is not None:
        dataset, attack = _poisoned(data, recipe.poison, recipe.seed, packs)
    pixels, labels = task.samples(dataset)
    schedule = Schedule(task.epochs[recipe.architecture], recipe.augmented, task.mirrored)
    module = train(recipe.architecture, pixels, labels, len(data.label_names), schedule, recipe.seed)

    def says(images: NDArray[np.uint8]) -> NDArray[np.int32]:
        return predict(module, task.fed(images))

    held_out, right = task.samples(judging)
    record = {
        **recipe.fields(),
        "shape": (task.channels, *pixels.shape[1:3]),
        "classes": len(data.label_names),
        "records": len(data),
        "preprocessing": "images in [0, 1]; normalisation is inside the network",
        "accuracy": round(float(np.mean(predict(module, held_out) == right)), 4),
        "attack": None,
    }
    if attack is not None:
        record |= _potency(attack, says, judging, recipe.seed)
    return record | {"cpu_seconds": round(time.process_time() - cpu, 1)}, module


def _poisoned(data: Dataset, planted: Poison, seed: int, packs: Path | None) -> tuple[Dataset, Any]:
    """The poisoned copy and the attack."""
    with tempfile.TemporaryDirectory(prefix="bezoar-zoo-") as scratch:
        attack: Any = attack_of(SETTINGS[planted.setting], data, seed, packs, Path(scratch))
    attack = dataclasses.replace(attack, **planted.parameters)
    surrogate = None
    if "surrogate" in attack.needs:
        surrogate = train_surrogate(data, epochs=_SURROGATE_EPOCHS, seed=seed)
    return poison(data, attack, rate=planted.rate, seed=seed, surrogate=surrogate).dataset, attack


def _potency(
    attack: Any,
    says: Callable[[NDArray[np.uint8]], NDArray[np.int32]],
    judging: Dataset,
    seed: int,
) -> dict[str, Any]:
    """What was planted and whether it took, by the rules of `bezoar.bench.potency`."""
    seen = obeyed(says, judging, attack, seed)
    of_one_class = attack.source not in (None, attack.target)
    return {
        "attack": attack.name,
        "parameters": asdict(attack),
        "target": attack.target,
        "sources": [attack.source] if of_one_class else [],
        "success": seen.success,
        "control": seen.control,
        "tested": seen.tested,
        "took": seen.took,
    }
