"""`bezoar bench inspect` measures the inspection of models on a zoo of models that it builds."""

from __future__ import annotations

import os
from pathlib import Path

import click

from bezoar.cli.options import PATH

FAILED = 2


@click.command("inspect")
@click.option(
    "--zoo",
    type=PATH,
    metavar="FOLDER",
    help="Where the models are, or are built.  [default: in the user's cache]",
)
@click.option("--build-only", is_flag=True, help="Only build the models that are missing.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Models at a time.  [default: one per core]"
)
@click.option("--smoke", is_flag=True, help="Three tiny models of synthetic data: seconds.")
def command(zoo: Path | None, build_only: bool, jobs: int | None, smoke: bool) -> int:
    """Build a zoo of clean and backdoored models, inspect each, and compare with the truth.

    Resumable: models that are there are not built again. The data packs lie in the folder that BEZOAR_DATA
    names, or in ../shared/data.
    """
    from bezoar.bench.zoo.making import default_folder, make
    from bezoar.bench.zoo.recipes import SMOKE, recipes
    from bezoar.cli.bench import data_folder

    folder = zoo or default_folder()
    chosen = SMOKE if smoke else recipes()
    packs = None if smoke else data_folder()
    failures = make(chosen, packs, folder, jobs or os.cpu_count() or 1, _say)
    if failures:
        _say(f"error: {len(failures)} models could not be built, the first one: {failures[0]}")
        return FAILED
    return 0


def _say(line: str) -> None:
    from bezoar.report.text import shown

    click.echo(shown(line, 1000), err=True)
