"""Which encoder tells the classes apart? k-NN accuracy of encoders on the real data packs (docs/adr/0002).

    python benchmarks/encoders.py --quick            # the table of the ADR: subsets, every encoder
    python benchmarks/encoders.py --only default     # all records, one encoder

Every encoder is fitted without labels to the records that are searched (the gallery) and judged by the
majority label among the 10 nearest neighbours by cosine. GTSRB: neighbours from the query's own track (the
same physical sign) do not count; `GTSRB test` queries the test set against the training set. Flowers: leave
one out. The others: test against training set. The last columns are wall and CPU seconds to encode 50,000
images that are decoded already, at the rate of the fastest of the five galleries' first batches.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bezoar.data
from bezoar.data import Dataset, load_images
from bezoar.embed import Encoder, Features, Images, features, fit, resolve
from bezoar.embed.default import EPSILON, DefaultEncoder, Recipe, gradients, learn_projection
from bezoar.seeds import generator

K = 10
SEED = 0
PACKS = Path(os.environ.get("BEZOAR_DATA", Path(__file__).parents[2] / "shared" / "data"))
MOBILENET = f"onnx:{PACKS / 'encoders' / 'mobilenet_v2_imagenet.onnx'}"


@dataclass(frozen=True)
class Task:
    """Queries and the gallery to search; with `group`, neighbours of the query's own group do not count."""

    name: str
    gallery: Dataset
    queries: Dataset
    group: str | None = None


def main() -> None:
    """Print the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="subsets of a few thousand records")
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=list(encoders()), help="some encoders")
    arguments = parser.parse_args()
    work = tasks(arguments.quick)
    for task in work:
        print(f"{task.name}: {len(task.queries):,} queries, {len(task.gallery):,} in the gallery")
    columns = [task.name for task in work]
    print("\n| encoder | D | " + " | ".join([*columns, "mean", "wall s", "CPU s"]) + " |")
    print("|---|" + "---:|" * (len(columns) + 4))
    for name, make in encoders().items():
        if arguments.only is None or name in arguments.only:
            print(row(name, make(), work), flush=True)


def tasks(quick: bool) -> list[Task]:
    """The five measurements; all records, or seeded subsets."""
    signs = opened("gtsrb/train32.parquet")
    flowers = opened("flowers128/train.parquet")

    def few(dataset: Dataset, count: int) -> Dataset:
        if not quick or len(dataset) <= count:
            return dataset
        return dataset.select(np.sort(generator(SEED, "subset").permutation(len(dataset))[:count]))

    signs_searched = signs.select(np.arange(0, len(signs), 2)) if quick else signs  # keeps every track
    flowers_searched = few(flowers, 2000)
    return [
        Task("GTSRB", signs_searched, few(signs_searched, 1500), "track"),
        Task("GTSRB test", signs_searched, few(opened("gtsrb/test32.parquet"), 1000)),
        Task(
            "CIFAR-10", few(opened("cifar10/train.parquet"), 4000), few(opened("cifar10/test.parquet"), 1000)
        ),
        Task("flowers", flowers_searched, few(flowers_searched, 1000), "(key)"),
        Task(
            "Fashion",
            few(opened("fashion_mnist/train-images-idx3-ubyte.gz"), 4000),
            few(opened("fashion_mnist/t10k-images-idx3-ubyte.gz"), 1000),
        ),
    ]


def encoders() -> dict[str, Callable[[], Encoder]]:
    """Everything that was tried, by the name of its row."""
    base = Recipe()
    changed = {
        "no gradients": replace(base, orientations=0),
        "gradient weight 1": replace(base, gradient_weight=1.0),
        "gradient weight 16": replace(base, gradient_weight=16.0),
        "grid 3": replace(base, grid=3),
        "64 filters": replace(base, filters=64),
        "256 filters": replace(base, filters=256),
        "noise 1e-2": replace(base, whitening_noise=1e-2),
    }
    return {
        "pixels": lambda: Handmade("pixels", pixels),
        "pixels, whitened": lambda: Handmade("pixels, whitened", pixels, dim=512),
        "gradients, whitened": lambda: Handmade("gradients", partial(gradients, base), dim=512),
        "default": DefaultEncoder,
        **{f"default, {name}": _made(recipe) for name, recipe in changed.items()},
        **{f"mobilenet_v2 at {size}": _resolved(f"{MOBILENET}?size={size}") for size in (64, 96, 128)},
    }


def row(name: str, encoder: Encoder, work: list[Task]) -> str:
    """One line of the table."""
    scores, wall, cpu = [], [], []
    for task in work:
        fitted = fit(task.gallery, encoder, SEED)
        gallery, _ = features(task.gallery, fitted, seed=SEED)
        queries, _ = features(task.queries, fitted, seed=SEED)
        scores.append(100 * accuracy(task, unit(gallery), unit(queries)))
        timed = next(iter(load_images(task.gallery, fitted.size))).pixels
        start, start_cpu = time.perf_counter(), time.process_time()
        fitted.encode(timed)
        wall.append(50_000 * (time.perf_counter() - start) / len(timed))
        cpu.append(50_000 * (time.process_time() - start_cpu) / len(timed))
    figures = [*(f"{score:.1f}" for score in scores), f"{np.mean(scores):.1f}"]
    return (
        f"| {name} | {gallery.shape[1]} | "
        + " | ".join([*figures, f"{min(wall):.0f}", f"{min(cpu):.0f}"])
        + " |"
    )


def accuracy(task: Task, gallery: Features, queries: Features) -> float:
    """Share of queries with the majority label of the K nearest that count; the nearer decides a tie."""
    groups = [group_of(data, task.group) for data in (task.gallery, task.queries)]
    labels, right = task.gallery.labels, 0
    for start in range(0, len(queries), 512):
        part = slice(start, start + 512)
        similarity = np.asarray(queries[part] @ gallery.T)
        if task.group is not None:
            similarity[groups[1][part][:, None] == groups[0][None]] = -2
        nearest = np.argpartition(-similarity, K, axis=1)[:, :K]
        weight = 1 + 1e-4 * np.take_along_axis(similarity, nearest, 1)
        votes = np.zeros((len(similarity), int(labels.max()) + 1))
        np.add.at(votes, (np.arange(len(votes))[:, None], labels[nearest]), weight)
        right += int((votes.argmax(1) == task.queries.labels[part]).sum())
    return right / len(queries)


def group_of(dataset: Dataset, group: str | None) -> NDArray[np.str_]:
    """What identifies a record's group."""
    if group in (None, "(key)"):
        return np.array(dataset.keys.to_pylist())
    return np.array(
        [f"{label} {track}" for label, track in zip(dataset.labels, dataset.column(group), strict=True)]
    )


