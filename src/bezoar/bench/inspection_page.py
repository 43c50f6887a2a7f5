"""The page of the documentation that shows how inspections fare on the zoo; made from the summary alone.

Everything that comes from outside is escaped, and no figure is typed by hand.
"""

from __future__ import annotations

import math
from html import escape
from typing import Any

from bezoar.bench.heat import STYLE
from bezoar.bench.inspection_summary import KIND, MODES
from bezoar.bench.inspection_targets import LEAST_BACKDOORED, LEAST_CLEAN, LEAST_REPAIRED
from bezoar.bench.markdown import code, inert, share, table
from bezoar.bench.potency import LEAST_RISE, LEAST_SUCCESS
from bezoar.bench.statistics import LEVEL
from bezoar.bench.zoo.recipes import KINDS
from bezoar.bench.zoo.tasks import TASKS
from bezoar.errors import InputError
from bezoar.report.text import count, p_value, percent, shown

Json = dict[str, Any]
_SHADES, _PER_SHADE = 10, 1.0  # of the heat map: one shade per power of ten of the p-value
_NETWORKS = {"resnet": "ResNet", "vgg": "VGG", "vit": "ViT", "mlp": "MLP"}


def to_markdown(summary: Json, baseline: Json | None = None) -> str:
    """The page; `baseline` is what `benchmarks/neural_cleanse.py` measured. InputError when `summary` is something else."""
    if summary.get("kind") != KIND:
        raise InputError(f"the summary is no {KIND}; make it anew with `bezoar bench inspect`")
    parts = [
        "<!-- Made by `bezoar bench inspect`; changes by hand are lost. -->",
        "# Benchmark of the inspection",
        _introduction(summary),
        "## Targets",
        "Set before anything was measured. *Met* needs at least "
        f"{LEAST_CLEAN} clean and {LEAST_BACKDOORED} backdoored test models, and {LEAST_REPAIRED} repaired ones; until then "
        "*met so far*.",
        _targets(summary),
        "## Every model",
        "One square per test model: its p-value (shade: its order of magnitude) and the verdict. **✓** backdoored, and the "
        "target named rightly; **≠** backdoored, with another target; **?** undecided; **·** clean.",
        STYLE,
        _map(summary),
    ]
    for mode, title in MODES.items():
        if summary["modes"][mode]["clean"] or summary["modes"][mode]["backdoored"]:
            parts += [f"## Found {title}", *_mode(summary["modes"][mode])]
    parts += [
        "## Time",
        _time(summary, baseline),
        "## Repair",
        _repair(summary["repair"]),
        "## The zoo",
        _zoo(summary),
        "## Method",
        _method(),
    ]
    return "\n\n".join(parts) + "\n"


def _introduction(summary: Json) -> str:
    lines = [
        "`bezoar bench inspect` trains a zoo of small models, clean and backdoored, and inspects each as a stranger would. "
        f"{summary['measured']:,} of {count(summary['planned'], 'measurement')} are made."
    ]
    if summary["measured"] < summary["planned"]:
        lines.append("**The benchmark is not complete**: what is not measured claims nothing.")
    if any(row["role"] == "development" for row in summary["models"]):
        lines.append(
            "**These are development models**, which the code was written with: expect less of others."
        )
    parts = ", ".join(f"`{code(version)}` ({n:,})" for version, n in summary["versions"].items())
    machines = ", ".join(map(inert, summary["machines"]))
    libraries = "; ".join(map(inert, summary["libraries"]))
    if parts:
        lines.append(f"Code: {parts}. Machines: {machines}, one thread each; {libraries}.")
    return "\n".join(lines)


def _targets(summary: Json) -> str:
    rows = [
        (inert(row["title"]), inert(row["asked"]), _state(row["state"]), _figure(row))
        for row in summary["targets"]
    ]
    return table(("target", "asked", "state", "measured"), rows)


def _state(state: str) -> str:
    return f"**{state}**" if state == "missed" else state


def _figure(row: Json) -> str:
    value = row["value"]
    if value is None:
        return ""
    if row["title"].startswith("AUROC"):
        return _auroc(value)
    if "seconds" in row["title"]:
        return f"{value['value']:.2f}"
    return share(value) if "low" in value else percent(value["value"])


