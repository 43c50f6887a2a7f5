"""Of a thousand labels those that stand out are looked at closely, and others beside them."""

from __future__ import annotations

import numpy as np

from bezoar.inspect.shortlist import FEW, shortlist

K = 1000


def statistics(**lowest):
    """Three statistics of K labels, in each of which some label is far below the others."""
    rng = np.random.default_rng(1)
    values = {name: rng.normal(size=K) for name in ("latent", "wave", "noise")}
    for name, label in lowest.items():
        values[name][label] = -20.0
    return values


def test_few_labels_are_all_looked_at():
    assert shortlist({}, FEW, 0).tolist() == list(range(FEW))


def test_a_label_that_stands_out_in_any_statistic_is_chosen():
    chosen = shortlist(statistics(latent=17, wave=500, noise=999), K, 0)
    assert {17, 500, 999} <= set(chosen.tolist())
    assert len(chosen) < 64
    assert np.array_equal(chosen, np.unique(chosen))


def test_the_others_are_drawn_anew_by_each_seed_and_not_by_what_they_look_like():
    values = statistics()
    first, same, other = (set(shortlist(values, K, seed).tolist()) for seed in (0, 0, 1))
    assert first == same != other
    drawn = np.array(sorted(first ^ other))
    assert abs(values["latent"][drawn].mean()) < 0.5  # they are ordinary ones


def test_what_was_not_measured_is_not_taken_for_low():
    values = statistics(latent=3)
    values["latent"][4:600] = np.nan
    assert 3 in shortlist(values, K, 0)
    assert len(shortlist({}, K, 0)) >= 16
