"""The page of the documentation that shows what was measured: Markdown, with one HTML table as a heat map.

It is made from the summary alone (`bezoar.bench.summary`) and from what was tried about misses, in words; the same input
gives the same page. Everything that comes from outside is escaped.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bezoar.bench.heat import STYLE, heat_map
from bezoar.bench.markdown import code, inert, share, table
from bezoar.bench.potency import LEAST_FLIPPED, LEAST_RISE, LEAST_SUCCESS
from bezoar.bench.settings import SETTINGS
from bezoar.bench.statistics import LEVEL
from bezoar.bench.summary import KIND
from bezoar.bench.targets import LEAST_SEEDS
from bezoar.errors import InputError
from bezoar.report.text import count, noticed, percent, seconds

Json = dict[str, Any]
_TRIED_NAMES = {*SETTINGS, "clean-image", "clean-text", "power"}


def read_tried(path: Path) -> dict[str, str]:
    """What was tried about each missed target: sentences by setting, from a TOML file; none where there is no file.

    InputError for a name that no target has, and for figures: every figure on the page is computed.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: is no TOML file ({error})") from error
    for name, words in entries.items():
        if name not in _TRIED_NAMES:
            raise InputError(f"{path}: {name!r} is no target; known: {', '.join(sorted(_TRIED_NAMES))}")
        if not isinstance(words, str):
            raise InputError(f"{path}: {name} must be a sentence in quotation marks")
        if re.search(r"\d\s*%|\d\.\d", words):
            raise InputError(f"{path}: {name} holds a figure; figures are computed, give words")
    return entries


def to_markdown(summary: Json, tried: Mapping[str, str]) -> str:
    """The page; InputError when `summary` is something else."""
    if summary.get("kind") != KIND:
        raise InputError(f"the summary is no {KIND}; make it anew with `bezoar bench page`")
    parts = [
        "<!-- Made by `bezoar bench page`; changes by hand are lost. -->",
        "# Benchmark of the scan",
        _introduction(summary),
        "## Targets",
        _of_targets(),
        _targets(summary, tried),
        "## Poison found",
        _legend(),
        STYLE,
        heat_map(summary),
        "## Every attack",
        _attacks(summary),
        "## Clean data",
        _clean(summary),
        "## Power statements",
        _power(summary),
        "## Method",
        _method(summary),
    ]
    return "\n\n".join(parts) + "\n"


def _introduction(summary: Json) -> str:
    cells = summary["cells"]
    measured, impossible, implied = (cells[name] for name in ("measured", "impossible", "implied"))
    lines = [
        "`bezoar bench scan` poisons samples of real data, scans them and counts. A *cell* is one dataset: a sample of one "
        "*pack* (a collection of real data) with one attack at one rate, or clean; a *trial* is what one seed makes of it. "
        f"{measured:,} of {_cells(cells['planned'])} are measured."
    ]
    if impossible:
        lines.append(f"{_cells(impossible)} cannot be: the data has no room for so much poison.")
    if implied:
        lines.append(
            f"{_cells(implied)} need no measuring: an attack that did not take at some rate is taken not to take at a "
            "lower one of the same trial."
        )
    if measured + impossible + implied < cells["planned"]:
        lines.append("**The matrix is not complete**: what is not measured claims nothing.")
    if summary["versions"]:
        lines.append(_versions(summary["versions"]))
    if summary["machines"]:
        parts = ", ".join(f"{inert(machine)} ({_cells(n)})" for machine, n in summary["machines"].items())
        lines.append(f"Machines: {parts}; each cell runs on one thread.")
    if summary["unavailable"]:
        parts = "; ".join(
            f"{inert(name)}: {inert(reason)}" for name, reason in summary["unavailable"].items()
        )
        lines.append(f"Not available: {parts}.")
    return "\n".join(lines)


def _versions(versions: Mapping[str, int]) -> str:
    """In the order of age, the newest last."""
    *older, newest = versions
    if not older:
        return f"All with the code `{code(newest)}`."
    return (
        f"The code that measured last, `{code(newest)}` (a hash of what a measurement depends on), measured "
        f"{_cells(versions[newest])}; {count(len(older), 'earlier version')} measured the others."
    )


