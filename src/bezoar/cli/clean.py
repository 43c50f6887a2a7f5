"""`bezoar clean DATASET --scan FOLDER OUT`: the dataset without the records that a scan flagged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.options import PATH, check_output, dataset_options, open_dataset

if TYPE_CHECKING:
    from bezoar.data.dataset import Dataset

NOTHING_TO_DO = 3
_MAX_CLASSES = 30


@click.command("clean")
@click.argument("path", metavar="DATASET", type=PATH)
@click.argument("out", type=PATH)
@click.option(
    "--scan", "saved", type=PATH, required=True, metavar="FOLDER", help="What `bezoar scan --out` wrote."
)
@click.option(
    "--drop", type=click.Choice(["review"]), multiple=True, help="Remove the records up for review as well."
)
@dataset_options
def command(
    path: Path,
    out: Path,
    saved: Path,
    drop: tuple[str, ...],
    label_column: str | None,
    content_column: str | None,
) -> int:
    """Write to OUT the DATASET without the records that the scan calls planted.

    The dataset must be the one that was scanned, unchanged. Kept records keep their bytes. Exit code 3: the
    scan found nothing to remove, and nothing was written.
    """
    from bezoar.data import write
    from bezoar.report import read_scan
    from bezoar.scan.clean import clean
    from bezoar.scan.result import Severity

    check_output(out, path)
    result = read_scan(saved)
    dataset = open_dataset(path, label_column, content_column)
    kept = clean(dataset, result, drop={Severity.POISON, *map(Severity, drop)})
    if len(kept) == len(dataset):
        click.echo(f"nothing to remove: the scan in {saved} flagged no record; {out} was not written")
        return NOTHING_TO_DO
    write(kept, out)
    click.echo(_counts(dataset, kept, out))
    return 0


def _counts(dataset: Dataset, kept: Dataset, out: Path) -> str:
    """What was kept and removed, in all and by class."""
    import numpy as np

    from bezoar.report.text import count, shown

    size = len(dataset.label_names)
    before = np.bincount(dataset.labels[dataset.labels >= 0], minlength=size)
    removed = before - np.bincount(kept.labels[kept.labels >= 0], minlength=size)
    total = f"{count(len(kept), 'record')} kept, {count(len(dataset) - len(kept))} removed"
    lines = [f"{total}: {shown(str(out), 1000)}"]
    order = np.argsort(-removed, kind="stable")
    touched = [int(label) for label in order if removed[label]]
    lines += [
        f"  {shown(dataset.label_name(label), 60)}: {removed[label]:,} of {before[label]:,} removed"
        for label in touched[:_MAX_CLASSES]
    ]
    if len(touched) > _MAX_CLASSES:
        lines.append(f"  and {count(len(touched) - _MAX_CLASSES)} further classes")
    return "\n".join(lines)