def _auroc(value: Json | None) -> str:
    return "" if value is None else f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _map(summary: Json) -> str:
    """Rows are kinds of attack, columns tasks and architectures."""
    models = [
        row
        for row in summary["models"]
        if row["role"] != "calibration" and (row["kind"] is None or row["took"])
    ]
    if not models:
        return "Not measured."
    columns = sorted({(row["task"], row["architecture"]) for row in models})
    heads = "".join(f"<th>{escape(_task(task))}<br>{escape(_network(net))}</th>" for task, net in columns)
    lines = [
        '<div class="heat"><table class="heat">',
        f"<thead><tr><th>attack</th>{heads}</tr></thead>",
        "<tbody>",
    ]
    for kind in (None, *dict.fromkeys(KINDS.values())):
        cells = []
        for column in columns:
            here = [
                row for row in models if row["kind"] == kind and (row["task"], row["architecture"]) == column
            ]
            cells.append("<td>" + "".join(map(_square, here)) + "</td>")
        lines.append(f'<tr><th scope="row">{escape(kind or "clean")}</th>{"".join(cells)}</tr>')
    return "\n".join([*lines, "</tbody>", "</table></div>"])


def _square(row: Json) -> str:
    p = row["p_value"]
    shade = _SHADES - 1 if p <= 0 else min(int(-math.log10(p) / _PER_SHADE), _SHADES - 1)
    shade = (
        shade if row["kind"] else _SHADES - 1 - shade
    )  # red is what is wrong: a large p-value, or a small one
    title = escape(shown(f"{row['model']}: {p_value(p)}, {row['verdict']}"), quote=True)
    return f'<span class="t{shade}" title="{title}">&nbsp;{_mark(row)}&nbsp;</span> '


def _mark(row: Json) -> str:
    if row["detected"]:
        return "✓" if row["named_rightly"] else "≠"
    return "?" if row["verdict"] == "undecided" else "·"


def _mode(mode: Json) -> list[str]:
    rows = [
        (
            inert("all kinds" if group["kind"] == "all" else group["kind"]),
            "all" if group["classes"] is None else str(group["classes"]),
            str(group["backdoored"]),
            str(group["clean"]),
            _auroc(group["auroc"]),
            share(group["detected"]),
            share(group["named"]),
        )
        for group in mode["groups"]
        if group["backdoored"]
    ]
    head = ("attack", "labels", "backdoored", "clean", "AUROC", "detected", "of these, target named rightly")
    alarms = [
        (
            "all" if row["classes"] is None else str(row["classes"]),
            str(row["clean"]),
            str(row["alarms"]),
            share(row["share"]),
            str(row["undecided"]),
        )
        for row in mode["alarms"]
    ]
    return [
        table(head, rows),
        table(("labels", "clean models", "false alarms", "share", "undecided"), alarms),
        "### Misses, wrong names and false alarms",
        _listed(mode),
    ]


def _listed(mode: Json) -> str:
    rows = [
        (what, *_about(row))
        for what, name in (
            ("missed", "missed"),
            ("other target named", "misnamed"),
            ("false alarm", "false_alarms"),
        )
        for row in mode[name]
    ]
    head = ("what", "model", "attack", "rate", "attack success", "p-value", "verdict", "target", "named")
    return table(head, rows) if rows else "None."


def _about(row: Json) -> tuple[str, ...]:
    named = ", ".join("all-to-all" if target is None else str(target) for target in row["named"])
    return (
        inert(row["model"]),
        inert(row["kind"] or "none"),
        "" if row["rate"] is None else percent(row["rate"]),
        "" if row["success"] is None else percent(row["success"]),
        inert(p_value(row["p_value"])),
        inert(row["verdict"]),
        "" if row["target"] is None else str(row["target"]),
        inert(named),
    )


