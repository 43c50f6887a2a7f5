from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bezoar.scan.detectors import DAO, DeepKNN, KDistance, NeighbourGraph
from bezoar.scan.functional import neighbour_tiles


@pytest.mark.parametrize("k", [0, -3, 2.5, (), (8, 0), "many"])
def test_k_is_checked_when_fitting(k: object) -> None:
    with pytest.raises(ValueError, match="k must be"):
        KDistance(k=k).fit(np.eye(5))  # type: ignore[arg-type]


def test_one_k_is_enough() -> None:
    features = np.random.default_rng(0).normal(size=(50, 4))
    one, pair = KDistance(3).fit(features).scores_, KDistance((3, 60)).fit(features).scores_
    assert (pair >= one).all()
    assert (pair > one).any()


def test_a_graph_of_other_records_or_too_few_neighbours_is_refused() -> None:
    features = np.random.default_rng(0).normal(size=(200, 4))
    with pytest.raises(ValueError, match="graph is of 199 records, not 200"):
        DAO().fit(features, neighbours=NeighbourGraph.of(features[1:]))
    with pytest.raises(ValueError, match="10 neighbours a record; 64"):
        DAO().fit(features, neighbours=NeighbourGraph.of(features, 10))
    assert DAO(10).fit(features, neighbours=NeighbourGraph.of(features, 10)).scores_.shape == (200,)


def test_a_shared_graph_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(0).normal(size=(200, 4))
    graph = NeighbourGraph.of(features)
    monkeypatch.setattr(neighbour_tiles, "search", lambda *args, **kwargs: pytest.fail("searched again"))
    DAO().fit(features, neighbours=graph)
    DeepKNN().fit(features, np.arange(200) % 2, neighbours=graph)


def test_new_records_need_as_many_columns_and_labels() -> None:
    features = np.random.default_rng(0).normal(size=(100, 4))
    with pytest.raises(ValueError, match="5 columns"):
        DAO().fit(features).score_samples(np.ones((2, 5)))
    with pytest.raises(ValueError, match="give y"):
        DeepKNN().fit(features, np.arange(100) % 2).score_samples(features[:3])


def test_a_label_that_was_never_seen_disagrees_with_everybody() -> None:
    features = np.random.default_rng(0).normal(size=(100, 4))
    detector = DeepKNN().fit(features, np.repeat(["a", "b"], 50))
    assert (detector.score_samples(features[:3], np.array(["new"] * 3)) > 0.4).all()


def test_the_command_line_does_not_import_scikit_learn() -> None:
    code = "import sys, bezoar.cli.main, bezoar.scan; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
