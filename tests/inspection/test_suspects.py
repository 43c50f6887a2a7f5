from __future__ import annotations

import numpy as np

from bezoar.inspect.suspects import Suspect, suspects, turned
from bezoar.inspect.triage import Pair, Triage


def triage(p_values: list[float], pairs: tuple[Pair, ...] = (), **statistics: list[float]) -> Triage:
    family = min(1.0, min(p_values) * len(p_values), *(pair.p_value for pair in pairs))
    return Triage(
        {name: np.array(values) for name, values in statistics.items()}, np.array(p_values), family, pairs
    )


def test_labels_in_doubt_are_suspects_with_their_family_wise_p_values() -> None:
    found = suspects(triage([0.5, 0.001, 0.9, 0.01, 0.3]))
    assert [(suspect.target, suspect.p_value) for suspect in found] == [(1, 0.005), (3, 0.05)]
    assert found[0].kind == "all-to-one"
    assert turned(found[0].ways, np.array([0, 1, 4])).tolist() == [1, -1, 1]


def test_nothing_in_doubt_gives_no_suspect() -> None:
    assert suspects(triage([0.5, 0.1, 0.9, 0.4, 0.3])) == []


def test_of_two_labels_both_are_suspects() -> None:
    assert [suspect.target for suspect in suspects(triage([1.0, 1.0]))] == [0, 1]


def test_the_kind_that_sets_a_label_apart_is_tried_first() -> None:
    spread = [1.0, 1.1, 0.9, 1.05, 0.95]
    found = suspects(
        triage([1, 1, 1, 1, 1e-4], patch=spread, shift=[*spread[:4], -3.0], warp=[*spread[:4], 0.0])
    )
    assert found[0].triggers == ("shift", "warp", "patch", "wave")


def test_of_pairs_with_one_target_the_most_significant_is_looked_into() -> None:
    found = suspects(triage([0.5] * 6, (Pair(3, 1, 1e-4), Pair(4, 1, 0.02), Pair(5, 2, 0.5))))
    assert found == [Suspect("source-specific", {3: 1}, 1e-4)]
    assert found[0].target == 1


def test_pairs_with_many_targets_are_a_shift_of_labels() -> None:
    found = suspects(triage([0.5] * 5, tuple(Pair(k, (k + 1) % 5, 1e-3 * (k + 1)) for k in range(5))))
    assert [suspect.kind for suspect in found] == ["all-to-all"]
    assert found[0].ways == {0: 1, 1: 2, 2: 3, 3: 4, 4: 0}
    assert found[0].target is None


def test_a_few_pairs_among_many_labels_are_no_shift() -> None:
    found = suspects(triage([0.5] * 10, (Pair(0, 6, 1e-3), Pair(6, 4, 1e-3), Pair(7, 9, 0.02))))
    assert [(suspect.kind, suspect.ways) for suspect in found] == [
        ("source-specific", {0: 6}),
        ("source-specific", {6: 4}),
        ("source-specific", {7: 9}),
    ]


def test_a_pair_does_not_lend_its_significance_to_a_label() -> None:
    found = suspects(triage([0.5, 0.01, 0.9, 0.8, 0.3], (Pair(0, 1, 1e-3),)))
    assert [(suspect.kind, suspect.p_value) for suspect in found] == [
        ("all-to-one", 0.05),
        ("source-specific", 1e-3),
    ]
