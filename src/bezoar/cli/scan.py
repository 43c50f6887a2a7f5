"""`bezoar scan PATH`: look for poison in a dataset and give a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.options import (
    PATH,
    check_output,
    dataset_options,
    echo_document,
    open_dataset,
    sarif_format_option,
    seed_option,
    terminal_width,
    wants_colour,
)

if TYPE_CHECKING:
    from bezoar.scan.result import ScanResult

FOUND, UNDECIDED = 1, 3


@click.command("scan")
@click.argument("path", type=PATH)
@click.option(
    "-o", "--out", type=PATH, metavar="FOLDER", help="Write report, JSON, SARIF and scores to a new folder."
)
@click.option(
    "--depth",
    type=click.Choice(["quick", "standard", "deep"]),
    default="standard",
    show_default=True,
    help="How much to look at; deep also trains small networks on the data (needs the extra `torch`).",
)
@click.option(
    "--encoder", metavar="SPEC", default="default", show_default=True, help="What turns images into features."
)
@dataset_options
@click.option(
    "--group", metavar="NAME", help="Column whose equal values are one observation: a track, a video."
)
@click.option(
    "--source-column", metavar="NAME", help="Column that says where each record is from; URLs count by host."
)
@click.option(
    "--trusted",
    type=PATH,
    metavar="PATH",
    help="A clean sample with the same labels, which sharpens the scan.",
)
@seed_option
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.01,
    show_default=True,
    help="Chance of calling a clean dataset poisoned.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 when the scan could not decide.")
@click.option("--no-cache", is_flag=True, help="Compute all features anew and keep none.")
@sarif_format_option
def command(
    path: Path,
    out: Path | None,
    depth: str,
    encoder: str,
    label_column: str | None,
    content_column: str | None,
    group: str | None,
    source_column: str | None,
    trusted: Path | None,
    seed: int,
    alpha: float,
    strict: bool,
    no_cache: bool,
    form: str,
) -> int:
    """Look for poison in the dataset at PATH and give a verdict.

    PATH is an image folder, a Parquet file or folder, a saved Hugging Face dataset, WebDataset shards, IDX,
    npz, CSV or JSONL. Exit code 0: nothing planted was found; 1: poison was found.
    """
    from bezoar.embed import default_cache
    from bezoar.report import write_scan

    if out is not None:
        check_output(out, path)
    dataset = open_dataset(path, label_column, content_column)
    clean = None if trusted is None else open_dataset(trusted, label_column, content_column)
    from bezoar.scan import scan  # after opening: bad input fails fast

    cache = None if no_cache else default_cache()
    result = scan(
        dataset,
        encoder=encoder,
        depth=depth,
        seed=seed,
        alpha=alpha,
        group=group,
        source=source_column,
        trusted=clean,
        cache=cache,
    )
    if out is not None:
        write_scan(result, out)
    _show(result, out, form)
    return _exit_code(result, strict=strict)


def _show(result: ScanResult, saved: Path | None, form: str) -> None:
    from bezoar.report import to_json, to_sarif, to_terminal

    if form == "text":
        text = to_terminal(result, saved=saved, width=terminal_width(), colour=wants_colour())
        click.echo(text, nl=False)
        return
    echo_document(to_json(result) if form == "json" else to_sarif(result), saved)


def _exit_code(result: ScanResult, *, strict: bool) -> int:
    from bezoar.scan.result import Severity, Status

    if any(finding.severity is Severity.POISON for finding in result.findings):
        return FOUND
    return UNDECIDED if strict and result.verdict.status is Status.UNDECIDED else 0
