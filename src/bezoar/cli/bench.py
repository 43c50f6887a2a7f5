"""`bezoar bench scan` measures the scan against attacks; `bezoar bench page` writes the page of what was measured."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli import bench_inspect
from bezoar.cli.options import PATH, format_option, terminal_width, wants_colour
from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from bezoar.bench.plan import Cell

FAILED, INTERRUPTED = 2, 130
_RESULTS = Path("benchmarks/results/scan_matrix.jsonl")
_PAGE = Path("docs/benchmark.md")
_TRIED = Path("benchmarks/tried.toml")
_MOST_SEEDS, _MOST_SEED_DIGITS = 1000, 18  # seeds fit an int64

_results_option = click.option(
    "--results",
    type=PATH,
    metavar="FILE",
    help=f"Log of measurements (.jsonl), one JSON line each; the summary (.json) lies beside it.  [default: {_RESULTS}]",
)
_depth_option = click.option(
    "--depth",
    type=click.Choice(["quick", "standard", "deep"]),
    default="standard",
    show_default=True,
    help="Depth of the scans.",
)
_seeds_option = click.option(
    "--seeds",
    default="3",
    show_default=True,
    metavar="N",
    help="How many trials of each kind, or their seeds: 0,1,2.",
)
_records_option = click.option(
    "--records", type=click.IntRange(min=100), metavar="N", help="Records per dataset.  [default: 5000]"
)
_epochs_option = click.option(
    "--epochs", type=click.IntRange(min=1), metavar="N", help="Of the networks that show whether an attack took."
)  # fmt: skip


@click.group("bench")
def command() -> None:
    """Measure what the scan finds of many attacks on sample data, and write the page of it."""


command.add_command(bench_inspect.command)


@command.command("scan")
@_results_option
@click.option("--packs", metavar="NAMES", help="Only these data packs, separated by commas.")
@_seeds_option
@click.option("--only", metavar="FILTERS", default="", help="Such as attack=badnets,pack=gtsrb,rate=0.01.")
@click.option(
    "--kind",
    "part",
    type=click.Choice(["matrix", "potency", "power", "all"]),
    default="all",
    show_default=True,
    help="Attacks and clean data; attacks without scans: only whether they take; trials of what scans say that they would "
    "notice; or all.",
)
@_depth_option
@_records_option
@_epochs_option
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Cells at a time.  [default: one per core]"
)
@click.option(
    "--limit-minutes", type=click.FloatRange(min=0), metavar="M", help="Begin no cell after that time."
)
@click.option("--keep", is_flag=True, help="Cells that other versions of the code measured count as done.")
@click.option("--dry-run", is_flag=True, help="Only say how many cells there are and how long they may take.")
@click.option("--smoke", is_flag=True, help="A few seconds on synthetic data, kept only with --results.")
@click.option(
    "--page", type=PATH, metavar="FILE", help="Also write the page and the summary, as `bench page`."
)
@format_option
def scan_command(
    results: Path | None,
    packs: str | None,
    seeds: str,
    only: str,
    part: Any,
    depth: str,
    records: int | None,
    epochs: int | None,
    jobs: int | None,
    limit_minutes: float | None,
    keep: bool,
    dry_run: bool,
    smoke: bool,
    page: Path | None,
    form: str,
) -> int:
    """Attacks x data packs x rates x seeds, clean data, and power statements put to the test.

    Resumable: cells that this version of the code has measured are skipped, and Ctrl-C keeps all that is
    finished. The data packs lie in the folder that BEZOAR_DATA names, or in ../shared/data.
    """
    from bezoar.bench import plan

    sizes = _sizes(records, depth, epochs)
    refuse_same_file(results or _RESULTS, page)
    if limit_minutes is not None and math.isnan(limit_minutes):
        raise UsageError("limit-minutes nan: give a number of minutes")
    with ExitStack() as stack:
        if smoke:
            everything = cells = plan.smoke(part)
            folder = None
            if results is None:
                results = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "smoke.jsonl"
        else:
            wanted, chosen, numbers = plan.filters(only), _pack_names(packs), _seeds(seeds)
            folder = data_folder()
            everything = plan.plan("all", _pack_names(None), numbers, **sizes)
            drawn = plan.plan(part, _present(chosen, folder), numbers, **sizes)
            cells = [cell for cell in drawn if plan.matches(cell, wanted)]
        log = results or _RESULTS
        limit_s = float("inf") if limit_minutes is None else 60 * limit_minutes
        code = _measure(
            cells,
            folder,
            log,
            jobs or os.cpu_count() or 1,
            limit_s,
            scanned=part != "potency",
            keep=keep,
            dry_run=dry_run,
        )
        if not dry_run:
            _show(cells, log, form)
            if page is not None:
                _write(everything, log, page)
        return code


@command.command("page")
@_results_option
@_seeds_option
@_depth_option
@_records_option
@_epochs_option
@click.option("--page", type=PATH, metavar="FILE", default=_PAGE, show_default=True, help="Where it goes.")
def page_command(
    results: Path | None, seeds: str, depth: str, records: int | None, epochs: int | None, page: Path
) -> int:
    """Write the summary (JSON) and the page (Markdown) of the measurements in the log."""
    from bezoar.bench import plan

    cells = plan.plan("all", _pack_names(None), _seeds(seeds), **_sizes(records, depth, epochs))
    log = results or _RESULTS
    refuse_same_file(log, page)
    if not log.is_file():
        raise InputError(f"{log}: no such file; `bezoar bench scan` writes it, or give another --results")
    _write(cells, log, page)
    return 0


def _measure(
    cells: list[Cell],
    folder: Path | None,
    log: Path,
    jobs: int,
    limit_s: float,
    *,
    scanned: bool,
    keep: bool,
    dry_run: bool,
) -> int:
    """Measure what is not done yet; the exit code."""
    from bezoar.bench.plan import Task
    from bezoar.bench.run import estimate, run
    from bezoar.bench.store import appending, newest, read_entries, trials
    from bezoar.bench.version import code_version, trial_version
    from bezoar.bench.weak import Weak

    cells, version, entries = _runnable(cells), code_version(), read_entries(log)
    current, known = newest(entries, version), newest(entries)
    finished, trained = known if keep else current, trials(entries, trial_version)
    weak = Weak([*finished.values(), *trained.values()])
    done = finished.keys() if scanned else finished.keys() | trained.keys()
    implied = sum(cell.key not in done and weak.implies(cell) for cell in cells)
    rest = [cell for cell in cells if cell.key not in done and not weak.implies(cell)]
    others = sum(cell.key in known and cell.key not in current for cell in cells)
    _say(
        f"{len(cells)} cells: {len(cells) - len(rest) - implied} done, "
        + (f"{implied} implied by these, " if implied else "")
        + f"{len(rest)} to measure with {version}, {jobs} at a time, "
        f"about {estimate(rest, known, jobs) / 3600:.1f} h"
        + (f"; {others} measured by other versions only" if others else "")
    )
    if dry_run:
        return 0
    try:
        with appending(log) as open_log:
            earlier = {key: entry.outcome for key, entry in trained.items()}
            tasks = [Task(cell, earlier.get(cell.key), scanned) for cell in rest]
            ran = run(tasks, folder, open_log, version, jobs, limit_s, weak)
    except KeyboardInterrupt:
        _say(f"error: interrupted; all finished cells are kept in {log}")
        return INTERRUPTED
    _say(
        f"{ran.measured} measured, {ran.trained} trained only, {ran.impossible} impossible, {ran.failed} failed"
    )
    if ran.failure is None:
        return 0
    _say(f"error: {ran.failure}")
    return FAILED


def _write(cells: list[Cell], results: Path, page: Path) -> None:
    from bezoar.bench.page import read_tried, to_markdown
    from bezoar.bench.store import newest, read_entries, replace
    from bezoar.bench.summary import summarise

    summary = summarise(cells, newest(read_entries(results)))
    markdown = to_markdown(summary, read_tried(_TRIED))
    replace(results.with_suffix(".json"), (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode())
    replace(page, markdown.encode())
    _say(f"written: {page}, {results.with_suffix('.json')}")


def _show(cells: list[Cell], results: Path, form: str) -> None:
    from bezoar.bench.store import newest, read_entries
    from bezoar.bench.summary import summarise

    summary = summarise(cells, newest(read_entries(results)))
    if form == "json":
        click.echo(json.dumps(summary, indent=1, allow_nan=False))
        return
    from bezoar.bench.table import to_terminal

    click.echo(to_terminal(summary, width=terminal_width(), colour=wants_colour()), nl=False)


def refuse_same_file(log: Path, page: Path | None) -> None:
    """UsageError where the summary or the page would be written over the log, or over each other."""
    if log.suffix != ".jsonl":
        raise UsageError(
            f"results {str(log)!r}: the name must end in .jsonl, as the summary lies beside it as .json"
        )
    if page is not None and page.resolve() in (log.resolve(), log.with_suffix(".json").resolve()):
        raise UsageError(
            f"page {str(page)!r}: is where the measurements or their summary go; give another --page"
        )


def data_folder() -> Path:
    """BEZOAR_DATA, or the shared folder beside the checkout."""
    from bezoar.bench.packs import packs_folder

    beside = Path("../shared/data")
    if not os.environ.get("BEZOAR_DATA") and beside.is_dir():
        return beside.resolve()
    return packs_folder()


def _pack_names(text: str | None) -> list[str]:
    """Those asked for, or all real ones; UsageError for an unknown one, or none."""
    from bezoar.bench.packs import PACKS, SYNTHETIC

    real = [name for name in PACKS if name != SYNTHETIC]
    names = real if text is None else list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    for name in names:
        if name not in real:
            raise UsageError(f"unknown pack {name!r}; known: {', '.join(real)}")
    if not names:
        raise UsageError(f"packs {text!r}: names none; known: {', '.join(real)}")
    return names


def _present(names: list[str], folder: Path) -> list[str]:
    from bezoar.bench.packs import PACKS, missing_files

    absent = {name: missing[0] for name in names if (missing := missing_files(PACKS[name], folder))}
    if absent:
        _say("left out, no such file: " + ", ".join(f"{name} ({path})" for name, path in absent.items()))
    return [name for name in names if name not in absent]


def _runnable(cells: list[Cell]) -> list[Cell]:
    """Without the settings that the installed attacks do not offer, which are named."""
    from bezoar.bench.settings import SETTINGS, unavailable

    wanted = dict.fromkeys(cell.setting for cell in cells if cell.kind == "attack")
    reasons = {name: reason for name in wanted if (reason := unavailable(SETTINGS[name]))}
    if reasons:
        _say("left out: " + "; ".join(f"{name} ({reason})" for name, reason in reasons.items()))
    return [cell for cell in cells if cell.setting not in reasons]


def _seeds(text: str) -> list[int]:
    """`3` is 0, 1, 2; with a comma, the seeds themselves."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdecimal() for part in parts):
        raise UsageError(f"seeds {text!r}: give how many (3), or each of them (0,1,2)")
    if any(len(part) > _MOST_SEED_DIGITS for part in parts):
        raise UsageError(f"seeds: give whole numbers of at most {_MOST_SEED_DIGITS} digits")
    numbers = list(dict.fromkeys(map(int, parts)))
    seeds: Sequence[int] = numbers if "," in text else range(numbers[0])
    if not seeds:
        raise UsageError("seeds 0: give at least one")
    if len(seeds) > _MOST_SEEDS:
        raise UsageError(f"seeds: {len(seeds):,} of them are too many; give at most {_MOST_SEEDS:,}")
    return list(seeds)


def _sizes(records: int | None, depth: str, epochs: int | None) -> dict[str, Any]:
    from bezoar.bench import plan

    return {"records": records or plan.RECORDS, "depth": depth, "epochs": epochs or plan.EPOCHS}


def _say(line: str) -> None:
    from bezoar.report.text import shown

    click.echo(shown(line, 1000), err=True)