def _of_targets() -> str:
    return f"""Set before anything was measured; only SIG that is stronger at test time was added, when plain SIG had not taken.
TPR is the share of the poisoned records that the scan flags. A trial in which the attack did not take does not count.
A group is one pack at one rate.

- *met*: reached in every group that has room for so much poison, and the attack took in at least {LEAST_SEEDS} trials of each;
- *met where it took*: all is measured, and it is reached in every group in which the attack took at all;
- *met so far*: the same, but not all is measured; *missed*: some group is below it;
- *did not take*: all is measured, and the attack took nowhere, so that nothing is known; *not measured*: not all is.

A target speaks of the rates that it names alone: what is found at others is below."""


def _targets(summary: Json, tried: Mapping[str, str]) -> str:
    rows = []
    for row in summary["targets"]:
        worst = "" if row["worst"] is None else percent(row["worst"])
        missed = ", ".join(_miss(summary, miss) for miss in row["missed"])
        words = ""
        if row["state"] == "missed":
            words = f"{missed}. " + (
                inert(tried[row["setting"]]) if row["setting"] in tried else "Nothing noted."
            )
        state = f"**{row['state']}**" if row["state"] == "missed" else row["state"]
        groups = f"{row['groups']} of {row['possible']}" if row["setting"] in SETTINGS else ""
        rows.append(
            (inert(row["title"]), inert(row["asked"]), state, f"{row['trials']:,}", groups, worst, words)
        )
    head = ("target", "asked", "state", "trials that count", "groups in which it took", "worst")
    return table((*head, "missed where, and what was tried"), rows)


def _miss(summary: Json, miss: Json) -> str:
    if "canary" in miss:
        return f"{inert(miss['canary'])} {share(miss['share'])}"
    if "share" in miss:
        return f"{inert(miss['pack'])} {share(miss['share'])}"
    return (
        f"{inert(summary['packs'][miss['pack']])} at {percent(miss['rate'])}: {percent(miss['tpr']['value'])}"
    )


def _legend() -> str:
    return (
        "Share of the poisoned records that the scan flags, on average over the trials in which the attack took; below it, "
        "how many of the trials those are. Grey: none in which it took, and not all measured. Hatched: the attack took in no "
        "trial (at this rate or a higher one). A dash: the data has no room for so much poison. Blank: not planned at this rate."
    )


def _attacks(summary: Json) -> str:
    rows = []
    for group in summary["attacks"]:
        if group["trials"]:
            best = group["best_auroc"]
            rows.append(
                (
                    inert(group["title"]),
                    inert(summary["packs"][group["pack"]]),
                    percent(group["rate"]),
                    f"{group['took']} of {group['trials'] + group['implied']}",
                    _percent(group["attack_success"]),
                    _percent(group["clean_accuracy"]),
                    share(group["detected"]),
                    share(group["tpr"]),
                    share(group["fpr"]),
                    "" if best is None else f"{group['auroc'][best]:.3f} ({inert(best)})",
                    _seconds(group["scan_seconds"]),
                    _seconds(group["seconds"]),
                )
            )
    if not rows:
        return "Not measured."
    head = (
        "attack",
        "pack",
        "rate",
        "took",
        "attack success",
        "clean accuracy",
        "datasets detected",
        "TPR",
        "FPR",
    )
    return f"{_of_columns()}\n\n" + table((*head, "best AUROC", "scan", "cell"), rows) + _ranks(summary)


def _of_columns() -> str:
    return (
        "*Attack success* and *clean accuracy* are those of networks trained on the data (medians over trained trials). *FPR* is "
        "the share of the other records that the scan flags. *Best AUROC* is how well the best of the scan's scores ranks the "
        "poison; it is chosen with the truth known, which no user has. *Scan* and *cell* are median times; newer scans of "
        "attacks leave the canaries out, which take time and never find poison."
    )


def _ranks(summary: Json) -> str:
    """Median AUROC per score, over the groups of one setting."""
    columns = sorted({name for group in summary["attacks"] for name in group["auroc"]})
    rows = []
    for setting in dict.fromkeys(group["setting"] for group in summary["attacks"]):
        groups = [group for group in summary["attacks"] if group["setting"] == setting and group["auroc"]]
        if groups:
            values = []
            for name in columns:
                known = sorted(group["auroc"][name] for group in groups if name in group["auroc"])
                values.append(f"{known[len(known) // 2]:.3f}" if known else "")
            rows.append((inert(groups[0]["title"]), *values))
    if not rows:
        return ""
    words = "AUROC of each score that the scan gives to single records, median over packs and rates. The scan does not decide "
    return f"\n\n{words}by them: it tests patterns.\n\n" + table(("attack", *map(inert, columns)), rows)


