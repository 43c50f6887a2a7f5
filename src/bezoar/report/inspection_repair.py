"""A repair as text for a terminal and as JSON (`schema/repair-1.json`): what it cost, and what is left of the backdoor.

Titles and paths are untrusted: on a terminal they go through `text.shown` and into `rich.text.Text`, which does not read markup.
"""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar import __version__
from bezoar.inspect.result import InspectionResult
from bezoar.report import text
from bezoar.report.text import shown

if TYPE_CHECKING:
    from bezoar.inspect.repair import Repaired

SCHEMA = "bezoar-repair-1"
_GONE = 0.1  # share of images that a trigger may still flip: some are misread without one, too
_MAX_TRIGGERS = 20

Json = dict[str, Any]


def repair_to_json(repaired: Repaired, inspection: InspectionResult, saved: Path, digest: str) -> Json:
    """The figures of a repair and the digests of the model before and after; JSON types only."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "model": {"path": inspection.path, "format": inspection.format, "digest": inspection.digest},
        "repaired": {"path": str(saved), "digest": digest},
        "accuracy": {"before": repaired.accuracy_before, "after": repaired.accuracy_after},
        "triggers": [
            {"title": each.title, "before": each.before, "after": each.after} for each in repaired.triggers
        ],
        "images": repaired.images,
        "held_out": repaired.held_out,
        "rounds": repaired.rounds,
        "unlearned": repaired.unlearned,
        "seconds": repaired.seconds,
        "cpu_seconds": repaired.cpu_seconds,
    }


def repair_to_terminal(
    repaired: Repaired,
    inspection: InspectionResult,
    saved: Path,
    *,
    data: Path,
    width: int = 100,
    colour: bool = False,
) -> str:
    """The same for a person, `width` columns wide, with ANSI colours if `colour`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    left = [each for each in repaired.triggers if each.after > _GONE]
    word, style = ("PARTLY REPAIRED", "bold yellow") if left else ("REPAIRED", "bold green")
    console.print(
        Text.assemble((word, style), "  ", shown(inspection.path, 200), " → ", shown(str(saved), 200))
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("on held-out images", ratio=1)
    table.add_column("before", justify="right", no_wrap=True)
    table.add_column("after", justify="right", no_wrap=True)
    table.add_row(
        "clean accuracy", text.percent(repaired.accuracy_before), text.percent(repaired.accuracy_after)
    )
    for each in repaired.triggers[:_MAX_TRIGGERS]:
        title = Text(f"trigger works: {shown(each.title, 160)}")
        table.add_row(title, text.percent(each.before), text.percent(each.after))
    console.print(table)
    console.print(Text(_facts(repaired), style="dim"))
    if left:
        advice = "Give more clean images, or do not use the model."
        console.print(Text(f"The repair did not take out all of it. {advice}"))
    command = f"bezoar inspect {shlex.quote(str(saved))} --data {shlex.quote(str(data))}"
    console.print()
    console.print(Text(f"Next: {shown(command, 1000)}"), soft_wrap=True)
    return buffer.getvalue()


def _facts(repaired: Repaired) -> str:
    return " · ".join(
        [
            f"{text.count(repaired.images, 'image')} to train on, {text.count(repaired.held_out)} held out",
            f"{text.count(repaired.unlearned, 'trigger')} unlearned in {text.count(repaired.rounds, 'round')}",
            f"{text.seconds(repaired.seconds)} ({text.seconds(repaired.cpu_seconds)} of CPU)",
        ]
    )
