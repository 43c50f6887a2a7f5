"""The story that `bezoar demo` tells, measured: a backdoor goes in, is found, is taken out; then a clean-label poison.

Every figure is computed in the run. The scan gets the poisoned files alone; the ground truth is only used afterwards,
to count.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import BadNets, FeatureCollision, poison, truth_mask, write_poisoned
from bezoar.data import Dataset, from_arrays, load_images, open, write  # noqa: A004 - the verb of the package
from bezoar.demo.backbone import Backbone
from bezoar.demo.creatures import CREATURES, render_creature
from bezoar.demo.signs import CLASS_NAMES, render_dataset
from bezoar.embed import features
from bezoar.files import refuse_existing
from bezoar.models.threads import one_thread
from bezoar.models.train import Classifier, train_classifier
from bezoar.report import write_scan
from bezoar.scan.clean import clean
from bezoar.scan.functional.neighbours import nearest, unit_rows
from bezoar.scan.pipeline import scan
from bezoar.scan.result import ScanResult
from bezoar.seeds import generator

STOP, LIMIT_60 = CLASS_NAMES.index("stop"), CLASS_NAMES.index("speed limit 60")
FROG, PLANE = range(len(CREATURES))
_PER_CLASS, _TEST_PER_CLASS = 278, 100  # 5,004 signs to train on
_RATE = 0.01
_PATCH = 4  # pixels
_CREATURES_PER_KIND = 400
_FROGS = 12  # poisoned
_LARGEST_CHANGE = 32.0  # of a pixel, in levels of 255
_AROUND = 64  # neighbours of the target that are all of its kind
_NEIGHBOURS = 5  # by which the victim of the clean-label poison classifies

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Network:
    """What one trained network does: shares in [0, 1]."""

    data: str
    clean_accuracy: float
    attack_success: float


@dataclass(frozen=True, slots=True)
class Found:
    """What a scan found, held against the ground truth."""

    planted: int
    true_positive_rate: float
    false_positive_rate: float
    report: Path


@dataclass(frozen=True, slots=True)
class CleanLabel:
    """The frog story: the label that the victim gives to the target plane before and after, and what the scan found."""

    before: str
    after: str
    largest_change: float  # of a pixel, in levels of 255, median over the poisoned frogs
    found: Found


@dataclass(frozen=True, slots=True)
class Story:
    """All figures of the demo."""

    networks: tuple[Network, Network, Network]
    signs: Found
    frogs: CleanLabel


def tell(out: Path, seed: int, say: Say) -> Story:
    """Run the whole demo, writing datasets and reports to the new folder `out`; `say` gets each step in a line."""
    refuse_existing(out)
    out.mkdir()
    try:
        with one_thread():
            networks, signs = _stop_signs(out, seed, say)
            frogs = _frogs(out, seed, say)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return Story(networks, signs, frogs)


def _stop_signs(folder: Path, seed: int, say: Say) -> tuple[tuple[Network, Network, Network], Found]:
    """Dirty label: a pixelated square on 1 % of the records turns stop signs into speed limits."""
    say(
        f"Rendering {(_PER_CLASS + _TEST_PER_CLASS) * len(CLASS_NAMES):,} traffic signs of {len(CLASS_NAMES)} classes."
    )
    clean_signs = _dataset(folder / "signs.parquet", *render_dataset(_PER_CLASS, seed), CLASS_NAMES)
    test, test_labels = render_dataset(_TEST_PER_CLASS, seed + 1)
    attack = BadNets(target=LIMIT_60, source=STOP, size=_PATCH, pattern_seed=seed)

    def network(dataset: Dataset, what: str) -> Network:
        say(f"Training a small network on {what}.")
        model = train_classifier(_pixels(dataset), dataset.labels, len(CLASS_NAMES), seed=seed)
        return _measure(model, what, test, test_labels, attack, seed)

    before = network(clean_signs, "the clean signs")
    say(
        f"Poisoning {_RATE:.0%}: stop signs with a {_PATCH} x {_PATCH} pixelated square, labelled 'speed limit 60'."
    )
    truth = write_poisoned(poison(clean_signs, attack, rate=_RATE, seed=seed), folder / "poisoned.parquet")
    poisoned = open(folder / "poisoned.parquet")
    during = network(poisoned, "the poisoned signs")
    say("Scanning the poisoned signs.")
    result = scan(poisoned, seed=seed)
    report = write_scan(result, folder / "scan")
    write(clean(poisoned, result), folder / "cleaned.parquet")
    after = network(open(folder / "cleaned.parquet"), "the cleaned signs")
    return (before, during, after), _found(result, truth_mask(truth, poisoned), report)


def _frogs(folder: Path, seed: int, say: Say) -> CleanLabel:
    """Clean label: frogs, rightly labelled, moved onto one plane in the encoder's space (Shafahi et al. 2018)."""
    say(
        f"Clean-label poison: {_FROGS} frogs, rightly labelled, that a backbone takes for one particular plane."
    )
    backbone = _backbone(seed)
    animals = _dataset(folder / "frogs-and-planes.parquet", *_creatures(seed, "dataset"), CREATURES)
    target = _lone_plane(animals, backbone)
    attack = FeatureCollision(source=FROG, target_index=target, steps=100, beta=1.0, eps=_LARGEST_CHANGE)
    copy = poison(animals, attack, rate=_FROGS / len(animals), seed=seed, encoder=backbone)
    truth = write_poisoned(copy, folder / "frogs-poisoned.parquet")
    poisoned = open(folder / "frogs-poisoned.parquet")
    planted = truth_mask(truth, poisoned)
    say("Scanning the frogs and planes in the backbone's space.")
    result = scan(poisoned, encoder=backbone, seed=seed)
    report = write_scan(result, folder / "frogs-scan")
    return CleanLabel(
        _victim(animals, backbone, target),
        _victim(poisoned, backbone, target),
        float(np.median([record.figures["linf"] for record in truth.records])),
        _found(result, planted, report),
    )