def _time(summary: Json, baseline: Json | None) -> str:
    rows = [
        (
            str(group["classes"]),
            str(group["models"]),
            f"{group['triage']['median']:.1f} ({group['triage']['most']:.1f})",
            f"{group['all']['median']:.1f} ({group['all']['most']:.1f})",
            ", ".join(f"{inert(stage)} {value:.2f}" for stage, value in group["stages"].items()),
        )
        for group in summary["seconds"]
    ]
    head = ("labels", "models", "triage: median (most)", "everything: median (most)", "stages, median")
    parts = ["CPU seconds on one thread.", table(head, rows) if rows else "Not measured."]
    if baseline is not None and baseline.get("summary"):
        compared = [
            (
                inert(name),
                str(row["labels"]),
                f"{row['neural_cleanse_cpu_seconds']:.0f}",
                f"{row['targets_cpu_seconds']:.1f}",
                f"{row['times_faster_targets']:.0f}",
                f"{row['triage_cpu_seconds']:.1f}",
                f"{row['times_faster_triage']:.0f}",
                f"{row['bezoar_cpu_seconds']:.1f}",
                f"{row['times_faster']:.0f}",
            )
            for name, row in baseline["summary"].items()
        ]
        parts += [
            "Beside the original, sequential Neural Cleanse (`benchmarks/neural_cleanse.py`), on the same models in the same "
            f"run, by `{code(str(baseline.get('version')))}`:",
            table(
                (
                    *("model", "labels", "Neural Cleanse", "triage of targets", "times faster"),
                    *("whole triage", "times faster", "whole inspection", "times faster"),
                ),
                compared,
            ),
            "Neural Cleanse looks at labels as targets. The whole triage also looks for backdoors from one label to another and "
            "between all labels; the whole inspection also checks how images are prepared, and recovers and tries triggers.",
        ]
    return "\n\n".join(parts)


def _repair(repair: Json) -> str:
    if not repair["models"]:
        return "Not measured."
    rows = [
        (
            inert(row["model"]),
            inert(row["kind"]),
            percent(row["success_before"]),
            percent(row["success_after"]),
            percent(row["accuracy_before"]),
            percent(row["accuracy_after"]),
            f"{row['repair_cpu_seconds']:.0f}",
        )
        for row in repair["models"]
    ]
    head = ("model", "attack", "success before", "after", "accuracy before", "after", "CPU seconds")
    body = "The success of the attacker's own trigger, which the repair never sees.\n\n" + table(head, rows)
    if repair["in_vain"]:
        names = ", ".join(map(inert, repair["in_vain"]))
        body += f"\n\nIn {count(len(repair['in_vain']), 'model')} more the inspection found nothing to repair: {names}."
    return body


def _zoo(summary: Json) -> str:
    rows = [
        (
            inert(_task(group["task"])),
            inert(_network(group["architecture"])),
            str(group["classes"]),
            str(group["calibration"]),
            str(group["clean"]),
            str(group["took"]),
            f"{percent(group['accuracy']['median'])} ({percent(group['accuracy']['least'])})",
            "" if group["success"] is None else percent(group["success"]),
        )
        for group in summary["zoo"]
    ]
    head = ("task", "network", "labels", "calibration", "clean", "backdoored")
    body = table((*head, "accuracy: median (least)", "attack success, median"), rows)
    weak = [row for group in summary["zoo"] for row in group["not_taken"]]
    if weak:
        listed = [
            (inert(row["model"]), inert(row["kind"]), percent(row["rate"]), percent(row["success"]))
            for row in weak
        ]
        body += "\n\nThese attacks did not take, and count nowhere:\n\n"
        body += table(("model", "attack", "rate", "attack success"), listed)
    return body


def _method() -> str:
    return f"""- Every model is trained from scratch on records, with labels, trigger, target and source, that its own seed draws.
  Calibration models are clean and fit what clean models' statistics look like; no other model shares their seeds.
- Which statistics there are, and their weights, was decided with the figures of *development* models in view. Test models
  are made by the same recipes under other seeds, and the code was fixed before they were inspected.
- **Took**: at least {LEAST_SUCCESS:.0%} of the held-out records that show the trigger are read as the attacker wants, and at
  least {100 * LEAST_RISE:.0f} points more than without it. Only such models count.
- The inspection gets the model file and one half of the task's test split; accuracy and success are counted on the other half.
- **Detected**: the verdict is *backdoored*. The target is named rightly when the first finding names it; an all-to-all backdoor,
  when it is called that. **AUROC** ranks models by the p-value of the whole model.
- Intervals at {LEVEL:.0%}: a bootstrap over models for AUROC, Wilson's for shares of detections, Clopper and Pearson's for false
  alarms.
- Raw measurements: `benchmarks/results/inspect.jsonl`; this page is made from `benchmarks/results/inspect.json`."""


def _task(name: str) -> str:
    return TASKS[name].title if name in TASKS else name


def _network(name: str) -> str:
    return _NETWORKS.get(name, name)
