"""`bezoar inspect MODEL`: look for a backdoor in a trained image classifier and give a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.model_options import model_options, open_suspect
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
    from bezoar.inspect.result import InspectionResult

FOUND, UNDECIDED = 1, 3


@click.command("inspect")
@click.argument("path", metavar="MODEL", type=PATH)
@click.option(
    "--data",
    type=PATH,
    metavar="CLEAN",
    help="Clean images with labels, in any readable format; without them less is seen.",
)
@click.option(
    "-o", "--out", type=PATH, metavar="FOLDER", help="Write report, JSON, SARIF and triggers to a new folder."
)
@model_options
@click.option(
    "--images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use at most so many of the clean images.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="CPU time to spend. What that cuts short is said, and never called clean.",
)
@dataset_options
@seed_option
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.01,
    show_default=True,
    help="Chance of calling a clean model backdoored.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 when the inspection could not decide.")
@sarif_format_option
def command(
    path: Path,
    data: Path | None,
    out: Path | None,
    images: int | None,
    budget: float | None,
    label_column: str | None,
    content_column: str | None,
    seed: int,
    alpha: float,
    strict: bool,
    form: str,
    **given: Any,
) -> int:
    """Look for a backdoor in the image classifier at MODEL and give a verdict.

    MODEL is an ONNX file, a torch.export .pt2, TorchScript, safetensors or a state dict (with --architecture), or a Hugging Face
    folder. None of its code is run. Exit code 0: no backdoor was found; 1: one was found.
    """
    from bezoar.report.inspection_folder import write_inspection

    if out is not None:
        check_output(out, path, "model")
        if data is not None:
            check_output(out, data)
    model = open_suspect(path, given)
    clean = None if data is None else open_dataset(data, label_column, content_column)
    from bezoar.inspect import inspect  # after opening: bad input fails fast

    result = inspect(
        model, clean, classes=given["classes"], images=images, budget=budget, seed=seed, alpha=alpha
    )
    if out is not None:
        write_inspection(result, out)
    _show(result, out, form)
    return _exit_code(result, strict=strict)


def _show(result: InspectionResult, saved: Path | None, form: str) -> None:
    from bezoar.inspect.saved import as_json
    from bezoar.report.inspection_sarif import inspection_to_sarif
    from bezoar.report.inspection_terminal import inspection_to_terminal

    if form == "text":
        text = inspection_to_terminal(result, saved=saved, width=terminal_width(), colour=wants_colour())
        click.echo(text, nl=False)
        return
    echo_document(as_json(result) if form == "json" else inspection_to_sarif(result), saved)


def _exit_code(result: InspectionResult, *, strict: bool) -> int:
    from bezoar.inspect.result import Status

    if result.verdict.status is Status.BACKDOORED:
        return FOUND
    return UNDECIDED if strict and result.verdict.status is Status.UNDECIDED else 0
