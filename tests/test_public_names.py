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
        "inspect",
        "open",
        "open_model",
        "poison",
        "repair",
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


@pytest.mark.parametrize("verb", ["inspect", "scan"])
@pytest.mark.parametrize(
    "imports",
    [
        "import bezoar",
        "import bezoar, bezoar.VERB.result",
        "import bezoar.VERB.result, bezoar",
        "import bezoar; bezoar.VERB; import bezoar.VERB.result",
    ],
)
def test_packages_are_their_verbs_whatever_was_imported_first(
    imports: str, verb: str, tmp_path: Path
) -> None:
    data = parquet(tmp_path / "data.parquet")
    code = f"""
{imports.replace("VERB", verb)}
import sys
def fake(dataset, **options): return len(dataset), options
sys.modules.get("bezoar.{verb}") or __import__("bezoar.{verb}")
sys.modules["bezoar.{verb}"].{verb} = fake
assert bezoar.{verb}(bezoar.open({str(data)!r}), seed=3) == (8, {{"seed": 3}})
import bezoar.{verb}.result
assert bezoar.{verb}(bezoar.open({str(data)!r})) == (8, {{}})
assert bezoar.{verb}.result.Status.CLEAN
"""
    subprocess.run([sys.executable, "-c", code], check=True)
