from __future__ import annotations

import pytest

from bezoar.custody.seal import moves as module
from bezoar.custody.seal.diffing import Difference
from bezoar.custody.seal.moves import Moves
from custody.seal_tools.support import row


def test_pairs_in_the_order_of_the_keys() -> None:
    moves = Moves()
    for key in ("a", "b", "c"):
        moves.add(Difference(row(key, b"same"), None))
    for key in ("x", "y"):
        moves.add(Difference(None, row(key, b"same")))
    moves.add(Difference(None, row("z", b"other")))
    moves.add(Difference(row("k", b"other"), row("k", b"more")))
    assert [(old.key, new.key) for old, new in moves.pairs()] == [("a", "x"), ("b", "y")]
    assert moves.complete


def test_says_when_it_remembers_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    moves = Moves()
    for key in ("a", "b", "c"):
        moves.add(Difference(row(key, b"1"), None))
    moves.add(Difference(None, row("x", b"1")))
    assert not moves.complete
    assert len(list(moves.pairs())) == 1
