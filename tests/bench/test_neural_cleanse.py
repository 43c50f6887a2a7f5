from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.delitem(sys.modules, "neural_cleanse", raising=False)
    import neural_cleanse

    return neural_cleanse


def test_the_weight_follows_success_with_patience(script: Any) -> None:
    weight = script.Weight()
    values = []
    for success in [1.0] * 5 + [1.0] * 5 + [0.5] * 5 + [0.5, 1.0, 1.0, 1.0, 1.0, 0.5]:
        weight.adjust(success)
        values.append(weight.value)
    assert values[3:5] == [0.0, 1e-3]
    assert values[8:10] == [1e-3, 2e-3]
    assert values[14:] == [pytest.approx(2e-3 / 2**1.5)] * 7
    assert weight.raised
    assert weight.lowered


def test_a_label_with_a_short_way_gets_the_smallest_mask(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(script.SCHEDULE, "steps", 150)
    monkeypatch.setitem(script.SCHEDULE, "batches", 2)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(96, 1, 8, 8, generator=generator) / 2
    patterns = torch.randn(7, 64, generator=generator) / 2
    patterns[3, 0] = 40.0  # one bright pixel is enough for label 3

    def network(x: Any) -> Any:
        return x.flatten(1) @ patterns.T - 20 * torch.nn.functional.one_hot(torch.tensor(3), 7)

    found = [script.cleanse(network, images, label, seed=0) for label in range(7)]
    norms = [each["norm"] for each in found]
    assert norms[3] < 0.5 * min(norms[:3] + norms[4:])
    assert found[3] == script.cleanse(network, images, 3, seed=0) | {"cpu_seconds": found[3]["cpu_seconds"]}


def test_outliers_are_counted_in_deviations_below_the_median(script: Any) -> None:
    indices = script.anomalies([10.0, 11.0, 12.0, 13.0, 14.0, 2.0])
    assert indices[5] == pytest.approx((11.5 - 2) / (1.4826 * 1.5))
    assert [index > script.INDEX for index in indices] == [False] * 5 + [True]
