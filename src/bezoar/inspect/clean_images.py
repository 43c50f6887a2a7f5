"""The clean images that an inspection works with, and the check that the model knows them.

A wrong mean, a swapped channel or labels in another order make every statistic of an inspection meaningless. So the model's
accuracy on the images is measured first: what its preprocessing merely assumes is replaced where another usual choice is clearly
better, and a model that is no better than the best constant guess is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bezoar.data import Dataset, image_sizes, load_images
from bezoar.errors import InputError, LimitError, UsageError
from bezoar.graphs.memory import available_bytes, gigabytes
from bezoar.inspect.label_order import labels_of_model
from bezoar.inspect.usual_preprocessing import usual
from bezoar.models.opening.model import Model, Preprocessing
from bezoar.seeds import generator

if TYPE_CHECKING:
    import torch

_ALPHA = 1e-3  # of taking a model that guesses for one that knows the images
_CLEARLY = 0.01  # two-sided level of "clearly better"
_SCREEN = 64  # images on which all usual choices are tried
_COMPARED = 512  # images on which the best of them are compared
_FINALISTS = 3
_LOW = 0.5  # accuracy that is worth a word
_PERFECT = 0.98  # accuracy at which no other choice is tried
_BATCH_PIXELS = 2**20  # of one forward pass
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601-2, as Pillow has it
_MAX_SIDE = 512  # of images whose own size is taken for the model's


@dataclass(frozen=True)
class CleanImages:
    """Images that a model is inspected with.

    Attributes:
        images: float32 tensor (N, C, H, W) in [0, 1], at the model's size.
        labels: int64 (N,), in the model's order.
        accuracy: the model's on them, under `preprocessing`.
        preprocessing: the model's, with what was inferred.
        notes: what a person should know of all this, one line each.

    """

    images: torch.Tensor
    labels: NDArray[np.int64]
    accuracy: float
    preprocessing: Preprocessing
    notes: tuple[str, ...] = ()


def clean_images(
    model: Model, dataset: Dataset, *, limit: int, seed: int, classes: Sequence[str] | None = None
) -> CleanImages:
    """At most `limit` images of `dataset`, as many of each label as there are, on which the model's accuracy is above chance.

    `classes` are the names of the model's K labels in its order, where it does not name them itself. Only the images that are
    drawn are read and kept.

    InputError where the dataset has no labelled images, its labels do not fit the model, or the model does not know them;
    UsageError for names that do not fit.
    """
    labels, notes = labels_of_model(model, dataset, classes)
    rows = _drawn(labels, limit, seed)
    if len(np.unique(labels[rows])) < 2:
        raise InputError(f"{dataset.path}: its images show fewer than two of the model's labels")
    stated = model.preprocessing
    model = _at_data_size(model, dataset)
    kept, images = _loaded(dataset, rows, model.preprocessing)
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} of {len(rows)} images could not be read and are left out")
    wanted = labels[kept]
    chance = float(np.bincount(wanted).max() / len(wanted)) if len(wanted) else 1.0
    if chance ** len(wanted) > _ALPHA:
        raise InputError(
            f"{dataset.path}: {len(wanted)} images are too few to tell whether the model knows them"
        )
    chosen, tried = _chosen(model, images, wanted, seed)
    right = _answers(model.with_preprocessing(chosen), images, wanted).right
    accuracy = float(right.mean())
    doubt = (
        f"accuracy on the given clean images is {accuracy:.0%} of {model.n_classes} classes (a constant guess has {chance:.0%}): "
        "is the preprocessing right, and are the labels in the model's order? See --mean, --std, --scale, --order, --size and "
        "--classes"
    )
    if stats.binom.sf(right.sum() - 1, len(right), chance) * tried > _ALPHA:
        raise InputError(doubt)
    if accuracy < _LOW:
        notes.append(doubt)
    if chosen != stated:
        notes.append(
            f"the model does not say how its images are prepared; inferred from the images: {_told(chosen)}"
        )
    return CleanImages(images, wanted, accuracy, chosen, tuple(notes))


def _drawn(labels: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """Rows of at most `limit` records with a label, in order: from every label one, then another, until there are enough."""
    if limit < 1:
        raise UsageError(f"cannot look at {limit} images; give at least 1")
    shuffled = generator(seed, "inspect", "images").permutation(np.flatnonzero(labels >= 0))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, counts = np.unique(labels[by_label], return_index=True, return_counts=True)
    turn = np.arange(len(by_label)) - np.repeat(starts, counts)
    return np.sort(by_label[np.argsort(turn, kind="stable")[:limit]])


def _loaded(
    dataset: Dataset, rows: NDArray[np.int64], preprocessing: Preprocessing
) -> tuple[NDArray[np.int64], torch.Tensor]:
    """The rows that can be read, and their pixels."""
    import torch

    channels, height, width = preprocessing.channels, preprocessing.height, preprocessing.width
    needed = len(rows) * channels * height * width * 4
    if needed > available_bytes() / 2:
        raise LimitError(
            f"{dataset.path}: {len(rows)} images take {gigabytes(needed)} of memory, too much here; use fewer"
        )
    images = np.empty((len(rows), channels, height, width), np.float32)
    kept: list[NDArray[np.int64]] = []
    done = 0
    for batch in load_images(dataset.select(rows), (height, width), batch=_batch(preprocessing)):
        pixels = batch.pixels.astype(np.float32) / np.float32(255)
        pixels = (pixels @ _GREY[:, None]).clip(0, 1) if channels == 1 else pixels
        images[done : done + len(pixels)] = pixels.transpose(0, 3, 1, 2)
        kept.append(rows[batch.indices])
        done += len(pixels)
    return np.concatenate(kept), torch.from_numpy(images[:done])


def _batch(preprocessing: Preprocessing) -> int:
    return max(1, min(512, _BATCH_PIXELS // (preprocessing.height * preprocessing.width)))


def _at_data_size(model: Model, dataset: Dataset) -> Model:
    """The model at the size that the images have, where it names none and takes that."""
    import torch

    now = model.preprocessing
    size = image_sizes(dataset) if now.origins.get("height") == "assumed" else None
    if size is None or max(size) > _MAX_SIDE:
        return model
    other = replace(
        now, height=size[0], width=size[1], origins={**now.origins, "height": "inferred", "width": "inferred"}
    )
    resized = model.with_preprocessing(other)
    try:
        with torch.no_grad():
            resized.network()(torch.zeros(2, now.channels, *size))
    except InputError:
        return model
    return resized


@dataclass(frozen=True, slots=True)
class _Answers:
    """For each image, whether the model's answer is right, and the log-likelihood of the label."""

    right: NDArray[np.bool_]
    likelihood: NDArray[np.float64]

    @property
    def rank(self) -> tuple[int, float]:
        return int(self.right.sum()), float(self.likelihood.mean())


