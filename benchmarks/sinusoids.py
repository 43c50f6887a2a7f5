"""Sinusoids under right labels (SIG) of other frequencies than the paper's six waves: how many records the scan flags.

    python benchmarks/sinusoids.py                  # writes results/sinusoids.md; five minutes on one core
    python benchmarks/sinusoids.py --waves 4 --packs gtsrb

Whether a network learns the backdoor is not asked: this is about what the scan sees.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import bezoar
from bezoar.attacks import Sig, poison, truth_mask
from bezoar.bench.packs import PACKS, load
from bezoar.bench.plan import RECORDS
from bezoar.bench.version import code_version

HERE = Path(__file__).parent
DATA = Path(os.environ.get("BEZOAR_DATA", HERE.parent.parent / "shared" / "data"))
RATE = 0.02
HEAD = "| pack | waves | poison flagged | other records flagged |\n|---|---|---|---|"


def main() -> None:
    """Plant, scan, count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packs", nargs="+", choices=("gtsrb", "cifar10"), default=["gtsrb", "cifar10"])
    parser.add_argument("--waves", nargs="+", type=float, default=[3, 3.5, 4, 5, 5.5, 6, 6.3])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lines = [HEAD]
    print(HEAD)
    for pack in args.packs:
        for waves in args.waves:
            lines.append(_row(pack, waves, args.seed))
            print(lines[-1], flush=True)
    said = f"`python benchmarks/sinusoids.py`: {RECORDS:,} records, {RATE:.0%} poison, seed {args.seed}, Bezoar {code_version()}."
    (HERE / "results" / "sinusoids.md").write_text(
        "\n".join(["# SIG of other frequencies", "", said, "", *lines, ""])
    )


def _row(pack: str, waves: float, seed: int) -> str:
    sample = load(PACKS[pack], RECORDS, seed, DATA).train
    copy = poison(
        sample, Sig(target=int(np.bincount(sample.labels).argmax()), frequency=waves), rate=RATE, seed=seed
    )
    planted = truth_mask(copy.truth, copy.dataset)
    flagged = bezoar.scan(copy.dataset, canaries=False).flagged
    return f"| {pack} | {waves:g} | {flagged[planted].sum()} of {planted.sum()} | {flagged[~planted].sum()} |"


if __name__ == "__main__":
    main()
