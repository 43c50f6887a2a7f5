from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from bezoar.bench.settings import SETTINGS
from bezoar.bench.version import code_version, essence, library_versions, trial_version


def test_comments_and_layout_make_no_other_version() -> None:
    assert essence('def f():\n    """Words."""\n    return 1  # one\n') == essence("def f(): return 1")
    assert essence("x = 1") != essence("x = 2")


def test_every_module_that_is_named_exists_and_counts() -> None:
    assert re.fullmatch(r"[\w.]+\+[0-9a-f]{10}", code_version())


def test_a_trial_has_a_version_of_its_own_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: trial_version(name) for name in ("badnets", "sig")}
    assert len(set(before.values())) == 2
    monkeypatch.setitem(SETTINGS, "sig", dataclasses.replace(SETTINGS["sig"], parameters={"delta": 30.0}))
    trial_version.cache_clear()
    assert trial_version("badnets") == before["badnets"]
    assert trial_version("sig") != before["sig"]
    trial_version.cache_clear()


def test_libraries_are_named_with_their_versions() -> None:
    assert f"numpy {np.__version__}" in library_versions().split(", ")
