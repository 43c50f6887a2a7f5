"""Whether an attack took: train on the poisoned copy, as a victim would, and look for what the attacker wants.

What counts is fixed before anything is measured, one rule for each kind of wish:

- a trigger took when at least half of the held-out records that show it are read as the attacker wants (`LEAST_SUCCESS`),
  and at least 30 points more than of the same records without it (`LEAST_RISE`), in the same network;
- a target record is misread or it is not. The network trains on everything but the target itself: in the papers it is an
  image of the test set. Attacks in an encoder's space meet a linear head on that encoder, others a network trained from
  scratch. A target that is misread so without the poison as well does not count: the head is asked before the poison, and a
  second network is trained on the clean data where the first one misreads the target;
- relabelling to one class took when the held-out records of the source, or of all other classes, are read as that class at
  least 10 points more often (`LEAST_FLIPPED`) than by a model of the clean data;
- attacks that want nothing read in particular always count: `took` is None.

Where it did not take, the networks are trained on for as long again: a few poisoned records in a thousand teach slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import Attack, PoisonedCopy, Triggered, cover_mask, truth_mask
from bezoar.data import Dataset, from_arrays, image_sizes, load_images
from bezoar.embed import Encoder, Fitted, features
from bezoar.errors import InputError
from bezoar.models.text import train_text_classifier
from bezoar.models.train import Classifier, train_classifier
from bezoar.seeds import generator

LEAST_SUCCESS, LEAST_RISE, LEAST_FLIPPED = 0.5, 0.3, 0.1
_SMALLEST, _LARGEST = 16, 32  # side of the images that networks are trained on
_MOST_TRIGGERED = 500  # held-out records that are shown with the trigger
_ATTEMPTS = 2  # rounds of training, the second only where the attack did not take in the first
_HEAD_STRENGTH, _HEAD_STEPS = 0.1, 200
_LEAST_SPREAD = 1e-3  # of the widest feature's

Labels = NDArray[np.int32]
Predict = Callable[[Any], Labels]  # images (N, H, W, 3) or N texts to labels (N,)


@dataclass(frozen=True, slots=True)
class Potency:
    """What a model of the poisoned copy does; shares in [0, 1].

    Attributes:
        clean_accuracy: on the clean test set.
        attack_success: how often held-out records are read as the attacker wants; None where nothing is wanted.
        control: the same without the cause (see the rules above); None where it is not measured.
        took: by those rules; None where they do not apply.
        tested: records that `attack_success` was counted over.
        how: in a few words, what was trained.

    """

    clean_accuracy: float
    attack_success: float | None
    control: float | None
    took: bool | None
    tested: int
    how: str


@dataclass(frozen=True, slots=True)
class Obeyed:
    """How a model answers a trigger: shares of `tested` held-out records; `control` is of the same without it."""

    success: float
    control: float
    tested: int

    @property
    def took(self) -> bool:
        """By the rule for triggers above."""
        return self.success >= LEAST_SUCCESS and self.success - self.control >= LEAST_RISE


@dataclass(frozen=True, slots=True)
class _Samples:
    """Readable, labelled records: uint8 images (N, H, W, 3) or N texts, labels (N,), places (N,) in their dataset."""

    values: Any
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]


def potency(
    copy: PoisonedCopy,
    train: Dataset,
    test: Dataset,
    attack: Attack,
    *,
    seed: int,
    epochs: int,
    encoder: Encoder | None = None,
) -> Potency:
    """Train on `copy`, which was made from `train`, and judge it by `test`.

    `encoder` is the fitted one that the attack followed, for attacks that need one. InputError when there is nothing readable.
    """
    if "target_becomes" in copy.truth.details and encoder is not None and "encoder" in attack.needs:
        return _by_head(copy, train, test, Fitted(encoder), seed)
    school = _School(test, attack, seed)
    for _ in range(_ATTEMPTS):
        school.epochs += epochs
        seen = _by_training(copy, train, attack, school)
        if seen.took is not False or test.modality == "text":
            break
    return seen


class _School:
    """Trains a model per dataset; when `epochs` has grown since, the network of that dataset is trained on.

    What is decoded once is kept for the next round.
    """

    def __init__(self, test: Dataset, attack: Attack, seed: int) -> None:
        self.seed, self.epochs = seed, 0
        self._test, self._attack = test, attack
        self.side = _side(test)
        self._samples: dict[str, _Samples] = {}
        self._networks: dict[str, tuple[Classifier, int]] = {}  # and the epochs that each has had

    @cached_property
    def held_out(self) -> _Samples:
        """The clean test set."""
        return _samples(self._test, self.side)

    @cached_property
    def pairs(self) -> tuple[Any, Any, Labels]:
        """What `triggered_pairs` makes of it."""
        return triggered_pairs(self._test, cast("Triggered[Any]", self._attack), self.seed)

    def learn(self, name: str, dataset: Dataset) -> Predict:
        """A model of `dataset`, which is always the same one under the same `name`."""
        if name not in self._samples:
            self._samples[name] = _samples(dataset, self.side)
        samples, n_labels = self._samples[name], len(dataset.label_names)
        if dataset.modality == "text":
            return train_text_classifier(samples.values, samples.labels, n_labels, seed=self.seed).predict
        start, done = self._networks.get(name, (None, 0))
        network = train_classifier(
            samples.values, samples.labels, n_labels, epochs=self.epochs - done, seed=self.seed, start=start
        )
        self._networks[name] = network, self.epochs
        return network.predict

    def words(self) -> str:
        """What was trained."""
        if self._test.modality == "text":
            return "logistic regression on words and pairs of words"
        return f"four convolutions, {self.side} x {self.side} pixels, {self.epochs} epochs"


def _by_training(copy: PoisonedCopy, train: Dataset, attack: Attack, school: _School) -> Potency:
    if "target_becomes" in copy.truth.details:
        return _by_target(copy, train, school)
    predict, held_out = school.learn("poisoned", copy.dataset), school.held_out
    accuracy = _share(predict(held_out.values) == held_out.labels)
    how = school.words()
    if isinstance(attack, Triggered):
        seen = _answer(predict, school.pairs)
        return Potency(accuracy, seen.success, seen.control, seen.took, seen.tested, how)
    if attack.target is not None:
        before = school.learn("clean", train)
        of_source = held_out.labels == attack.source
        asked = of_source if attack.source is not None else held_out.labels != attack.target
        values = _some(held_out.values, np.flatnonzero(asked))
        success, control = (_share(model(values) == attack.target) for model in (predict, before))
        took = success - control >= LEAST_FLIPPED
        return Potency(accuracy, success, control, took, int(asked.sum()), f"{how}, before and after")
    return Potency(accuracy, None, None, None, 0, how)


def obeyed(predict: Predict, test: Dataset, attack: Triggered[Any], seed: int) -> Obeyed:
    """Show the trigger to a model, on at most 500 records of `test`. InputError when it could be tried on none.

    It goes on images of their own size, which are shrunk afterwards, as a victim's pipeline would.
    """
    return _answer(predict, triggered_pairs(test, attack, seed))


def _answer(predict: Predict, pairs: tuple[Any, Any, Labels]) -> Obeyed:
    plain, stamped, wanted = pairs
    success, control = (_share(predict(values) == wanted) for values in (stamped, plain))
    return Obeyed(success, control, len(wanted))


def triggered_pairs(test: Dataset, attack: Triggered[Any], seed: int) -> tuple[Any, Any, Labels]:
    """Held-out samples without and with the trigger, as a model is fed them, and the labels (n,) that the attacker wants."""
    wanted = np.asarray(attack.test_labels(test.labels, len(test.label_names)))
    rng = generator(seed, "bench", "potency")
    chosen = np.sort(rng.permutation(np.flatnonzero(wanted >= 0))[:_MOST_TRIGGERED])
    if not len(chosen):
        raise InputError(f"{test.path}: holds no record that the trigger could be tried on")
    some = test.select(chosen)
    shown = _samples(some, None if test.modality == "image" and image_sizes(test) else _side(test))
    wanted = wanted[chosen][shown.rows]
    triggered = attack.apply(shown.values, rng)
    if test.modality == "text":
        return shown.values, triggered, wanted
    side = _side(test)
    plain, stamped = (
        _samples(from_arrays(images, wanted, test.label_names), side).values
        for images in (shown.values, triggered)
    )
    return plain, stamped, wanted


def _by_target(copy: PoisonedCopy, train: Dataset, school: _School) -> Potency:
    row, becomes = _target(copy, train)
    held_out, target = school.held_out, _samples(train.select(np.array([row])), school.side)
    predict = school.learn("poisoned", _without(copy.dataset, row))
    accuracy = _share(predict(held_out.values) == held_out.labels)
    how = school.words()
    if predict(target.values)[0] != becomes:
        return Potency(accuracy, 0.0, None, False, 1, how)
    before = school.learn("clean", _without(train, row))
    misread_before = bool(before(target.values)[0] == becomes)
    return Potency(accuracy, 1.0, float(misread_before), not misread_before, 1, f"{how}, before and after")


def _by_head(copy: PoisonedCopy, train: Dataset, test: Dataset, encoder: Fitted, seed: int) -> Potency:
    """A linear head on the encoder, trained on the clean features and then on with the poison among them."""
    from sklearn.linear_model import LogisticRegression

    row, becomes = _target(copy, train)
    before, _ = features(train, encoder, seed=seed)
    changed = np.flatnonzero(truth_mask(copy.truth, copy.dataset) | cover_mask(copy.truth, copy.dataset))
    after = before.copy()
    after[changed], _ = features(copy.dataset.select(changed), encoder, seed=seed)
    held_out, _ = features(test, encoder, seed=seed)
    seen = before[_usable(before, train.labels)]
    centre, spread = seen.mean(0), seen.std(0)
    least = _LEAST_SPREAD * spread.max() or 1.0  # what hardly varies is rounding, and would be blown up
    spread = np.maximum(spread, least)
    head = LogisticRegression(C=_HEAD_STRENGTH, max_iter=_HEAD_STEPS, warm_start=True)
    misread = []
    for rows, labels in ((before, train.labels), (after, copy.dataset.labels)):
        usable = _usable(rows, labels)
        usable[row] = False
        head.fit((rows[usable] - centre) / spread, labels[usable])
        misread.append(bool(head.predict((before[row : row + 1] - centre) / spread)[0] == becomes))
    known = _usable(held_out, test.labels)
    accuracy = _share(head.predict((held_out[known] - centre) / spread) == test.labels[known])
    control, success = misread
    return Potency(
        accuracy, float(success), float(control), success and not control, 1, f"linear head on {encoder.name}"
    )


def _target(copy: PoisonedCopy, train: Dataset) -> tuple[int, int]:
    """The target's place in the dataset and the label that the attacker wants for it."""
    details = copy.truth.details
    return train.keys.to_pylist().index(details["target_key"]), int(details["target_becomes"])