def _answers(model: Model, images: torch.Tensor, labels: NDArray[np.int64]) -> _Answers:
    import torch

    network = model.network()
    step = _batch(model.preprocessing)
    with torch.no_grad():
        logits = torch.cat([network(images[i : i + step]).float() for i in range(0, len(images), step)])
    scores = logits.nan_to_num(-1e9).log_softmax(1)
    wanted = torch.from_numpy(labels)
    likelihood = scores.gather(1, wanted[:, None])[:, 0]
    return _Answers((scores.argmax(1) == wanted).numpy(), likelihood.numpy().astype(np.float64))


def _chosen(
    model: Model, images: torch.Tensor, labels: NDArray[np.int64], seed: int
) -> tuple[Preprocessing, int]:
    """The model's preprocessing, or a usual one that is clearly better where it is only assumed; and how many were tried."""
    own = model.preprocessing
    others = list(usual(own))
    order = generator(seed, "inspect", "screen").permutation(len(labels))
    screen, compared = order[:_SCREEN], order[:_COMPARED]

    def answers(preprocessing: Preprocessing, rows: NDArray[np.int64]) -> _Answers:
        return _answers(model.with_preprocessing(preprocessing), images[rows], labels[rows])

    if not others or answers(own, screen).right.mean() >= _PERFECT:
        return own, 1
    ranked = sorted(others, key=lambda other: answers(other, screen).rank, reverse=True)
    base = answers(own, compared)
    best, best_answers = own, base
    for other in ranked[:_FINALISTS]:
        found = answers(other, compared)
        if found.rank > best_answers.rank:
            best, best_answers = other, found
    return (best if _clearly_better(best_answers, base) else own), 1 + len(others)


def _clearly_better(found: _Answers, base: _Answers) -> bool:
    """Right where the other is wrong (McNemar's exact test), or as often right, and surer of it (paired t-test)."""
    won, lost = int((found.right & ~base.right).sum()), int((base.right & ~found.right).sum())
    if won > lost and stats.binomtest(won, won + lost).pvalue < _CLEARLY:
        return True
    gain = found.likelihood - base.likelihood
    return (
        won >= lost
        and gain.std() > 0
        and bool(stats.ttest_1samp(gain, 0).pvalue < _CLEARLY)
        and gain.mean() > 0
    )


def _told(chosen: Preprocessing) -> str:
    values = {
        "mean": ",".join(f"{value:g}" for value in chosen.mean),
        "std": ",".join(f"{value:g}" for value in chosen.std),
        "scale": f"{chosen.scale:g}",
        "order": chosen.order,
        "size": f"{chosen.height}x{chosen.width}",
    }
    return ", ".join(f"{name} {value}" for name, value in values.items() if _inferred(chosen, name))


def _inferred(chosen: Preprocessing, name: str) -> bool:
    return chosen.origins.get("height" if name == "size" else name) == "inferred"
