from __future__ import annotations

import pytest

from bezoar.bench.plan import filters, matches, plan, smoke
from bezoar.bench.settings import RATES, SETTINGS
from bezoar.bench.targets import TARGETS
from bezoar.errors import UsageError

PACKS = ["gtsrb", "sst2"]


def test_every_cell_once_with_its_own_key() -> None:
    cells = plan("all", PACKS, [0, 1, 2])
    assert len({cell.key for cell in cells}) == len(cells)
    assert {cell.rate for cell in cells if cell.setting == "badnets"} == {*RATES, 0.002}
    assert {cell.pack for cell in cells if cell.setting == "rare-word"} == {"sst2"}
    assert {cell.pack for cell in cells if cell.setting == "badnets"} == {"gtsrb"}


def test_seed_by_seed_and_high_rates_first() -> None:
    cells = plan("all", PACKS, [7, 3])
    seeds = [cell.seed for cell in cells]
    assert seeds == [7] * (len(cells) // 2) + [3] * (len(cells) // 2)
    rates = [cell.rate for cell in cells[: len(cells) // 2] if cell.kind == "attack"]
    assert len(set(rates)) > 3
    assert rates == sorted(rates, reverse=True)


def test_parts() -> None:
    matrix, power = plan("matrix", PACKS, [0]), plan("power", PACKS, [0])
    assert {cell.kind for cell in matrix} == {"attack", "clean"}
    assert [cell.kind for cell in power] == ["power", "power"]
    assert len(plan("all", PACKS, [0])) == len(matrix) + len(power)
    assert len(smoke("all")) == len(smoke("matrix")) + len(smoke("power"))


def test_at_least_twenty_clean_runs() -> None:
    assert sum(cell.kind == "clean" for cell in plan("matrix", ["gtsrb"], [0, 1, 2])) >= 20


def test_targets_speak_of_settings_and_rates_that_are_measured() -> None:
    cells = {(cell.setting, cell.rate) for cell in plan("matrix", PACKS, [0])}
    for target in TARGETS:
        for name in target.settings:
            assert name in SETTINGS
            assert any(target.speaks_of(*cell) for cell in cells if cell[0] == name), (target.title, name)
            assert target.rate is None or (name, target.rate) in cells


def test_filters() -> None:
    wanted = filters("attack=badnets, pack=gtsrb,rate=0.01,seed=1")
    chosen = [cell for cell in plan("all", PACKS, [0, 1]) if matches(cell, wanted)]
    assert {cell.setting for cell in chosen} == {
        "badnets",
        "badnets-random",
        "badnets-all-to-all",
        "badnets-one-source",
        "badnets-faint",
    }
    assert {(cell.rate, cell.seed) for cell in chosen} == {(0.01, 1)}
    power = [cell for cell in plan("all", PACKS, [0]) if matches(cell, filters("kind=power"))]
    assert power == plan("power", PACKS, [0])


@pytest.mark.parametrize(
    "text",
    [
        "badnets",
        "attack=",
        "attack=none",
        "pack=none",
        "rate=much",
        "rate=nan",
        "size=3",
        "kind=foo",
        "seed=abc",
        "seed=-1",
    ],
)
def test_filters_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        filters(text)
