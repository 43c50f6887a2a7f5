"""`bezoar demo`: the whole story in a few minutes, with numbers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.options import PATH, format_option, seed_option, terminal_width, wants_colour
from bezoar.files import refuse_existing

if TYPE_CHECKING:
    from bezoar.demo.story import Story


@click.command("demo")
@click.option(
    "-o",
    "--out",
    type=PATH,
    metavar="FOLDER",
    default=Path("bezoar-demo"),
    show_default=True,
    help="New folder for the datasets and reports.",
)
@seed_option
@format_option
def command(out: Path, seed: int, form: str) -> int:
    """Poison rendered traffic signs, find the poison, remove it, and measure each step.

    Needs no download. Takes a few minutes on two cores and needs the extra `torch`.
    """
    refuse_existing(out)
    from bezoar.demo.story import tell

    story = tell(out, seed, lambda line: click.echo(line, err=True))
    if form == "json":
        click.echo(json.dumps(asdict(story), indent=1, default=str))
    else:
        _show(story)
    return 0


def _show(story: Story) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=terminal_width(), no_color=not wants_colour(), highlight=False)
    table = Table(title="A stop sign with a pixelated square, read as 'speed limit 60'", title_justify="left")
    table.add_column("network trained on")
    table.add_column("clean accuracy", justify="right")
    table.add_column("attack success", justify="right")
    for network in story.networks:
        table.add_row(network.data, f"{network.clean_accuracy:.1%}", f"{network.attack_success:.1%}")
    console.print()
    console.print(table)
    signs, frogs = story.signs, story.frogs
    console.print(
        f"The scan flagged {signs.true_positive_rate:.1%} of the {signs.planted} poisoned signs and "
        f"{signs.false_positive_rate:.2%} of the clean ones."
    )
    console.print(
        f"\nA clean-label poison: {frogs.found.planted} frogs, still labelled frog, moved onto one plane "
        f"(chosen for the room around it) in a backbone's space "
        f"(median largest change of a pixel: {frogs.largest_change:.0f} of 255).\n"
        f"A nearest-neighbour model calls that plane a {frogs.before!r} before and a {frogs.after!r} after.\n"
        f"The scan flagged {frogs.found.true_positive_rate:.1%} of the poisoned frogs and "
        f"{frogs.found.false_positive_rate:.2%} of the other records."
    )
    console.print(f"\nReports: {signs.report}\n         {frogs.found.report}", soft_wrap=True)
