"""`bezoar bench inspect` measures the inspection of models on a zoo of models that it builds."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.options import PATH, format_option, terminal_width, wants_colour
from bezoar.errors import InputError

if TYPE_CHECKING:
    from bezoar.bench.inspection import Inspection
    from bezoar.bench.store import Entry
    from bezoar.bench.zoo.recipes import Recipe

FAILED, INTERRUPTED = 2, 130
_RESULTS = Path("benchmarks/results/inspect.jsonl")
_BASELINE = Path("benchmarks/results/neural_cleanse.json")
_MOST_BASELINE_BYTES = 2**24


@click.command("inspect")
@click.option(
    "--zoo",
    type=PATH,
    metavar="FOLDER",
    help="Where the models are, or are built.  [default: in the user's cache]",
)
@click.option(
    "--results",
    type=PATH,
    metavar="FILE",
    help=f"Log of measurements (.jsonl); the summary (.json) lies beside it.  [default: {_RESULTS}]",
)
@click.option("--build-only", is_flag=True, help="Only build the models that are missing.")
@click.option(
    "--calibrate",
    type=PATH,
    metavar="FILE",
    help="Instead run triage on the calibration models, and write what clean models look like to FILE.",
)
@click.option(
    "--development",
    is_flag=True,
    help="Inspect the models that the code was developed with, in place of the test models.",
)
@click.option(
    "--repair",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Also repair N backdoored models.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Models at a time.  [default: one per core]"
)
@click.option("--keep", is_flag=True, help="Models that other versions of the code inspected count as done.")
@click.option("--smoke", is_flag=True, help="A few tiny models of synthetic data, kept only as asked.")
@click.option("--page", type=PATH, metavar="FILE", help="Also write the page of what was measured.")
@format_option
def command(
    zoo: Path | None,
    results: Path | None,
    build_only: bool,
    calibrate: Path | None,
    development: bool,
    repair: int,
    jobs: int | None,
    keep: bool,
    smoke: bool,
    page: Path | None,
    form: str,
) -> int:
    """Build a zoo of clean and backdoored models, inspect each, and compare with the truth.

    Resumable: models that are there are not built again, and what this version of the code has measured is
    not measured again. The data packs lie in the folder that BEZOAR_DATA names, or in ../shared/data.
    """
    from bezoar.bench import inspection_run
    from bezoar.bench.store import newest
    from bezoar.bench.zoo.making import default_folder, make
    from bezoar.bench.zoo.recipes import SMOKE, recipes
    from bezoar.cli.bench import data_folder, refuse_same_file

    at_once = jobs or os.cpu_count() or 1
    with ExitStack() as stack:
        if smoke:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            zoo, results = zoo or scratch / "zoo", results or scratch / "smoke.jsonl"
        folder, log = zoo or default_folder(), results or _RESULTS
        chosen = SMOKE if smoke else recipes("development" if development else "test")
        chosen = [recipe for recipe in chosen if (recipe.role == "calibration") == (calibrate is not None)]
        refuse_same_file(log, page)
        packs = None if smoke else data_folder()
        try:
            failures = make(chosen, packs, folder, at_once, _say)
            if failures or build_only:
                return _ended(failures, "models could not be built")
            if calibrate is not None:
                planned = inspection_run.calibrations(chosen)
            else:
                planned = inspection_run.plan(chosen, folder, repair)
            failures = _measure(planned, chosen, folder, packs, log, at_once, keep=keep)
        except KeyboardInterrupt:
            _say(f"error: interrupted; what is finished is kept in {folder} and {log}")
            return INTERRUPTED
        entries = inspection_run.read(log)
        if calibrate is not None:
            done = inspection_run.measured(entries)
            done = {each.key: done[each.key] for each in planned if each.key in done}
            models = inspection_run.write_calibration(done, calibrate)
            _say(f"written: {calibrate}, from {models} models")
        else:
            _show(planned, newest(entries), log, page, form)
        return _ended(failures, "models could not be inspected")


def _measure(
    planned: Sequence[Inspection],
    recipes: Sequence[Recipe],
    zoo: Path,
    packs: Path | None,
    log: Path,
    jobs: int,
    *,
    keep: bool,
) -> list[str]:
    """Measure what is not done yet; what failed."""
    from bezoar.bench.inspection_run import read, run
    from bezoar.bench.store import appending, newest
    from bezoar.bench.version import inspection_version

    version = inspection_version()
    done = newest(read(log), None if keep else version)
    rest = [each for each in planned if each.key not in done]
    _say(f"{len(planned)} measurements: {len(planned) - len(rest)} done, {len(rest)} to make with {version}")
    with appending(log) as open_log:
        return run(rest, recipes, zoo, packs, open_log, version, jobs)


def _show(
    planned: Sequence[Inspection], done: Mapping[str, Entry], log: Path, page: Path | None, form: str
) -> None:
    from bezoar.bench.inspection_page import to_markdown
    from bezoar.bench.inspection_summary import summarise
    from bezoar.bench.inspection_table import to_terminal
    from bezoar.bench.store import replace

    summary = summarise(planned, done)
    text = json.dumps(summary, indent=1, allow_nan=False)
    replace(log.with_suffix(".json"), (text + "\n").encode())
    if page is not None:
        replace(page, to_markdown(summary, _baseline()).encode())
        _say(f"written: {page}, {log.with_suffix('.json')}")
    if form == "json":
        click.echo(text)
    else:
        click.echo(to_terminal(summary, width=terminal_width(), colour=wants_colour()), nl=False)


def _baseline() -> dict[str, object] | None:
    from bezoar.files import read_file

    if not _BASELINE.is_file():
        return None
    try:
        return dict(json.loads(read_file(_BASELINE, _MOST_BASELINE_BYTES)))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{_BASELINE}: is no result of benchmarks/neural_cleanse.py; make it anew"
        ) from error


def _ended(failures: list[str], what: str) -> int:
    if not failures:
        return 0
    _say(f"error: {len(failures)} {what}; the first: {failures[0]}")
    return FAILED


def _say(line: str) -> None:
    from bezoar.report.text import shown

    click.echo(shown(line, 1000), err=True)