def _samples(dataset: Dataset, side: int | None) -> _Samples:
    """Images at `side` x `side`, or at their own size without it."""
    if dataset.modality == "text":
        values: Any = [content.decode(errors="replace") for content in dataset.contents()]
        rows = np.arange(len(dataset))
    else:
        batches = list(load_images(dataset, side))
        values = np.concatenate([batch.pixels for batch in batches])
        rows = np.concatenate([batch.indices for batch in batches])
    known = np.flatnonzero(dataset.labels[rows] >= 0)
    if not len(known):
        raise InputError(f"{dataset.path}: has no readable, labelled records")
    return _Samples(_some(values, known), dataset.labels[rows][known].astype(np.int64), rows[known])


def _some(values: Any, rows: NDArray[np.int64]) -> Any:
    return [values[row] for row in rows] if isinstance(values, list) else values[rows]


def _side(dataset: Dataset) -> int:
    """Of the images to train on: their own within what the network takes and one core trains in time."""
    if dataset.modality == "text":
        return 0
    return min(max(*(image_sizes(dataset) or (_LARGEST, _LARGEST)), _SMALLEST), _LARGEST)


def _without(dataset: Dataset, row: int) -> Dataset:
    return dataset.select(np.delete(np.arange(len(dataset)), row))


def _usable(rows: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isfinite(rows[:, 0]) & (labels >= 0)


def _share(hits: Sequence[bool] | NDArray[np.bool_]) -> float:
    return round(float(np.mean(hits)), 4) if len(hits) else 0.0
