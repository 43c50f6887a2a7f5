"""Fixtures that every test may use."""

from __future__ import annotations

import importlib
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as a shell starts what runs in the background; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def packs() -> Path:
    """The folder of real data packs; skips the test where they are absent."""
    path = Path(os.environ.get("BEZOAR_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"real data packs are not at {path} (set BEZOAR_DATA)")
    return path


@pytest.fixture(scope="session")
def torchvision_operators() -> Iterator[None]:
    """torchvision can be imported although its own operators, which no classifier uses, were built for another torch."""
    stand_in = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("torchvision")
    except ImportError:
        pass
    except RuntimeError:
        library = importlib.import_module("torch.library")
        stand_in = library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            stand_in.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield
    del stand_in  # torch forgets the operators with it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: a long test that starts last leaves the other workers idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
