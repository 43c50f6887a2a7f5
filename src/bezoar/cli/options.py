"""Options and small helpers that several verbs share."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.errors import UsageError
from bezoar.files import refuse_existing

if TYPE_CHECKING:
    from bezoar.data.dataset import Dataset


class _PathType(click.Path):
    """A path. The empty one, often a shell variable that is not set, would silently mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty.", param, ctx)
        return super().convert(value, param, ctx)


PATH = _PathType(path_type=Path)


def dataset_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--label-column` and `--content-column`, for every verb that opens a dataset."""
    label = click.option("--label-column", metavar="NAME", help="Column that holds the labels.")
    content = click.option("--content-column", metavar="NAME", help="Column that holds the images or texts.")
    return label(content(function))


def seed_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--seed`."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all randomness."
    )(function)


def format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--format text|json`."""
    return _format("text", "json")(function)


def sarif_format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--format text|json|sarif`."""
    return _format("text", "json", "sarif")(function)


def _format(*forms: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--format",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="Form of the result on standard output.",
    )


def open_dataset(path: Path, label_column: str | None, content_column: str | None) -> Dataset:
    """The dataset at `path`."""
    from bezoar.data import open as open_path

    return open_path(path, label_column=label_column, content_column=content_column)


def check_output(out: Path, source: Path, what: str = "dataset") -> None:
    """Before any work: OutputError when `out` exists, UsageError when it would lie inside what is read."""
    refuse_existing(out)
    if out.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{out}: lies inside the {what} {source}; choose a path outside it")


def to_label(dataset: Dataset, text: str) -> int:
    """A label given by its name, or by its number where no label has that name."""
    if text in dataset.label_names:
        return dataset.label_names.index(text)
    if text.isascii() and text.isdecimal() and int(text) < len(dataset.label_names):
        return int(text)
    known = ", ".join(dataset.label_names[:12]) + (", ..." if len(dataset.label_names) > 12 else "")
    raise UsageError(f"{dataset.path}: no label {text!r}; labels: {known}")


def echo_document(document: Any, saved: Path | None) -> None:
    """A result as JSON on standard output; where its report was saved goes to standard error, apart from it."""
    click.echo(json.dumps(document, indent=1, allow_nan=False))
    if saved is not None:
        click.echo(f"report: {saved / 'report.html'}", err=True)


def terminal_width() -> int:
    """Columns to fill: the terminal's, within what is comfortable to read."""
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 140))


def wants_colour() -> bool:
    """Whether standard output is a terminal that may show colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
