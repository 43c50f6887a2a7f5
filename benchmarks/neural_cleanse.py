"""Neural Cleanse as published, label by label, beside `bezoar.inspect` on the same models in the same run.

    python benchmarks/neural_cleanse.py [--zoo FOLDER] [--models NAME ...]     # an hour of CPU; finished labels are kept

Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P 2019. The schedule
is that of the authors' example for GTSRB (github.com/bolunwang/backdoor, `gtsrb_visualize_example.py`): for each label Adam
(0.1, betas 0.5 and 0.9) on a mask and a pattern, both behind a hyperbolic tangent and random at first, in steps of 31 batches
of 32 clean images, at most 1,000 steps. The weight of the mask's L1 norm is 0 at first and 1e-3 once the attack has worked for
5 steps (success of at least 99 %); from then on it doubles after 5 successful steps and falls by 2^1.5 after 5 others. It ends
once the weight has been both raised and lowered and the smallest mask has not shrunk for 25 steps. A model is called
backdoored where a label's norm lies more than 2 median absolute deviations (times 1.4826) below the median.

The authors' code needs Keras 2.2; the release on PyPI, trojanzoo 2.0.3 (GPL), runs on its own data sets and model classes
alone. So this is written from the paper, in eager float32 on one thread. Times are CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bezoar.bench.inspection import inspected, inspectors_half
from bezoar.bench.inspection_summary import triage_seconds
from bezoar.bench.store import replace
from bezoar.bench.version import inspection_version, library_versions
from bezoar.bench.zoo.making import default_folder, model_path, read_record
from bezoar.bench.zoo.recipes import recipes
from bezoar.bench.zoo.tasks import TASKS
from bezoar.models.threads import one_thread

HERE = Path(__file__).parent
PACKS = Path(os.environ.get("BEZOAR_DATA", HERE.parent.parent / "shared" / "data"))
RESULTS = HERE / "results" / "neural_cleanse.json"
SCHEDULE: dict[str, Any] = {
    "rate": 0.1,
    "betas": (0.5, 0.9),
    "steps": 1000,
    "batches": 31,
    "batch": 32,
    "first_weight": 1e-3,
    "raised_by": 2.0,
    "lowered_by": 2.0**1.5,
    "success": 0.99,
    "patience": 5,
    "stop_patience": 25,
}
OURS_EVERY = 4  # labels between two inspections
OURS_AGAIN = 3  # inspections by a version of the code that came after all labels were done
INDEX = 2.0
PAIRS = ("source", "exchange")  # stages that look for backdoors between labels, as Neural Cleanse does not


@dataclass
class Weight:
    """The weight of the mask's norm, as success allows."""

    value: float = 0.0
    good: int = 0
    bad: int = 0
    raised: bool = False
    lowered: bool = False

    def adjust(self, success: float) -> None:
        """After each step."""
        patience = SCHEDULE["patience"]
        works = success >= SCHEDULE["success"]
        self.good, self.bad = (self.good + 1, 0) if works else (0, self.bad + 1)
        if self.value == 0:
            if self.good >= patience:
                self.value, self.good = SCHEDULE["first_weight"], 0
        elif self.good >= patience:
            self.value, self.good, self.raised = self.value * SCHEDULE["raised_by"], 0, True
        elif self.bad >= patience:
            self.value, self.bad, self.lowered = self.value / SCHEDULE["lowered_by"], 0, True


def cleanse(network: torch.nn.Module, images: torch.Tensor, label: int, seed: int) -> dict[str, float]:
    """One label: images (N, C, H, W) in [0, 1]. The L1 norm of the smallest mask that worked, and the cost."""
    cpu = time.process_time()
    rng = torch.Generator().manual_seed(seed)
    channels, height, width = images.shape[1:]
    start = [torch.rand(shape, generator=rng) for shape in ((1, height, width), (channels, height, width))]
    mask, pattern = (torch.atanh((x - 0.5) * (2 - 1e-7)).requires_grad_() for x in start)
    optimiser = torch.optim.Adam([pattern, mask], lr=SCHEDULE["rate"], betas=SCHEDULE["betas"])
    targets = torch.full((SCHEDULE["batch"],), label)
    weight, best, idle = Weight(), float("inf"), 0
    order = torch.randperm(len(images), generator=rng)
    steps = 0
    while steps < SCHEDULE["steps"]:
        steps += 1
        hits, norms = [], []
        for _ in range(SCHEDULE["batches"]):
            if len(order) < SCHEDULE["batch"]:
                order = torch.randperm(len(images), generator=rng)
            batch, order = images[order[: SCHEDULE["batch"]]], order[SCHEDULE["batch"] :]
            m, p = torch.tanh(mask) / 2 + 0.5, torch.tanh(pattern) / 2 + 0.5
            logits = network((1 - m) * batch + m * p)
            norm = m.abs().sum()
            loss = torch.nn.functional.cross_entropy(logits, targets) + weight.value * norm
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            hits.append(float((logits.argmax(1) == label).float().mean()))
            norms.append(float(norm.detach()))
        success, norm_now = float(np.mean(hits)), float(np.mean(norms))
        smaller = success >= SCHEDULE["success"] and norm_now < best
        idle = 0 if smaller else idle + (best < float("inf"))  # counted once a mask has worked
        best = norm_now if smaller else best
        if weight.raised and weight.lowered and idle >= SCHEDULE["stop_patience"]:
            break
        weight.adjust(success)
    norm = best if best < float("inf") else float(height * width)  # nothing worked: the whole image
    return {"norm": norm, "steps": steps, "cpu_seconds": time.process_time() - cpu}


