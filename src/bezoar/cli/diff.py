"""`bezoar diff A B`: what changed between two sealed snapshots."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.options import format_option
from bezoar.errors import InputError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.seal.diffing import Counts, Difference
    from bezoar.custody.seal.manifest import Row
    from bezoar.custody.seal.moves import Moves
    from bezoar.custody.seal.reading import Seal

DIFFERENT = 1
_LISTED = 10  # of each kind, in the terminal
_MAX_LABELS = 20
_SIGNS = {"added": "+", "removed": "-", "changed": "~", "relabelled": ">", "both": "*", "resourced": "@"}
_WORDS = {"both": "changed and relabelled", "resourced": "re-sourced"}


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@format_option
def command(before: str, after: str, form: str) -> int:
    """What changed from A to B, each a seal or a sealed dataset, by their manifests and snapshot trees.

    The data themselves are not read, and signatures are not checked: `bezoar verify` does both. The terminal lists the first
    ten records of each kind, `--format json` all of them.

    Exit codes: 0 no difference, 1 differences, 2 error.
    """
    from bezoar.custody.seal.diffing import Counts

    counts = Counts()
    try:
        sys.stdout.writelines(_pieces(before, after, form, counts))
    except VerificationError as error:  # its exit code would say that there are differences
        raise InputError(str(error)) from error
    return DIFFERENT if counts.total else 0


def _pieces(before: str, after: str, form: str, counts: Counts) -> Iterator[str]:
    from bezoar.cli.seals import open_seal
    from bezoar.custody.seal.diffing import differences
    from bezoar.custody.seal.moves import Moves

    old, new = open_seal(before), open_seal(after)
    moves = Moves()
    found = _noted(differences(old, new), counts, moves)
    show = _show_json if form == "json" else _show_text
    return show(old, new, found, counts, moves)


def _noted(differences: Iterable[Difference], counts: Counts, moves: Moves) -> Iterator[Difference]:
    for difference in differences:
        counts.add(difference)
        moves.add(difference)
        yield difference


def _show_json(
    old: Seal, new: Seal, found: Iterable[Difference], counts: Counts, moves: Moves
) -> Iterator[str]:
    """One object, written as the differences are found, one of them a line; the counts come last."""
    from bezoar.custody.seal.diffing import Kind

    head = {"version": 1, "before": _snapshot(old), "after": _snapshot(new)}
    yield json.dumps(head)[:-1] + ', "differences": ['
    for number, difference in enumerate(found):
        yield (",\n " if number else "\n ") + json.dumps(_difference(difference))
    labels = [
        {"before": before, "after": after, "counts": dict(kinds)}
        for (before, after), kinds in counts.labels.items()
    ]
    tail = {
        "counts": {kind: counts.kinds[kind] for kind in Kind},
        "labels": labels,
        "further": counts.further,
        "moved": [{"before": old.key, "after": new.key} for old, new in moves.pairs()],
        "moved_complete": moves.complete,
    }
    yield "\n], " + json.dumps(tail)[1:] + "\n"


def _show_text(
    old: Seal, new: Seal, found: Iterable[Difference], counts: Counts, moves: Moves
) -> Iterator[str]:
    from bezoar.custody.seal.diffing import Kind
    from bezoar.report.text import count, shown

    first: dict[Kind, list[Difference]] = {kind: [] for kind in Kind}
    for difference in found:
        if len(first[difference.kind]) < _LISTED:
            first[difference.kind].append(difference)
    for side, seal in (("A", old), ("B", new)):
        total = count(len(seal.manifest), "record")
        yield f"{side}: {shown(seal.name, 60)}, {total}, snapshot {seal.tree.root().hex()}\n"
    if not counts.total:
        yield "no difference\n"
    for kind, some in first.items():
        if some:
            number = counts.kinds[kind]
            yield f"\n{count(number)} {_WORDS.get(kind, kind)}\n"
            yield from (f"  {_SIGNS[kind]} {shown(each.key, 80)}{_detail(each)}\n" for each in some)
            if number > len(some):
                yield f"    and {count(number - len(some))} more; --format json lists all\n"
    yield from _moved(moves)
    yield from _by_label(counts)


def _moved(moves: Moves) -> Iterator[str]:
    """The added records that have the content of removed ones."""
    from bezoar.report.text import count, shown

    pairs = list(moves.pairs())
    if pairs:
        least = "" if moves.complete else "at least "
        yield f"\n{least}{count(len(pairs))} of these moved: removed under one key, added under another\n"
    for old, new in pairs[:_LISTED]:
        label = "" if old.label == new.label else f" ({_label(old.label)} -> {_label(new.label)})"
        yield f"    {shown(old.key, 80)} -> {shown(new.key, 80)}{label}\n"
    if len(pairs) > _LISTED:
        yield f"    and {count(len(pairs) - _LISTED)} more\n"


def _by_label(counts: Counts) -> Iterator[str]:
    """The labels with most differences."""
    from bezoar.report.text import count

    ordered = sorted(counts.labels.items(), key=lambda item: -item[1].total())
    if ordered:
        yield "\nby label\n"
    for (before, after), kinds in ordered[:_MAX_LABELS]:
        label = _label(before) if before == after else f"{_label(before)} -> {_label(after)}"
        yield (
            f"  {label}: "
            + ", ".join(f"{count(kinds[kind])} {_WORDS.get(kind, kind)}" for kind in sorted(kinds))
            + "\n"
        )
    further = counts.further + sum(kinds.total() for _, kinds in ordered[_MAX_LABELS:])
    if further:
        yield f"  under further labels: {count(further)}\n"


def _detail(difference: Difference) -> str:
    """What differs, where the kind alone does not say it."""
    from bezoar.report.text import shown

    old, new = difference.before, difference.after
    if old is None or new is None:
        return f" ({_label((old or new).label)})"  # type: ignore[union-attr]
    parts = []
    if "label" in difference.aspects:
        parts.append(f"{_label(old.label)} -> {_label(new.label)}")
    if "content" in difference.aspects:
        parts.append(f"{old.size:,} -> {new.size:,} bytes" if old.size != new.size else f"{new.size:,} bytes")
    if "source" in difference.aspects:
        names = sorted(
            name for name in {*old.source, *new.source} if old.source.get(name) != new.source.get(name)
        )
        parts.append("source: " + shown(", ".join(names), 80))
    return f" ({'; '.join(parts)})"


def _label(label: str | None) -> str:
    from bezoar.report.text import shown

    return "no label" if label is None else shown(label, 40)


def _snapshot(seal: Seal) -> dict[str, Any]:
    return {"name": seal.name, "records": len(seal.manifest), "root": seal.tree.root().hex()}


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "key": difference.key,
        "kind": difference.kind,
        "differs": list(difference.aspects),
        "before": _row(difference.before),
        "after": _row(difference.after),
    }


def _row(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"label": row.label, "sha256": row.sha256.hex(), "size": row.size, "source": dict(row.source)}