def unit(rows: Features) -> Features:
    """Rows of length 1; unreadable ones are 0."""
    rows = np.nan_to_num(rows)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def opened(name: str) -> Dataset:
    """One data pack's file."""
    return bezoar.data.open(PACKS / name)


def _made(recipe: Recipe) -> Callable[[], Encoder]:
    return lambda: DefaultEncoder(recipe=recipe)


def _resolved(spec: str) -> Callable[[], Encoder]:
    return lambda: resolve(spec)


@dataclass(frozen=True)
class Handmade:
    """A reference: fixed raw features; with another `dim`, their square roots in a whitening PCA."""

    name: str
    raw: Callable[[Images], Features]
    dim: int = 3072
    size: int = 32
    sample_size: int = 5000
    projection: tuple[Features, Features] | None = None

    @property
    def digest(self) -> str:
        """Not cached."""
        return self.name

    def fit(self, sample: Images, seed: int) -> Handmade:
        """Learn the projection."""
        if self.dim == 3072 or self.projection is not None:
            return self
        rooted = np.sqrt(self.raw(sample) + np.float32(EPSILON))
        return replace(self, projection=learn_projection(rooted, self.dim, 1e-3, generator(seed, self.name)))

    def encode(self, images: Images) -> Features:
        """Features, (N, D)."""
        raw = self.raw(images)
        if self.projection is None:
            return raw
        return np.asarray((np.sqrt(raw + np.float32(EPSILON)) - self.projection[0]) @ self.projection[1])


def pixels(images: Images) -> Features:
    """Pixels in [0, 1], (N, 3072)."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


if __name__ == "__main__":
    main()
