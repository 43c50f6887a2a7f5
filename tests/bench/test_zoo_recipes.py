from __future__ import annotations

from collections import Counter

from bezoar.attacks import ATTACKS
from bezoar.bench.settings import SETTINGS
from bezoar.bench.zoo.recipes import KINDS, SMOKE, Recipe, recipes
from bezoar.bench.zoo.tasks import TASKS

ALL = recipes()
DEVELOPMENT = [recipe for recipe in recipes("development") if recipe.role == "development"]
CLEAN = [recipe for recipe in ALL if recipe.poison is None]
BACKDOORED = [recipe for recipe in ALL if recipe.poison is not None]


def _kinds(chosen: list[Recipe]) -> Counter[str]:
    """How many there are of each task, network, augmentation and poison."""
    return Counter(str((r.task, r.architecture, r.augmented, r.poison)) for r in chosen)


def _places(chosen: list[Recipe]) -> set[tuple[str, str]]:
    return {(recipe.task, recipe.architecture) for recipe in chosen}


def test_calibration_and_test_models_share_no_seed_and_every_place() -> None:
    calibrating = [recipe for recipe in ALL if recipe.role == "calibration"]
    testing = [recipe for recipe in CLEAN if recipe.role == "test"]
    assert len(calibrating) >= 22
    assert len(testing) >= 22
    assert all(recipe.poison is None for recipe in calibrating)
    assert len({recipe.seed for recipe in ALL}) == len(ALL)
    assert not {recipe.seed for recipe in ALL} & {recipe.seed for recipe in DEVELOPMENT}
    assert _kinds(DEVELOPMENT) == _kinds([recipe for recipe in ALL if recipe.role == "test"])
    assert _places(calibrating) == _places(testing) == _places(ALL)
    assert (
        {recipe.augmented for recipe in calibrating}
        == {recipe.augmented for recipe in testing}
        == {True, False}
    )


def test_every_kind_of_attack_is_there_often_enough() -> None:
    counts = Counter(KINDS[recipe.poison.setting] for recipe in BACKDOORED if recipe.poison)
    assert len(BACKDOORED) >= 34
    assert min(counts["BadNets"], counts["Blended"]) >= 5
    assert set(counts) == set(KINDS.values())
    assert min(counts.values()) >= 4
    for recipe in BACKDOORED:
        assert recipe.poison is not None
        assert SETTINGS[recipe.poison.setting].attack in ATTACKS
        assert 0 < recipe.poison.rate <= 0.2


def test_names_say_nothing_of_what_a_model_is() -> None:
    names = [recipe.name for recipe in ALL]
    assert len(set(names)) == len(names)
    for recipe in [*ALL, *SMOKE]:
        assert recipe.name == f"{recipe.task}-{recipe.architecture}-{recipe.seed:03}"


def test_both_tasks_of_targets_come_early_and_every_network_is_trained_for_some_time() -> None:
    early = [(r.task, r.architecture, r.poison.setting if r.poison else None) for r in ALL[:6]]
    assert {each[:2] for each in early} == {("cifar10", "resnet"), ("gtsrb", "resnet")}
    assert {each[2] for each in early} == {None, "badnets", "blended-noise"}
    assert all(TASKS[recipe.task].epochs[recipe.architecture] >= 1 for recipe in [*ALL, *SMOKE])


def test_the_list_is_the_same_every_time() -> None:
    assert recipes() == ALL
