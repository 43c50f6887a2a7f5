"""Writing a poisoned copy and its ground truth, both or neither."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from bezoar.attacks.poisoning import PoisonedCopy
from bezoar.attacks.truth import Truth
from bezoar.data import write
from bezoar.errors import UsageError
from bezoar.files import atomic_file, refuse_existing


def write_poisoned(copy: PoisonedCopy, out: Path, truth_path: Path | None = None) -> Truth:
    """Write the copy to `out`, in its format, and the ground truth beside it (by default `<out>.truth.json`).

    Returns the truth with the keys as written. Either both are written or neither is. UsageError when the
    truth would lie inside the copy, or anything inside the original.
    """
    out = Path(out)
    sidecar = Path(truth_path) if truth_path is not None else out.with_name(out.name + ".truth.json")
    _refuse_inside(sidecar, out, "the ground truth must stay outside the poisoned copy")
    for path in (sidecar, out):
        _refuse_inside(path, copy.dataset.path, "a poisoned copy must stay outside the original dataset")
    refuse_existing(out)
    written = False
    try:
        with atomic_file(sidecar) as file:
            keys = write(copy.dataset, out)
            written = True
            truth = _with_keys(copy, keys)
            file.write(truth.to_json())
    except BaseException:
        if written:
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        raise
    return truth


def _with_keys(copy: PoisonedCopy, keys: list[str]) -> Truth:
    """The truth with the keys that the records got when they were written."""
    written = dict(zip(copy.dataset.keys.to_pylist(), keys, strict=True))
    records = tuple(replace(record, key=written[record.key]) for record in copy.truth.records)
    details = dict(copy.truth.details)
    if "target_key" in details:
        details["target_key"] = written[details["target_key"]]
    return replace(copy.truth, details=details, records=records)


def _refuse_inside(path: Path, folder: Path, why: str) -> None:
    if path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{path}: lies in {folder}; {why}; choose another path")
