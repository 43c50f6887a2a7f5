from __future__ import annotations

import re

import numpy as np

from bezoar.bench.version import code_version, essence, library_versions


def test_comments_and_layout_make_no_other_version() -> None:
    assert essence('def f():\n    """Words."""\n    return 1  # one\n') == essence("def f(): return 1")
    assert essence("x = 1") != essence("x = 2")


def test_every_module_that_is_named_exists_and_counts() -> None:
    assert re.fullmatch(r"[\w.]+\+[0-9a-f]{10}", code_version())


def test_libraries_are_named_with_their_versions() -> None:
    assert f"numpy {np.__version__}" in library_versions().split(", ")
