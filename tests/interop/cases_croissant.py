"""A sealed dataset's Croissant description: `mlcroissant` validates it and loads its records."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import material
import pyarrow as pa
import pyarrow.parquet as pq
from environments import Environment
from parties import SIGNED, bezoar
from table import Table, note

OURS, THEIRS = "bezoar", "mlcroissant"
HERE = Path(__file__).parent
CLASSES = {"cat": 3, "dog": 4}


def run(table: Table, peer: Environment, folder: Path) -> None:
    folder.mkdir()
    private, _ = material.key(folder, "p256")
    table.heading("Croissant 1.1: the description of a sealed dataset")
    for name, (path, expected) in {"folder": _folder(folder), "parquet": _parquet(folder)}.items():
        done = bezoar(
            "seal",
            path,
            "--key",
            private,
            "--license",
            "https://spdx.org/licenses/CC0-1.0",
            "--creator",
            "Us",
        )
        note(done.stderr.rstrip())
        table.row(f"{name}: we seal", OURS, SIGNED, SIGNED if done.returncode == 0 else "refused")
        description = path.with_name(f"{path.name}.seal") / "croissant.json"
        valid = _run(peer.program("mlcroissant"), "validate", "--jsonld", description)
        table.row(f"{name}: validate", THEIRS, "valid", "valid" if valid is not None else "invalid")
        found = _load(peer, description, expected)
        table.row(f"{name}: load the records", THEIRS, f"{len(expected)} right", found)
        manifest = description.with_name("manifest.parquet")
        manifest.write_bytes(manifest.read_bytes() + b"\n")
        table.row(
            f"{name}: load after the manifest changed", THEIRS, "error", _load(peer, description, expected)
        )


def _folder(folder: Path) -> tuple[Path, dict[str, tuple[str, str]]]:
    """Pictures in folders that are their labels; key to (SHA-256, label)."""
    files = {
        f"{label}/{number}.png": _png(number, place)
        for place, (label, count) in enumerate(CLASSES.items())
        for number in range(count)
    }
    tree = material.tree(folder / "pictures", files)
    expected = {
        name: (hashlib.sha256(content).hexdigest(), name.split("/")[0]) for name, content in files.items()
    }
    return tree, expected


def _parquet(folder: Path) -> tuple[Path, dict[str, tuple[str, str]]]:
    texts = [(f"text {number}", "good" if number % 2 else "bad") for number in range(10)]
    path = folder / "texts.parquet"
    columns = {"text": [text for text, _ in texts], "label": [label for _, label in texts]}
    pq.write_table(pa.table(columns), path)
    by_digest = {
        hashlib.sha256(text.encode()).hexdigest(): (hashlib.sha256(text.encode()).hexdigest(), label)
        for text, label in texts
    }
    return path, by_digest


def _load(peer: Environment, description: Path, expected: dict[str, tuple[str, str]]) -> str:
    text = _run(peer.python, HERE / "croissant_peer.py", description)
    if text is None:
        return "error"
    rows: list[dict[str, Any]] = json.loads(text.strip().splitlines()[-1])
    wanted = sorted(expected.values())
    found = sorted((row["sha256"], row["label"]) for row in rows)
    return f"{len(rows)} right" if found == wanted else f"{len(rows)} rows that differ"


def _run(*command: object) -> str | None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        note(f"      {done.stderr.strip()[-600:]}")
        return None
    return done.stdout


def _png(number: int, place: int) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number * 20, place * 200, 7)).save(buffer, "PNG")
    return buffer.getvalue()
