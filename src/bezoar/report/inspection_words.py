"""What the pages, the terminal and SARIF say of an inspection in the same words, and the order in which they say it.

Names, paths and captions come from the model or its data, so they are hostile: what leaves this module went through
`text.shown`.
"""

from __future__ import annotations

import math
import shlex
from pathlib import Path

from bezoar.inspect.result import Finding, InspectionResult, LabelReport, Severity, Status
from bezoar.inspect.trigger import Trigger
from bezoar.report.text import count, p_value, percent, shown

HEADLINE = {
    Status.BACKDOORED: "Backdoored",
    Status.CLEAN: "Clean",
    Status.UNDECIDED: "Undecided",
}
SEVERITY = {
    Severity.BACKDOOR: "Backdoor",
    Severity.REVIEW: "Review",
    Severity.SHORTCUT: "Shortcut",
}
STATISTICS = {
    "patch": "how small a patch leads images to the label",
    "shift": "how reluctantly images follow a pattern that is added to all of them",
    "warp": "how reluctantly they follow a smooth warp",
    "wave": "how little the phase of a plane wave matters",
    "noise": "how far from the label random noise leaves images",
    "shade": "how far smooth random shades leave them",
    "speck": "how far a random patch leaves them",
    "margin": "how unsure of the label the network stays, whatever image it is shown",
    "latent": "how far features must move to the label",
    "source": "of the label's own images, how small a patch leads them away",
    "corner": "of its own images, how far from any other label random patches in the corners leave them",
    "exchange": "how badly one pattern exchanges all labels",
}
_MAX_SOURCES = 3


def name(result: InspectionResult, label: int) -> str:
    """A label's name, or its number where the model has no name for it."""
    known = 0 <= label < len(result.label_names)
    return shown(result.label_names[label], 40) if known and result.label_names[label] else str(label)


def by_severity(result: InspectionResult) -> list[tuple[int, Finding]]:
    """The findings with their numbers, backdoors first."""
    order = {severity: place for place, severity in enumerate(Severity)}
    return sorted(enumerate(result.findings), key=lambda pair: order[pair[1].severity])


def by_suspicion(result: InspectionResult) -> list[LabelReport]:
    """The labels, smallest p-value first; where it is the same for many, by their places in all statistics together."""
    places = dict.fromkeys((row.label for row in result.labels), 0)
    for column in statistics(result):
        for place, row in enumerate(
            sorted(result.labels, key=lambda row: _ordered(row.statistics.get(column)))
        ):
            places[row.label] += place
    return sorted(result.labels, key=lambda row: (_ordered(row.p_value), places[row.label], row.label))


def _ordered(value: float | None) -> float:
    """What could not be computed comes last."""
    return math.inf if value is None or math.isnan(value) else value


def statistics(result: InspectionResult) -> list[str]:
    """Names of the statistics that any label has, in the order in which they first come."""
    return list(dict.fromkeys(key for row in result.labels for key in row.statistics))


def statistic(value: float | None) -> str:
    """A value on a log scale, as a figure."""
    return "" if value is None or not math.isfinite(value) else f"{value:.2f}".replace("-", "−")


def significance(value: float) -> str:
    """A p-value as a figure; NaN: it could not be computed."""
    return p_value(None if math.isnan(value) else value)


def sources(result: InspectionResult, finding: Finding) -> str:
    """Which labels the trigger flips: `Stop, Yield and 4 more`, `every label`."""
    if not finding.sources:
        return "every label"
    names = ", ".join(name(result, label) for label in finding.sources[:_MAX_SOURCES])
    more = len(finding.sources) - _MAX_SOURCES
    return f"{names} and {count(more)} more" if more > 0 else names


def target(result: InspectionResult, finding: Finding) -> str:
    """Where to: a label's name, `another label` for all-to-all."""
    return "another label" if finding.target is None else name(result, finding.target)


def success(finding: Finding) -> str | None:
    """How well the recovered trigger works on images that it was not made with; None where it was not tried."""
    if finding.success is None:
        return None
    flips = f"flips {percent(finding.success)} of {count(finding.tested, 'held-out image')}"
    return (
        flips
        if finding.control is None
        else f"{flips}; random patterns of equal size flip {percent(finding.control)}"
    )


def extent(trigger: Trigger) -> str:
    """How much a recovered trigger changes."""
    match trigger.kind:
        case "patch":
            return f"patch over {percent(trigger.size)} of the image"
        case "shift":
            return f"change of every pixel by {percent(trigger.size)} of its range on average"
        case "warp":
            return f"warp by {percent(trigger.size)} of the height on average"


def size(result: InspectionResult) -> str:
    """What one image is: `3 x 32 x 32`."""
    facts = [str(result.preprocessing.get(key, "?")) for key in ("channels", "height", "width")]
    return shown(" x ".join(facts), 40).replace(" x ", " × ")


def data(result: InspectionResult) -> str:
    """What the model was tried on: `200 clean images, of which the model gets 97.5 % right`."""
    if not result.images:
        return "no clean images"
    words = count(result.images, "clean image")
    return words if result.accuracy is None else f"{words} (the model gets {percent(result.accuracy)} right)"


def repair_command(result: InspectionResult, folder: Path | None) -> str | None:
    """The command that takes out what was found; None where there is nothing to take out."""
    if result.verdict.status is not Status.BACKDOORED:
        return None
    clean = "CLEAN" if result.data is None else shlex.quote(result.data)
    saved = shlex.quote(str(folder)) if folder else "FOLDER"
    return shown(f"bezoar repair {shlex.quote(result.path)} --data {clean} --inspection {saved} OUT", 1000)
