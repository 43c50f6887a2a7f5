"""A mistake in the call or in the list is told, mended, and forgotten: it pins no output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acquire.fetch_support import LOOPBACK, pictures, run, site_of, write_list
from acquire.servers import page, serve
from bezoar.acquire import Policy
from bezoar.errors import BezoarError, InputError, LimitError

CONTENTS = pictures(3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"proxy": "nonsense://x"},
        {"ca_file": Path("absent.pem")},
    ],
)
def test_a_call_that_makes_no_sense_leaves_nothing_behind(wrong: dict[str, Any], tmp_path: Path) -> None:
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        with pytest.raises(BezoarError):
            run(path, tmp_path / "out", **wrong)
        assert not (tmp_path / "out.fetch").exists()
        assert run(path, tmp_path / "out").tally.verified == 3


def test_a_malformed_list_may_be_mended(tmp_path: Path) -> None:
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        good = path.read_text()
        path.write_text(good + '"\n' + "y" * 1_100_000 + "\n")
        with pytest.raises(InputError):
            run(path, tmp_path / "out")
        assert not (tmp_path / "out.fetch").exists()
        path.write_text(good)
        assert run(path, tmp_path / "out").tally.verified == 3


def test_a_shard_that_was_too_large_may_be_chosen_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bezoar.acquire.lists.reading.MAX_SLICE", 250)
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        with pytest.raises(LimitError, match="choose fewer samples a shard"):
            run(path, tmp_path / "out")
        assert run(path, tmp_path / "out", per_shard=1).tally.verified == 3


def test_what_came_pins_the_output(tmp_path: Path) -> None:
    """Also when all that came lies in quarantine."""
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, tmp_path / "out")
        with pytest.raises(
            InputError, match=r"was begun otherwise \(allowed hosts: 127\.0\.0\.1, now none\)"
        ):
            run(path, tmp_path / "out", policy=Policy())
        server.site = site_of(CONTENTS, _0=page(b"other"))
        run(path, tmp_path / "two", policy=LOOPBACK)
        for file in (tmp_path / "two").iterdir():
            file.unlink()
        with pytest.raises(InputError, match=r"was begun otherwise \(rows a shard: 10, now 5\)"):
            run(path, tmp_path / "two", per_shard=5)