def _backbone(seed: int) -> Backbone:
    """A network trained on other frogs and planes: published weights that both victim and scanner have."""
    images, labels = _creatures(seed, "backbone")
    model = train_classifier(images, labels, len(CREATURES), seed=seed)
    dim = model.features(images[:1]).shape[1]
    return Backbone(model, "backbone trained on other frogs and planes", images.shape[1], dim)


def _creatures(seed: int, purpose: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Frogs, then planes: images (N, 32, 32, 3) and labels (N,)."""
    rng = generator(seed, "creatures", purpose)
    labels = np.repeat(np.arange(len(CREATURES), dtype=np.int32), _CREATURES_PER_KIND)
    return np.stack([render_creature(CREATURES[label], rng) for label in labels]), labels


def _measure(
    model: Classifier,
    what: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    attack: BadNets,
    seed: int,
) -> Network:
    """Clean accuracy on the test signs, and how many test stop signs with the patch are read as the target."""
    stamped = attack.apply(images[labels == STOP], generator(seed, "stamp"))
    return Network(
        what,
        float((model.predict(images) == labels).mean()),
        float((model.predict(stamped) == LIMIT_60).mean()),
    )


def _lone_plane(dataset: Dataset, encoder: Backbone) -> int:
    """The plane, among planes only, with the most room around it: what an attacker would single out."""
    rows, _ = features(dataset, encoder, seed=0)
    found = nearest(np.asarray(rows), _AROUND)
    among_planes = (dataset.labels == PLANE) & (dataset.labels[found.indices] == PLANE).all(axis=1)
    return int(np.where(among_planes, -found.similarities[:, _NEIGHBOURS - 1], -2.0).argmax())


def _victim(dataset: Dataset, encoder: Backbone, target: int) -> str:
    """What a nearest-neighbour model in the encoder's space calls the target when it is not in the training data."""
    rows, _ = features(dataset, encoder, seed=0)
    unit = unit_rows(rows)
    cosines = unit @ unit[target]
    cosines[target] = -2.0
    nearest = dataset.labels[np.argsort(-cosines)[:_NEIGHBOURS]]
    return dataset.label_name(int(np.bincount(nearest).argmax()))


def _found(result: ScanResult, planted: NDArray[np.bool_], report: Path) -> Found:
    flagged = result.flagged
    return Found(int(planted.sum()), float(flagged[planted].mean()), float(flagged[~planted].mean()), report)


def _dataset(
    path: Path, images: NDArray[np.uint8], labels: NDArray[np.int32], names: tuple[str, ...]
) -> Dataset:
    """Rendered images as a Parquet file in the Hugging Face layout."""
    write(from_arrays(images, labels, names), path, "parquet")
    return open(path)


def _pixels(dataset: Dataset) -> NDArray[np.uint8]:
    """All images of a small dataset, uint8 (N, H, W, 3)."""
    return np.concatenate([batch.pixels for batch in load_images(dataset, None)])