def _clean(summary: Json) -> str:
    rows = [
        (
            inert(group["setting"]),
            inert(summary["packs"].get(group["pack"], group["pack"])),
            str(group["runs"]),
            f"{group['alarms']}",
            share(group["alarm"]),
            share(group["flagged"]),
            _seconds(group["scan_seconds"]),
        )
        for group in summary["clean"]
        if group["runs"]
    ]
    words = (
        "Samples of two sizes: as they are; with classes of very different sizes; with some labels changed at random; with "
        "records repeated, or nearly so. A false alarm is the verdict *poisoned*. All runs of a pack and seed begin with the "
        "same records, so they are not independent, and the intervals of all of them together are too narrow."
    )
    head = ("clean data", "pack", "runs", "false alarms", "share of runs", "flagged clean records", "scan")
    return f"{words}\n\n" + table(head, rows) if rows else "Not measured."


def _power(summary: Json) -> str:
    rows = [
        (
            inert(group["canary"]),
            inert(summary["packs"].get(group["pack"], group["pack"])),
            noticed(group["rate"]),
            str(group["trials"]),
            str(group["found"]),
            share(group["share"]),
            str(group["unstated"]),
        )
        for group in summary["power"]
    ]
    head = (
        "poison",
        "pack",
        "said to be noticed (median)",
        "trials",
        "found",
        "share",
        "scans that promise nothing",
    )
    return table(head, rows) if rows else "Not measured."


def _method(summary: Json) -> str:
    depth, epochs = ", ".join(map(inert, summary["depth"])), ", ".join(map(str, summary["epochs"]))
    seeds = ", ".join(map(str, summary["seeds"]))
    return f"""- Each seed ({seeds}; power statements also others) draws one sample of a pack, at most {summary["records"]:,}
  records, and all attacks, rates and faults of that seed begin with it. Target, source, trigger and place of the attack vary
  with the seed. The scan gets the poisoned copy alone, at depth {depth}, without a cache; for attacks in an
  encoder's space also that encoder, fitted to the clean data, as whoever owns it can. Attacks have their papers' parameters,
  but Witches' Brew begins once and takes 100 steps, and Bullseye Polytope takes 200.
- **Took**: a network is trained on the copy ({epochs} epochs; for as many again if the attack did not take). A
  trigger took when at least {LEAST_SUCCESS:.0%} of the held-out records that show it are read as the attacker wants, and at least
  {100 * LEAST_RISE:.0f} points more than without it. A target record is misread as the attacker wants, and
  not by a network of the clean data; for attacks in an encoder's space both are a linear head on that encoder. Relabelling
  to one class took when records of the others are read so at least {100 * LEAST_FLIPPED:.0f} points more often.
  Where nothing in particular is wanted, every trial counts. A trial in which the attack did not take is not scanned (older
  versions of the code did scan it; that counts for the FPR).
- **TPR** is a share of the poisoned records over the trials in which the attack took, **FPR** of the clean records over all
  that were scanned, each with a bootstrap over trials. **Datasets detected** asks, where it took, for the verdict
  *poisoned* and at least one planted record flagged (Wilson). False alarms and power have exact intervals
  (Clopper-Pearson). All at {LEVEL:.0%}. Cover records count on neither side, nor do records mislabelled on purpose in clean
  data.
- **Power statements**: fresh poison of each kind is planted at the rate that a scan of the same data states. It is found when
  the verdict is *poisoned* and at least half of the planted records are flagged.
- Times are medians of the wall clock; a cell also poisons the data and trains the network.
- Raw measurements: `benchmarks/results/scan_matrix.jsonl`; this page is made from `benchmarks/results/scan_matrix.json`."""


def _cells(number: int) -> str:
    return count(number, "cell")


def _percent(value: float | None) -> str:
    return "" if value is None else percent(value)


def _seconds(value: float | None) -> str:
    return "" if value is None else seconds(value)
