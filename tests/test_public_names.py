"""The public surface, pinned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bezoar
from cli.support import parquet


def test_exported_members() -> None:
    assert bezoar.__all__ == [
        "__version__",
        "clean",
        "fetch",
        "open",
        "poison",
        "scan",
        "seal",
        "verify",
        "write",
    ]
    assert dir(bezoar) == bezoar.__all__
    for name in bezoar.__all__[1:]:
        assert callable(getattr(bezoar, name))
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        bezoar.train  # noqa: B018 - the access is the test


@pytest.mark.parametrize(
    "imports",
    [
        "import bezoar",
        "import bezoar, bezoar.scan.result",
        "import bezoar.scan.result, bezoar",
        "import bezoar; bezoar.scan; import bezoar.scan.result",
    ],
)
def test_scan_is_the_verb_whatever_was_imported_first(imports: str, tmp_path: Path) -> None:
    data = parquet(tmp_path / "data.parquet")
    code = f"""
{imports}
import sys
def fake(dataset, **options): return len(dataset), options
sys.modules.get("bezoar.scan") or __import__("bezoar.scan")
sys.modules["bezoar.scan"].scan = fake
assert bezoar.scan(bezoar.open({str(data)!r}), seed=3) == (8, {{"seed": 3}})
import bezoar.scan.result
assert bezoar.scan(bezoar.open({str(data)!r})) == (8, {{}})
assert bezoar.scan.result.Status.CLEAN
"""
    subprocess.run([sys.executable, "-c", code], check=True)
