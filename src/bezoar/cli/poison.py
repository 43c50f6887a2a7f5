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


class _Command(click.Command):
    """Help in two steps: the attacks, and with `--attack NAME` the options of that one."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options that every attack has; then the attacks, or the chosen one's own options."""
        own = [
            param for param in self.get_params(ctx) if not isinstance(param, _AttackOption | click.Argument)
        ]
        with formatter.section("Options"):
            formatter.write_dl([row for param in own if (row := param.get_help_record(ctx))])
        chosen = ctx.params.get("name")
        if chosen is None:
            with formatter.section("Attacks (--attack NAME --help: its options)"):
                formatter.write_dl([(name, _summary(attack)) for name, attack in ATTACKS.items()])
        else:
            with formatter.section(f"Options of {chosen} ({ATTACKS[chosen].paper})"):
                formatter.write_dl([_help_row(ATTACKS[chosen], field) for field in _fields(ATTACKS[chosen])])


class _AttackOption(click.Option):
    """An option that is made from a field."""


def _attack_options() -> list[_AttackOption]:
    """One option per field name over all attacks; an attack that lacks the field refuses it later."""
    kinds = {
        field.name: _option_type(attack, field) for _, attack in ATTACKS.items() for field in _fields(attack)
    }
    return [_AttackOption([_flag(name), name], type=kind) for name, kind in kinds.items()]


def _help_row(attack: type[Any], field: dataclasses.Field[Any]) -> tuple[str, str]:
    metavar = (
        "LABEL"
        if field.name in _LABELS
        else click.types.convert_type(_option_type(attack, field)).name.upper()
    )
    words = str(field.metadata.get("help", ""))
    if field.default is dataclasses.MISSING:
        words += "  [required]"
    elif field.default is not None:
        words += f"  [default: {field.default}]"
    return f"{_flag(field.name)} {metavar}", words


def _summary(attack: type[Any]) -> str:
    """The first paragraph of its docstring; which modality where it is not images."""
    words = " ".join((attack.__doc__ or "").partition("\n\n")[0].replace("`", "").split())
    kind = {"image": "", "text": "Texts. ", None: "Images and texts. "}[attack.modality]
    return kind + words


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _option_type(attack: type[Any], field: dataclasses.Field[Any]) -> type:
    return str if field.name in _LABELS else _plain_type(typing.get_type_hints(attack)[field.name])


def _fields(attack: type[Any]) -> list[dataclasses.Field[Any]]:
    """Labels first."""
    return sorted(dataclasses.fields(attack), key=lambda field: field.name not in _LABELS)


def _plain_type(hint: Any) -> type:
    """`int` of `int | None`."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return hint if hint in (int, float, bool) else str


@click.command("poison", cls=_Command)
@click.argument("path", metavar="DATASET", type=PATH)
@click.argument("out", type=PATH)
@click.option(
    "--attack",
    "name",
    metavar="NAME",
    type=click.Choice(list(ATTACKS)),
    required=True,
    is_eager=True,  # so that --help after it knows which
    help="How to poison.",
)
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
        raise UsageError(f"{_flag(foreign[0])} is not an option of the attack {name}")
    for field in fields.values():
        if field.default is dataclasses.MISSING and field.name not in given:
            raise UsageError(f"the attack {name} needs {_flag(field.name)}")


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
