"""`bezoar repair MODEL OUT --data CLEAN --inspection FOLDER`: the model without the backdoor that an inspection found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bezoar.cli.model_options import model_options, open_suspect, remembered
from bezoar.cli.options import (
    PATH,
    check_output,
    dataset_options,
    echo_document,
    format_option,
    open_dataset,
    seed_option,
    terminal_width,
    wants_colour,
)

NOTHING_TO_DO = 3


@click.command("repair")
@click.argument("path", metavar="MODEL", type=PATH)
@click.argument("out", type=PATH)
@click.option("--data", type=PATH, required=True, metavar="CLEAN", help="Clean images with labels.")
@click.option(
    "--inspection",
    "saved",
    type=PATH,
    required=True,
    metavar="FOLDER",
    help="What `bezoar inspect --out` wrote.",
)
@click.option(
    "--images", type=click.IntRange(min=1), metavar="N", help="Use at most so many of the clean images."
)
@model_options
@dataset_options
@seed_option
@format_option
def command(
    path: Path,
    out: Path,
    data: Path,
    saved: Path,
    images: int | None,
    label_column: str | None,
    content_column: str | None,
    seed: int,
    form: str,
    **given: Any,
) -> int:
    """Write to OUT the MODEL without the backdoors that its inspection found, in the same format.

    The model must be the one that was inspected, unchanged. What was said of it there need not be said again, except
    --trust-code. Exit code 3: the inspection found nothing to repair, and nothing was written.
    """
    from bezoar.inspect.saved import load
    from bezoar.models.opening.limits import digest

    check_output(out, path, "model")
    check_output(out, data)
    inspection = load(saved)
    from bezoar.inspect.repair import IMAGES, repair, repairable
    from bezoar.report.inspection_repair import repair_to_json, repair_to_terminal

    if not repairable(inspection):
        click.echo(f"nothing to repair: the inspection in {saved} found no backdoor; {out} was not written")
        return NOTHING_TO_DO
    given = remembered(inspection, given)
    model = open_suspect(path, given)
    dataset = open_dataset(data, label_column, content_column)
    repaired = repair(
        model, dataset, inspection, classes=given["classes"], images=images or IMAGES, seed=seed
    )
    model.save(repaired.module, out)
    if form == "json":
        echo_document(repair_to_json(repaired, inspection, out, digest(out)), None)
        return 0
    text = repair_to_terminal(
        repaired, inspection, out, data=data, width=terminal_width(), colour=wants_colour()
    )
    click.echo(text, nl=False)
    return 0
