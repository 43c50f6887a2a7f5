"""`bezoar poison DATASET OUT --attack NAME --rate R ...`: a poisoned copy, to measure defences.

The options of each attack are made from the fields of its dataclass, so that an attack that registers itself
has its options on the command line.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from bezoar.attacks import ATTACKS
from bezoar.cli.options import PATH, check_output, dataset_options, open_dataset, seed_option, to_label
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.attacks import Attack, GradientEncoder, Surrogate
    from bezoar.data.dataset import Dataset

_LABELS = frozenset({"source", "target"})  # given by name or number, kept as numbers


def _attack_options() -> list[click.Option]:
    """One option per field name over all attacks; an attack that lacks the field refuses it later."""
    helps: dict[str, dict[str, list[str]]] = {}
    kinds: dict[str, type] = {}
    for name, attack in ATTACKS.items():
        hints = typing.get_type_hints(attack)
        for field in _fields(attack):
            kinds[field.name] = str if field.name in _LABELS else _plain_type(hints[field.name])
            words = str(field.metadata.get("help", ""))
            if field.default not in (dataclasses.MISSING, None):
                words += f" [{field.default}]"
            helps.setdefault(field.name, {}).setdefault(words, []).append(name)
    return [
        click.Option(
            ["--" + name.replace("_", "-"), name],
            type=kind,
            metavar="LABEL" if name in _LABELS else None,
            help="; ".join(f"{', '.join(attacks)}: {words}" for words, attacks in helps[name].items()) + ".",
        )
        for name, kind in kinds.items()
    ]


def _fields(attack: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(attack)


def _plain_type(hint: Any) -> type:
    """`int` of `int | None`."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return hint if hint in (int, float, bool) else str


@click.command("poison")
@click.argument("path", metavar="DATASET", type=PATH)
@click.argument("out", type=PATH)
@click.option("--attack", "name", type=click.Choice(list(ATTACKS)), required=True, help="How to poison.")
@click.option("--rate", type=float, required=True, help="Share of all records to poison: 0.01 is 1 %.")
@click.option("--truth", type=PATH, metavar="FILE", help="Where the ground truth goes [OUT.truth.json].")
@click.option(
    "--encoder", metavar="SPEC", default="default", show_default=True, help="For attacks that need one."
)
@seed_option
@dataset_options
def command(
    path: Path,
    out: Path,
    name: str,
    rate: float,
    truth: Path | None,
    encoder: str,
    seed: int,
    label_column: str | None,
    content_column: str | None,
    **parameters: Any,
) -> int:
    """Write to OUT a copy of DATASET with poison in it, and the ground truth beside it.

    DATASET is not touched. Use it on your own data, to find out what a defence would have noticed.
    """
    from bezoar.attacks import poison, write_poisoned
    from bezoar.report.text import count, shown

    check_output(out, path)
    given = {key: value for key, value in parameters.items() if value is not None}
    _refuse_foreign(name, given)
    dataset = open_dataset(path, label_column, content_column)
    attack = _build(dataset, name, given)
    copy = poison(
        dataset,
        attack,
        rate=rate,
        seed=seed,
        encoder=_encoder(attack, encoder, dataset, seed),
        surrogate=_surrogate(attack, dataset, seed),
    )
    written = write_poisoned(copy, out, truth)
    sidecar = truth or out.with_name(out.name + ".truth.json")
    cover = sum(record.role == "cover" for record in written.records)
    total = f"{count(len(written.records) - cover)} of {count(len(dataset), 'record')} poisoned"
    if cover:
        total += f", {count(cover)} more with the trigger as cover"
    click.echo(f"{total}: {shown(str(out), 1000)}\nground truth: {shown(str(sidecar), 1000)}")
    return 0


command.params.extend(_attack_options())


def _refuse_foreign(name: str, given: dict[str, Any]) -> None:
    """UsageError for an option that belongs to another attack, or when a required one is missing."""
    fields = {field.name: field for field in _fields(ATTACKS[name])}
    foreign = sorted(set(given) - set(fields))
    if foreign:
        raise UsageError(f"--{foreign[0].replace('_', '-')} is not an option of the attack {name}")
    for field in fields.values():
        if field.default is dataclasses.MISSING and field.name not in given:
            raise UsageError(f"the attack {name} needs --{field.name.replace('_', '-')}")


def _build(dataset: Dataset, name: str, given: dict[str, Any]) -> Attack:
    values = {key: to_label(dataset, value) if key in _LABELS else value for key, value in given.items()}
    return ATTACKS[name](**values)


def _encoder(attack: Attack, spec: str, dataset: Dataset, seed: int) -> GradientEncoder | None:
    """The fitted encoder, for attacks that follow its gradient; whether it has one is theirs to judge."""
    if "encoder" not in attack.needs:
        return None
    from bezoar.embed import fit, resolve

    return cast("GradientEncoder", fit(dataset, resolve(spec), seed))


def _surrogate(attack: Attack, dataset: Dataset, seed: int) -> Surrogate | None:
    """A network trained on the clean dataset, for attacks that reckon with one."""
    if "surrogate" not in attack.needs:
        return None
    from bezoar.models.surrogate import train_surrogate

    return train_surrogate(dataset, seed=seed)
