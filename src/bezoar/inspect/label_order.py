"""From a dataset's labels to the model's: by name where both have names, else by their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bezoar.data import Dataset
from bezoar.errors import InputError, UsageError
from bezoar.models.opening.model import Model


def labels_of_model(
    model: Model, dataset: Dataset, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Each record's label in the model's order (N,), -1 where it has none; and notes on how they were matched.

    Names match when they are the same but for case and blanks, and when all of the dataset's are among the model's. InputError
    where the dataset has no labels, or more than the model; UsageError where `classes` do not fit.
    """
    used = np.unique(dataset.labels[dataset.labels >= 0])
    if not len(used):
        raise InputError(f"{dataset.path}: has no labels; the model cannot be checked on its images")
    if classes is not None and len(classes) != model.n_classes:
        raise UsageError(f"--classes: {len(classes)} names for the model's {model.n_classes} labels")
    names = classes if classes is not None else model.class_names
    places = _places(names or ())
    theirs = [_plain(name) for name in dataset.label_names]
    strangers = [label for label in used.tolist() if theirs[label] not in places]
    if places and not strangers:
        table = np.array([places.get(name, -1) for name in theirs], np.int64)
        return np.where(dataset.labels >= 0, table[dataset.labels], -1), []
    if classes is not None:
        raise UsageError(
            f"--classes: the dataset's label {dataset.label_names[strangers[0]]!r} is not among the names"
            if places
            else "--classes: a name occurs twice"
        )
    if used[-1] >= model.n_classes:
        raise InputError(
            f"{dataset.path}: has label {dataset.label_names[used[-1]]!r} at place {used[-1]}, but the model has only "
            f"{model.n_classes} labels"
        )
    notes = (
        ["the dataset's label names are not the model's; labels were matched by their order"] if names else []
    )
    return dataset.labels.astype(np.int64), notes


def _places(names: Sequence[str]) -> dict[str, int]:
    """Plain name to label; empty where two names are the same."""
    places = {_plain(name): label for label, name in enumerate(names)}
    return places if len(places) == len(names) else {}


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
