import sys
from pathlib import Path

import pytest

ATTACKS = ("clean", "badnets")


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.delitem(sys.modules, "peers_table", raising=False)
    import peers_table

    return peers_table.table


def row(attack, seed, method, planted=0, flagged_clean=0, **more):
    features = "scan" if method == "bezoar" else "encoder"
    return {
        "pack": "gtsrb",
        "attack": attack,
        "seed": seed,
        "features": features,
        "method": method,
        "seconds": 1.0,
        "planted": 50 if attack != "clean" else 0,
        "flagged_planted": planted,
        "clean": 950,
        "flagged_clean": flagged_clean,
        **more,
    }


def line(text, method):
    return next(line for line in text.splitlines() if line.startswith(f"| {method}"))


def results(*rows):
    trials = [
        {"pack": "gtsrb", "attack": "badnets", "seed": seed, "of_label": share}
        for seed, share in ((1, 0.25), (0, 0.6))
    ]
    return {"versions": ["pyod 1.0"], "machines": ["a machine"], "trials": trials, "rows": list(rows)}


def test_means_and_spread_over_seeds(table):
    text = table(
        results(
            row("clean", 0, "pyod-knn", flagged_clean=95),
            row("badnets", 0, "pyod-knn", planted=10, flagged_clean=95),
            row("badnets", 1, "pyod-knn", planted=40, flagged_clean=95),
        ),
        ATTACKS,
    )
    cells = line(text, "PyOD KNN").split(" | ")
    assert cells[2:] == ["50 % (20 to 80)", "10.00 %", "10.00 %", "no verdict; flags in 1 of 1", "1.0 |"]
    assert "5.0% poison, seeds 0, 1" in text
    assert "by seed: badnets 60% / 25%." in text


def test_our_verdicts_are_counted(table):
    said = [
        row("clean", seed, "bezoar", verdict=verdict) for seed, verdict in enumerate(("clean", "poisoned"))
    ]
    cells = line(table(results(*said), ATTACKS), "**Bezoar**").split(" | ")
    assert cells[2] == "not run"
    assert cells[5] == "1 clean, 1 poisoned"


def test_what_a_peer_raises_is_told(table):
    failed = {**row("badnets", 0, "art-spectral"), "error": "TypeError: no"}
    for count in ("planted", "clean", "flagged_planted", "flagged_clean"):
        del failed[count]
    text = table(results(row("badnets", 0, "pyod-knn"), failed), ATTACKS)
    assert line(text, "ART SpectralSignatureDefense").split(" | ")[2] == "error"
    assert "`TypeError: no`" in text
