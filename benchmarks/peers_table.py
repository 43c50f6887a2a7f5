"""The table of `peers.py`, from its rows: per method its flags in poisoned and clean data; nothing here is typed by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
TITLES = {
    "bezoar": "**Bezoar**, flagged as poison",
    "bezoar-review": "**Bezoar**, poison or review",
    "art-activation": "ART ActivationDefence",
    "art-spectral": "ART SpectralSignatureDefense",
    "pyod-knn": "PyOD KNN",
    "pyod-lof": "PyOD LOF",
    "pyod-iforest": "PyOD IForest",
    "pyod-ecod": "PyOD ECOD",
    "cleanlab-labels": "cleanlab find_label_issues, logistic regression",
    "cleanlab-labels-scaled": "cleanlab find_label_issues, the same on standardised columns",
    "cleanlab-outliers": "cleanlab OutOfDistribution, Datalab's threshold",
}
FEATURES = {
    "scan": "encoder (and pixels)",
    "encoder": "encoder",
    "network": "network trained on the suspects",
}


def table(results: dict[str, Any], attacks: Sequence[str]) -> str:
    """Markdown: one table per pack, a line per method and kind of features; the first of `attacks` means clean data."""
    rows: list[Row] = results["rows"]
    clean, *poisons = attacks
    lines = [
        "# The scan beside other libraries at their defaults\n",
        f"`make bench-peers`. {', '.join(results['versions'])}; {' / '.join(results['machines'])}.\n",
        "Everyone is given the same trials and the same cached features; each figure is the mean over the seeds (smallest to "
        "largest), seconds their median. TPR is the share of the planted records that are flagged, FPR the share of the others; "
        "who flags records at random has a TPR equal to the FPR. A peer has no verdict on a dataset: the table counts the clean "
        "datasets in which it flags anything. Seconds leave out computing the features and training the network.\n",
    ]
    for pack in dict.fromkeys(row["pack"] for row in rows):
        here = [row for row in rows if row["pack"] == pack]
        seeds = ", ".join(map(str, sorted({row["seed"] for row in here})))
        lines += [
            f"## {pack}: {_sizes(here)} records, {_rates(here)} poison, seeds {seeds}\n",
            _shares_of_label([trial for trial in results["trials"] if trial["pack"] == pack], poisons),
            "| method | features | "
            + " | ".join(f"TPR {name}" for name in poisons)
            + " | FPR beside poison | flagged of clean data | of clean datasets | seconds |",
            "|" + "---|" * (len(poisons) + 6),
        ]
        methods = {(row["method"], row["features"]) for row in here}
        lines += [
            _line(
                title,
                FEATURES[source],
                [row for row in here if (row["method"], row["features"]) == (method, source)],
                clean,
                poisons,
            )
            for method, title in TITLES.items()
            for source in FEATURES
            if (method, source) in methods
        ]
        lines.append("")
    return "\n".join(lines + _errors(rows))


def _line(title: str, source: str, runs: Sequence[Row], clean: str, poisons: Sequence[str]) -> str:
    on_clean = [row for row in runs if row["attack"] == clean]
    beside_poison = [row for row in runs if row["attack"] != clean]
    cells = [
        *(_spread([row for row in runs if row["attack"] == name], "planted") for name in poisons),
        _spread(beside_poison, "clean", digits=2),
        _spread(on_clean, "clean", digits=2),
        _said(on_clean),
        f"{np.median([row['seconds'] for row in runs]):.1f}",
    ]
    return f"| {title} | {source} | {' | '.join(cells)} |"


def _spread(runs: Sequence[Row], what: str, digits: int = 0) -> str:
    """Share of the records `what` that are flagged: mean (smallest to largest) over the runs that did not fail."""
    shares = [row[f"flagged_{what}"] / row[what] for row in runs if "error" not in row]
    if not shares:
        return "error" if runs else "not run"
    mean, least, most = (f"{100 * value:.{digits}f}" for value in (np.mean(shares), min(shares), max(shares)))
    return f"{mean} %" if least == most else f"{mean} % ({least} to {most})"


def _said(on_clean: Sequence[Row]) -> str:
    """What it says of clean datasets as a whole."""
    verdicts = Counter(row["verdict"] for row in on_clean if "verdict" in row)
    if verdicts:
        return ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    worked = [row for row in on_clean if "error" not in row]
    return f"no verdict; flags in {sum(row['flagged_clean'] > 0 for row in worked)} of {len(worked)}"


def _sizes(rows: Sequence[Row]) -> str:
    sizes = sorted({row["planted"] + row["clean"] for row in rows if "clean" in row})
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"


def _rates(rows: Sequence[Row]) -> str:
    rates = {f"{row['planted'] / (row['planted'] + row['clean']):.1%}" for row in rows if row.get("planted")}
    return " to ".join(sorted(rates)) or "no"


def _shares_of_label(trials: Sequence[Row], poisons: Sequence[str]) -> str:
    """How much of its class the poison is: within-class methods are made for a small part."""
    shares = []
    for name in poisons:
        found = sorted((t for t in trials if t["attack"] == name), key=lambda t: int(t["seed"]))
        if found:
            shares.append(f"{name} {' / '.join(format(t['of_label'], '.0%') for t in found)}")
    return f"Poison as a share of the records with its label, by seed: {', '.join(shares) or 'none'}.\n"


def _errors(rows: Sequence[Row]) -> list[str]:
    errors = Counter((row["method"], row["features"], row["error"]) for row in rows if "error" in row)
    if not errors:
        return []
    lines = [
        f"- {TITLES[method]}, {source}, {n} trials: `{text}`" for (method, source, text), n in errors.items()
    ]
    return ["## Errors\n", *lines, ""]
