"""Splits keep groups whole and are repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar import data
from bezoar.errors import UsageError

from .builders import CASES, COUNT


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> data.Dataset:
    return data.open(CASES["parquet"].build(tmp_path_factory.mktemp("split")))


@settings(max_examples=40, deadline=None)
@given(fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**32), group=st.sampled_from([None, "track"]))
def test_a_split_is_a_partition_that_keeps_groups(
    dataset: data.Dataset, fraction: float, seed: int, group: str | None
) -> None:
    first, second = data.split(dataset, fraction, group=group, seed=seed)
    keys = [*first.keys.to_pylist(), *second.keys.to_pylist()]
    assert sorted(keys) == sorted(dataset.keys.to_pylist())
    if group is None:
        assert abs(len(first) - fraction * COUNT) <= 1
    else:
        assert not set(first.column(group)) & set(second.column(group))
        assert abs(len(first) - fraction * COUNT) <= 4  # a group
    assert data.split(dataset, fraction, group=group, seed=seed)[0].keys.equals(first.keys)


def test_different_seeds_split_differently(dataset: data.Dataset) -> None:
    splits = {tuple(data.split(dataset, 0.5, seed=seed)[0].keys.to_pylist()) for seed in range(10)}
    assert len(splits) > 5


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_a_fraction_out_of_range(dataset: data.Dataset, fraction: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        data.split(dataset, fraction, seed=0)


def test_an_unknown_group_names_the_columns(dataset: data.Dataset) -> None:
    with pytest.raises(UsageError, match="columns: track"):
        data.split(dataset, 0.5, group="nothing", seed=0)


def test_selecting_by_label_name(dataset: data.Dataset) -> None:
    chosen = data.with_labels(dataset, ["dog", "frog"])
    assert {chosen.label_name(int(y)) for y in chosen.labels} == {"dog", "frog"}
    assert len(chosen) == np.isin(dataset.labels, [1, 2]).sum()
    with pytest.raises(UsageError, match="no label 'cow'; labels: cat, dog, frog"):
        data.with_labels(dataset, ["cow"])
