"""Which cells a benchmark consists of.

They are measured seed by seed, so that a part is balanced, and within a seed high rates come first: an attack that does not take
there need not be tried at lower ones (`weak.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from bezoar.bench.honest import KINDS
from bezoar.bench.packs import PACKS, SYNTHETIC
from bezoar.bench.settings import RATES, SETTINGS
from bezoar.errors import UsageError

Kind = Literal["attack", "clean", "power"]
Part = Literal["matrix", "potency", "power", "all"]
RECORDS, EPOCHS, DEPTH = 5_000, 8, "standard"
_FILTERS = ("kind", "attack", "pack", "rate", "seed")


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement.

    `setting` names an attack setting, a kind of honest data, or "canaries"; `rate` is 0 without poison of a chosen rate.
    """

    kind: Kind
    setting: str
    pack: str
    rate: float
    seed: int
    records: int = RECORDS
    depth: str = DEPTH
    epochs: int = EPOCHS

    @property
    def key(self) -> str:
        """Names the measurement, whatever code makes it."""
        rate = f"/{self.rate:g}" if self.rate else ""
        return (
            f"{self.kind}/{self.setting}/{self.pack}{rate}/{self.seed}"
            f"/{self.records}/{self.depth}/{self.epochs}"
        )

    def fields(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Task:
    """A cell to measure.

    `trained` is an earlier outcome that says how the same trial went; without `scanned` its scan is left out.
    """

    cell: Cell
    trained: dict[str, Any] | None = None
    scanned: bool = True


def plan(
    part: Part,
    packs: Sequence[str],
    seeds: Sequence[int],
    *,
    records: int = RECORDS,
    depth: str = DEPTH,
    epochs: int = EPOCHS,
) -> list[Cell]:
    """The matrix (attacks x packs x rates, and honest data at two sizes), its attacks alone ("potency"), the trials of power
    statements, or all.
    """
    cells: list[Cell] = []
    for seed in seeds:
        if part != "power":
            cells += _attacks(packs, seed, records, depth, epochs)
        if part in ("matrix", "all"):
            cells += _honest(packs, seed, records, depth, epochs)
        if part in ("power", "all"):
            cells += [Cell("power", "canaries", name, 0.0, seed, records, depth, epochs) for name in packs]
    return sorted(cells, key=lambda cell: (seeds.index(cell.seed), _turn(cell)))


def _attacks(packs: Sequence[str], seed: int, records: int, depth: str, epochs: int) -> Iterator[Cell]:
    for setting in SETTINGS.values():
        for rate in sorted({*RATES, *setting.extra_rates}):
            for name in packs:
                if PACKS[name].modality == setting.modality:
                    yield Cell("attack", setting.name, name, rate, seed, records, depth, epochs)


def _honest(packs: Sequence[str], seed: int, records: int, depth: str, epochs: int) -> Iterator[Cell]:
    for kind in KINDS:
        for size in (records, records // 2):
            for name in packs:
                yield Cell("clean", kind, name, 0.0, seed, size, depth, epochs)


def _turn(cell: Cell) -> tuple[int, float]:
    """Clean data, power, then attacks from high rates to low ones."""
    return ("clean", "power", "attack").index(cell.kind), -cell.rate


def smoke(part: Part) -> list[Cell]:
    """A few seconds' worth on synthetic data: whether the machinery runs, never how good a scan is."""
    matrix = [
        Cell("clean", "subsample", SYNTHETIC, 0.0, 0, 400, "quick", 1),
        Cell("attack", "badnets", SYNTHETIC, 0.05, 0, 400, "quick", 15),
        Cell("attack", "tact", SYNTHETIC, 0.6, 0, 400, "quick", 1),  # impossible: more than a class holds
    ]
    power = [Cell("power", "canaries", SYNTHETIC, 0.0, 0, 400, "quick", 1)]
    return {"matrix": matrix, "potency": matrix[1:], "power": power, "all": matrix + power}[part]


def filters(text: str) -> dict[str, set[str]]:
    """`attack=badnets,attack=sig,pack=gtsrb` as the values wanted per name; UsageError for another form."""
    wanted: dict[str, set[str]] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in _FILTERS or not value:
            known = ", ".join(f"{name}=..." for name in _FILTERS)
            raise UsageError(f"filter {part.strip()!r}: give {known}, separated by commas")
        wanted.setdefault(name, set()).add(value)
    _known("kind", wanted, set(get_args(Kind)))
    _known("attack", wanted, {*SETTINGS, *(setting.attack for setting in SETTINGS.values()), *KINDS})
    _known("pack", wanted, set(PACKS))
    for value in wanted.get("rate", set()):
        try:
            finite = math.isfinite(float(value))
        except ValueError:
            finite = False
        if not finite:
            raise UsageError(f"rate {value!r} is no number; 0.01 is 1 %")
    for value in wanted.get("seed", set()):
        if not (value.isascii() and value.isdecimal()):
            raise UsageError(f"seed {value!r} is no whole number")
    return wanted


def matches(cell: Cell, wanted: Mapping[str, set[str]]) -> bool:
    """Whether `cell` passes the filters; an attack is named by its setting or by its registered name."""
    setting = SETTINGS.get(cell.setting)
    names: dict[str, set[str]] = {
        "kind": {cell.kind},
        "attack": {cell.setting, setting.attack if setting else cell.setting},
        "pack": {cell.pack},
        "seed": {str(cell.seed)},
    }
    rates = {float(value) for value in wanted.get("rate", set())}
    return all(names[name] & values for name, values in wanted.items() if name != "rate") and (
        not rates or cell.rate in rates
    )


def _known(name: str, wanted: Mapping[str, set[str]], known: set[str]) -> None:
    unknown = sorted(wanted.get(name, set()) - known)
    if unknown:
        raise UsageError(f"unknown {name} {unknown[0]!r}; known: {', '.join(sorted(known))}")