def anomalies(norms: list[float]) -> list[float]:
    """How many deviations each norm lies below the median."""
    values = np.array(norms)
    median = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - median))
    return [float(x) for x in (median - values) / spread]


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoo", type=Path, default=default_folder())
    parser.add_argument("--models", nargs="+", default=["cifar10-resnet-100", "cifar10-resnet-104"])
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    done: dict[str, Any] = json.loads(args.results.read_text()) if args.results.exists() else {"models": {}}
    done["schedule"] = SCHEDULE
    with one_thread():
        for name in args.models:
            measure(name, args.zoo, done, args.results)
    save(done, args.results)
    print(json.dumps(done["summary"], indent=1))


def measure(name: str, zoo: Path, done: dict[str, Any], results: Path) -> None:
    """All labels of one model, with inspections of the same model between them."""
    recipe = next(recipe for recipe in recipes() if recipe.name == name)
    record = read_record(zoo, recipe)
    if record is None:
        raise SystemExit(f"{name}: is not in {zoo}; build it with `bezoar bench inspect --zoo {zoo}`")
    half = inspectors_half(recipe.task, PACKS)
    pixels, _ = TASKS[recipe.task].samples(half)
    images = torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255
    network = torch.export.load(model_path(zoo, name)).module()  # our own file
    network.requires_grad_(False)
    entry = done["models"].setdefault(name, {"labels": {}, "bezoar": []})
    missing = [label for label in range(record["classes"]) if str(label) not in entry["labels"]]
    if not missing and all(run["version"] != inspection_version() for run in entry["bezoar"]):
        entry["bezoar"] += [ours(model_path(zoo, name), half) for _ in range(OURS_AGAIN)]
        save(done, results)
    for label in missing:
        if label % OURS_EVERY == 0:
            entry["bezoar"].append(ours(model_path(zoo, name), half))
        entry["labels"][str(label)] = cleanse(network, images, label, seed=label)
        save(done, results)
        print(name, label, entry["labels"][str(label)], flush=True)


def save(done: dict[str, Any], results: Path) -> None:
    """With the summary."""
    done |= {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "version": inspection_version(),
        "libraries": library_versions(),
        "summary": summary(done["models"]),
    }
    replace(results, (json.dumps(done, indent=1) + "\n").encode())


def ours(path: Path, half: Any) -> dict[str, Any]:
    """One whole inspection."""
    cpu = time.process_time()
    outcome = inspected(path, half)
    return {
        "cpu_seconds": time.process_time() - cpu,
        "stages": outcome["cpu_seconds"],
        "p_value": outcome["p_value"],
        "version": inspection_version(),
    }


def summary(models: dict[str, Any]) -> dict[str, Any]:
    """By model: seconds of both, how many times faster the newest version is, and which labels Neural Cleanse points at.

    "targets" is the triage without `PAIRS`: like for like.
    """
    rows = {}
    for name, entry in models.items():
        labels, newest = list(entry["labels"].values()), entry["bezoar"][-1]["version"]
        runs = [run for run in entry["bezoar"] if run["version"] == newest]
        times = [run["cpu_seconds"] for run in runs]
        triage = float(np.median([triage_seconds(run["stages"]) for run in runs]))
        pairs = float(np.median([sum(run["stages"].get(stage, 0.0) for stage in PAIRS) for run in runs]))
        theirs, inspection = sum(label["cpu_seconds"] for label in labels), float(np.median(times))
        rows[name] = {
            "labels": len(labels),
            "neural_cleanse_cpu_seconds": theirs,
            "bezoar_cpu_seconds": inspection,
            "triage_cpu_seconds": triage,
            "targets_cpu_seconds": triage - pairs,
            "times_faster": theirs / inspection,
            "times_faster_triage": theirs / triage,
            "times_faster_targets": theirs / (triage - pairs),
            "outliers": [
                int(label)
                for label, index in zip(
                    entry["labels"], anomalies([each["norm"] for each in labels]), strict=True
                )
                if index > INDEX
            ],
        }
    return rows


if __name__ == "__main__":
    main()
