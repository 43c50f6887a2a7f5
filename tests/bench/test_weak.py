from __future__ import annotations

from dataclasses import replace

from bench.support import attack_entry
from bezoar.bench.plan import Cell, Task
from bezoar.bench.run import _needed
from bezoar.bench.weak import Weak

CELL = Cell("attack", "badnets", "gtsrb", 0.01, 0)


def test_only_lower_rates_of_the_same_trial_are_implied() -> None:
    weak = Weak([attack_entry(replace(CELL, rate=0.003), took=False), attack_entry(CELL, took=False)])
    assert weak.implies(replace(CELL, rate=0.005))
    assert not weak.implies(CELL)
    assert not weak.implies(replace(CELL, rate=0.05))
    for other in (
        {"seed": 1},
        {"pack": "cifar10"},
        {"setting": "sig"},
        {"records": 2_500},
        {"depth": "deep"},
    ):
        assert not weak.implies(replace(CELL, rate=0.001, **other))


def test_attacks_that_took_or_want_nothing_imply_nothing() -> None:
    weak = Weak([attack_entry(CELL), attack_entry(replace(CELL, seed=1), took=None)])
    assert not weak.implies(replace(CELL, rate=0.001))
    assert not weak.implies(replace(CELL, rate=0.001, seed=1))


def test_a_run_passes_over_what_is_implied_meanwhile() -> None:
    low, other = replace(CELL, rate=0.001), replace(CELL, rate=0.001, seed=1)
    weak = Weak()
    waiting = _needed([Task(CELL), Task(low), Task(other)], float("inf"), weak)
    assert next(waiting) == Task(CELL)
    weak.learn(attack_entry(CELL, took=False))
    assert list(waiting) == [Task(other)]
