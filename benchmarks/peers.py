"""The same features to other libraries at their defaults: what they flag in poisoned and in clean data, beside the scan.

    python benchmarks/peers.py                                   # everything (hours); goes on where it was cut off
    python benchmarks/peers.py --seeds 0 --packs gtsrb           # a part
    python benchmarks/peers.py --ours-again                      # the scan alone, after it has changed
    python benchmarks/peers.py --table                           # only the table, from the rows in --cache

A trial is a sample of a pack, clean or poisoned as in the benchmark matrix (`bezoar.bench`). Every peer is given the features
of the encoder that the scan uses, and besides those of a network trained on the suspect data, which is what ART's defences are
made for. Peers run in an environment of their own (`peer_environment.py`). Trials and rows are kept in --cache; the table goes
to benchmarks/results/peers.json and peers.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.attacks import poison, truth_mask
from bezoar.bench.building import build
from bezoar.bench.packs import PACKS, load
from bezoar.bench.settings import SETTINGS
from bezoar.bench.version import code_version
from bezoar.data import Dataset, load_images
from bezoar.embed import Encoder, Fitted, features, fit, resolve
from bezoar.models.train import train_classifier
from bezoar.scan.pipeline import scan
from bezoar.scan.result import Severity
from peer_environment import FOLDER, python_with
from peers_table import table

HERE = Path(__file__).parent
DATA = Path(os.environ.get("BEZOAR_DATA") or HERE.parent.parent / "shared" / "data")
RESULTS = HERE / "results" / "peers.json"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bezoar" / "peers"
RECORDS, RATE, SIDE = 5000, 0.01, 32
CLEAN = "clean"
ATTACKS = ("badnets", "blended-noise", "label-noise", "feature-collision")
FEATURES = ("encoder", "network")
OURS = ("bezoar", "bezoar-review")
METHODS = (
    "art-activation",
    "art-spectral",
    "pyod-knn",
    "pyod-lof",
    "pyod-iforest",
    "pyod-ecod",
    "cleanlab-labels",
    "cleanlab-labels-scaled",
    "cleanlab-outliers",
)
PEERS = ("numpy", "scikit-learn", "torch", "packaging", "adversarial-robustness-toolbox", "pyod", "cleanlab")

Row = dict[str, Any]
Key = tuple[str, str, int, str, str]


@dataclass(frozen=True)
class Trial:
    """One dataset: a sample of `pack` with one attack, or clean; its arrays are in `folder`."""

    pack: str
    attack: str
    seed: int
    cache: Path

    @property
    def folder(self) -> Path:
        """encoder.npy, network.npy (N, D); labels.npy, planted.npy (N,); made.json, when all are there."""
        return self.cache / "trials" / f"{self.pack}-{self.attack}-{self.seed}"

    def key(self, source: str, method: str) -> Key:
        """Names a row: the last one in the cache counts."""
        return self.pack, self.attack, self.seed, source, method


def main() -> None:
    """Run the rows that are not in the cache yet, then print and write the table."""
    args = _arguments()
    args.cache.mkdir(parents=True, exist_ok=True)
    rows = args.cache / "rows.jsonl"
    if args.table and not _read(rows):
        sys.exit(f"{rows}: holds no rows; run without --table first, or name the right --cache")
    if not args.table:
        python = python_with(PEERS, args.venv)
        for seed in args.seeds:
            for pack in args.packs:
                for attack in (CLEAN, *ATTACKS):
                    done = set(_read(rows))
                    for row in _measured(
                        Trial(pack, attack, seed, args.cache), done, python, args.ours_again
                    ):
                        with rows.open("a") as file:
                            file.write(json.dumps(row) + "\n")
                        print(
                            {
                                name: value
                                for name, value in row.items()
                                if name not in ("versions", "machine")
                            },
                            flush=True,
                        )
    results = _results(list(_read(rows).values()), args.cache)
    RESULTS.write_text(_one_row_a_line(results))
    text = table(results, (CLEAN, *ATTACKS))
    RESULTS.with_suffix(".md").write_text(text)
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--packs", nargs="+", choices=("gtsrb", "cifar10"), default=["gtsrb", "cifar10"])
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--venv", type=Path, default=FOLDER)
    parser.add_argument(
        "--ours-again", action="store_true", help="scan anew; leave the peers' rows as they are"
    )
    parser.add_argument("--table", action="store_true", help="only print and write the table")
    return parser.parse_args()


def _measured(trial: Trial, done: set[Key], python: Path, ours_again: bool) -> Iterator[Row]:
    """The rows of one trial that are missing."""
    ours = ours_again or any(trial.key("scan", name) not in done for name in OURS)
    theirs = {
        source: [name for name in METHODS if trial.key(source, name) not in done]
        for source in ([] if ours_again else FEATURES)
    }
    made = trial.folder / "made.json"
    if ours or not made.exists():
        dataset, planted, encoder = _dataset(trial)
        _make(trial, dataset, planted, encoder)
        if ours:
            yield from _scanned(trial, dataset, planted, encoder)
    for source, names in theirs.items():
        if names:
            yield from _flagged_by_peers(trial, source, names, python)


def _dataset(trial: Trial) -> tuple[Dataset, Any, Encoder]:
    """As `bezoar.bench.cell` makes it: the data, the mask of the poison, the encoder that the scan is told."""
    train = load(PACKS[trial.pack], RECORDS, trial.seed, DATA).train
    default = resolve("default")
    if trial.attack == CLEAN:
        return train, np.zeros(len(train), dtype=bool), default
    setting = SETTINGS[trial.attack]
    with tempfile.TemporaryDirectory() as scratch:
        attack = build(setting, train, trial.seed, DATA, Path(scratch))
        fitted = fit(train, default, trial.seed) if setting.encoder else None
        copy = poison(train, attack, rate=RATE, seed=trial.seed, encoder=fitted)  # type: ignore[arg-type]
    return copy.dataset, truth_mask(copy.truth, copy.dataset), Fitted(fitted) if fitted else default


def _make(trial: Trial, dataset: Dataset, planted: Any, encoder: Encoder) -> None:
    """Write the arrays that the peers are given, unless they are there."""
    made = trial.folder / "made.json"
    if made.exists():
        if json.loads(made.read_text())["digest"] != dataset.digest:
            sys.exit(f"{trial.folder}: made from other data than today's attack makes; remove {trial.cache}")
        return
    trial.folder.mkdir(parents=True, exist_ok=True)
    encoded, unreadable = features(dataset, encoder, seed=trial.seed, cache=trial.cache / "features")
    if unreadable:
        sys.exit(f"{dataset.path}: {len(unreadable)} records cannot be read; the peers take no gaps")
    pixels = np.concatenate([batch.pixels for batch in load_images(dataset, SIDE)])
    network = train_classifier(pixels, dataset.labels, len(dataset.label_names), seed=trial.seed)
    arrays = {
        "encoder": np.asarray(encoded),
        "network": network.features(pixels),
        "labels": dataset.labels,
        "planted": planted,
    }
    for name, array in arrays.items():
        np.save(trial.folder / f"{name}.npy", array)
    made.write_text(json.dumps({"digest": dataset.digest}))


def _scanned(trial: Trial, dataset: Dataset, planted: Any, encoder: Encoder) -> Iterator[Row]:
    """Our rows: what the scan flags as poison, and that together with what it leaves to a person."""
    start = time.perf_counter()
    result = scan(
        dataset,
        encoder=encoder if isinstance(encoder, Fitted) else "default",
        seed=trial.seed,
        cache=trial.cache / "features",
    )
    seconds = round(time.perf_counter() - start, 2)
    review = result.flagged.copy()
    for finding in result.findings:
        if finding.severity is Severity.REVIEW:
            review[finding.records] = True
    for name, flagged in zip(OURS, (result.flagged, review), strict=True):
        yield {
            **_row(trial, "scan", name, seconds),
            **_counts(flagged, planted),
            "verdict": str(result.verdict.status),
            "versions": {"bezoar": code_version()},
        }


def _flagged_by_peers(trial: Trial, source: str, names: list[str], python: Path) -> Iterator[Row]:
    planted = np.load(trial.folder / "planted.npy")
    with tempfile.TemporaryDirectory() as out:
        arrays = [trial.folder / f"{source}.npy", trial.folder / "labels.npy"]
        command = [python, HERE / "peer_methods.py", *arrays, out, str(trial.seed), *names]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peers:
            for line in peers.stdout or ():
                said = json.loads(line)
                flags = Path(out) / f"{said['method']}.npy"
                yield {
                    **_row(trial, source, said["method"], said["seconds"]),
                    **(_counts(np.load(flags), planted) if flags.exists() else {"error": said["error"]}),
                    "versions": said["versions"],
                }
        if peers.returncode:
            sys.exit(f"peer_methods.py ended with {peers.returncode}")


def _row(trial: Trial, source: str, method: str, seconds: float) -> Row:
    return {
        "pack": trial.pack,
        "attack": trial.attack,
        "seed": trial.seed,
        "features": source,
        "method": method,
        "seconds": seconds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {os.environ.get('OMP_NUM_THREADS', 'all')} threads",
    }


def _counts(flagged: Any, planted: Any) -> Row:
    return {
        "planted": int(planted.sum()),
        "flagged_planted": int(flagged[planted].sum()),
        "clean": int((~planted).sum()),
        "flagged_clean": int(flagged[~planted].sum()),
    }


def _read(path: Path) -> dict[Key, Row]:
    """The rows by key; a line that was cut off is left out."""
    rows: dict[Key, Row] = {}
    for line in _whole_lines(path):
        row = json.loads(line)
        rows[row["pack"], row["attack"], row["seed"], row["features"], row["method"]] = row
    return rows


def _whole_lines(path: Path) -> Iterable[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return (line for line in lines if line.startswith("{") and line.endswith("}"))


def _results(rows: list[Row], cache: Path) -> dict[str, Any]:
    """The rows, with what they have in common told once."""
    versions = {(name, number) for row in rows for name, number in row.pop("versions").items()}
    machines = {row.pop("machine") for row in rows}
    trials = dict.fromkeys(
        Trial(row["pack"], row["attack"], row["seed"], cache) for row in rows if row.get("planted")
    )
    return {
        "versions": [f"{name} {number}" for name, number in sorted(versions)],
        "machines": sorted(machines),
        "trials": [
            {"pack": each.pack, "attack": each.attack, "seed": each.seed, "of_label": _of_label(each)}
            for each in trials
        ],
        "rows": rows,
    }


def _of_label(trial: Trial) -> float:
    """The poison's share of the records that carry the same label, mean over the poison."""
    labels, planted = (np.load(trial.folder / f"{name}.npy") for name in ("labels", "planted"))
    shares = np.bincount(labels[planted], minlength=labels.max() + 1) / np.maximum(np.bincount(labels), 1)
    return round(float(shares[labels[planted]].mean()), 4)


def _one_row_a_line(results: dict[str, Any]) -> str:
    rows = ",\n".join(json.dumps(row) for row in results["rows"])
    head = json.dumps({**results, "rows": []}, indent=1)
    return head.replace('"rows": []', f'"rows": [\n{rows}\n ]') + "\n"


if __name__ == "__main__":
    main()
