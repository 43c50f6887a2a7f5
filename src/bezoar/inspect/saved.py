"""An inspection as files, and back.

    inspection.json  everything but arrays and pictures (`bezoar-inspection-1`)
    triggers.npz     `pattern_N` and `mask_N`, float32, of finding N: stored, not compressed, so that the file's own size
                     bounds what is read

Pictures do not come back: whoever wants to see them opens the report. What is read is hostile: sizes are capped, no array is made
before its header has been held against the document, and nothing is unpickled.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bezoar.custody.signing.strict_json import parse_object
from bezoar.errors import InputError, LimitError
from bezoar.files import atomic_directory, plain, read_file
from bezoar.inspect.result import Finding, InspectionResult, LabelReport, Severity, Status, Verdict
from bezoar.inspect.trigger import Kind, Trigger

SCHEMA = "bezoar-inspection-1"
DOCUMENT, TRIGGERS = "inspection.json", "triggers.npz"
_MAX_DOCUMENT, _MAX_TRIGGERS = 64 << 20, 256 << 20
_MAX_DEPTH = 16
_MAX_CLASSES = 1 << 20
_MAX_FINDINGS = 4096
_MAX_SIDE, _MAX_CHANNELS = 4096, 4

Json = dict[str, Any]
_Type = TypeVar("_Type")


def as_json(result: InspectionResult) -> Json:
    """The inspection as JSON types only; NaN and infinities become null. Arrays and pictures are left out."""
    document: Json = plain(
        {
            "schema": SCHEMA,
            "version": result.version,
            "model": {
                "path": result.path,
                "format": result.format,
                "digest": result.digest,
                "architecture": result.architecture,
                "preprocessing": result.preprocessing,
            },
            "data": {"path": result.data, "images": result.images, "accuracy": result.accuracy},
            "settings": {"seed": result.seed, "device": result.device, "alpha": result.verdict.alpha},
            "verdict": {
                "status": str(result.verdict.status),
                "p_value": result.verdict.p_value,
                "summary": result.verdict.summary,
                "limits": result.verdict.limits,
            },
            "label_names": result.label_names,
            "labels": [
                {"label": row.label, "name": row.name, "statistics": row.statistics, "p_value": row.p_value}
                for row in result.labels
            ],
            "findings": [_finding(number, finding) for number, finding in enumerate(result.findings)],
            "seconds": result.seconds,
            "cpu_seconds": result.cpu_seconds,
            "notes": result.notes,
        }
    )
    return document


def save(result: InspectionResult, folder: Path) -> None:
    """Write both files into the new `folder`, all or nothing; OutputError when it exists or cannot be written."""
    with atomic_directory(folder) as temporary:
        save_into(result, temporary)


def save_into(result: InspectionResult, folder: Path) -> None:
    """Write both files into a folder that is there, for whoever puts more beside them."""
    document = json.dumps(as_json(result), indent=1, allow_nan=False)
    (folder / DOCUMENT).write_text(document + "\n", encoding="ascii")
    arrays: dict[str, Any] = {}
    for number, finding in enumerate(result.findings):
        if finding.trigger is not None:
            arrays[f"pattern_{number}"] = np.asarray(finding.trigger.pattern, "<f4", order="C")
            arrays[f"mask_{number}"] = np.asarray(finding.trigger.mask, "<f4", order="C")
    np.savez(folder / TRIGGERS, **arrays)


def load(path: Path) -> InspectionResult:
    """The inspection in a folder that `save` wrote (or named by its `inspection.json`), without pictures.

    InputError when a file is missing, malformed or contradicts the other; LimitError when it is too large.
    """
    folder = path.parent if path.name == DOCUMENT else path
    document = parse_object(
        read_file(folder / DOCUMENT, _MAX_DOCUMENT), str(folder / DOCUMENT), _MAX_DOCUMENT
    )
    if document.get("schema") != SCHEMA:
        raise InputError(
            f"{folder / DOCUMENT}: its schema is {document.get('schema')!r:.60}, this Bezoar reads {SCHEMA}; "
            "inspect the model again"
        )
    _check_depth(document, folder / DOCUMENT)
    try:
        return _result(document, _triggers(document, folder / TRIGGERS))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{folder / DOCUMENT}: not an inspection ({error!r:.200})") from error


def _finding(number: int, finding: Finding) -> Json:
    trigger = finding.trigger
    return {
        "number": number,
        "kind": finding.kind,
        "severity": str(finding.severity),
        "target": finding.target,
        "sources": finding.sources,
        "title": finding.title,
        "explanation": finding.explanation,
        "p_value": finding.p_value,
        "trigger": None
        if trigger is None
        else {"kind": trigger.kind, "shape": trigger.pattern.shape, "size": trigger.size},
        "success": finding.success,
        "control": finding.control,
        "tested": finding.tested,
        "details": finding.details,
    }


def _check_depth(document: Json, path: Path) -> None:
    level: list[Any] = [document]
    for _ in range(_MAX_DEPTH):
        inner = [item.values() if isinstance(item, dict) else item for item in level]
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    if level:
        raise LimitError(f"{path}: nested deeper than any inspection; is it the right file?")


def _triggers(document: Json, path: Path) -> dict[int, Trigger]:
    """The recovered triggers by number of their finding."""
    findings = _typed(document["findings"], list)
    if len(findings) > _MAX_FINDINGS:
        raise LimitError(
            f"{path.parent / DOCUMENT}: more findings than any inspection; is it the right file?"
        )
    described = {number: row["trigger"] for number, row in enumerate(findings) if row["trigger"] is not None}
    names = {f"{part}_{number}.npy" for number in described for part in ("pattern", "mask")}
    try:
        with zipfile.ZipFile(io.BytesIO(read_file(path, _MAX_TRIGGERS))) as archive:
            if sorted(archive.namelist()) != sorted(names):
                raise InputError(
                    f"{path}: does not hold the triggers that {DOCUMENT} speaks of; inspect again"
                )
            return {number: _trigger(archive, path, number, row) for number, row in described.items()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        raise InputError(f"{path}: truncated or corrupt ({error!r:.120}); inspect the model again") from error


def _trigger(archive: zipfile.ZipFile, path: Path, number: int, row: Json) -> Trigger:
    kind = row["kind"]
    if kind not in get_args(Kind):
        raise ValueError(f"trigger kind {kind!r:.60}")
    channels, height, width = (_natural(side, _MAX_SIDE + 1) for side in _typed(row["shape"], list))
    if not 1 <= channels <= _MAX_CHANNELS or (kind == "warp" and channels != 2):
        raise ValueError(f"a {kind} of {channels} channels")
    pattern = _array(archive, path, f"pattern_{number}.npy", (channels, height, width))
    mask = _array(archive, path, f"mask_{number}.npy", (height, width))
    if mask.min(initial=0) < 0 or mask.max(initial=0) > 1:
        raise InputError(f"{path}: mask_{number} leaves [0, 1]; inspect the model again")
    return Trigger(kind, pattern, mask)


def _array(archive: zipfile.ZipFile, path: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """One member, which must be stored and be exactly the array that the document describes."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > _MAX_TRIGGERS:
        raise InputError(f"{path}: {name} is compressed, which Bezoar never writes; inspect the model again")
    stream = io.BytesIO(archive.read(info))
    try:
        header = npy.read_array_header_1_0(stream) if npy.read_magic(stream) == (1, 0) else None
    except (
        ValueError,
        SyntaxError,
        MemoryError,
        RecursionError,
        TokenError,
    ) as error:  # NumPy parses it as Python
        raise InputError(f"{path}: {name} has a malformed header ({error!r:.120})") from error
    if header != (shape, False, np.dtype("<f4")):
        raise InputError(f"{path}: {name} is no float32 array of shape {shape}; inspect the model again")
    data = stream.read()
    if len(data) != 4 * math.prod(shape):
        raise InputError(f"{path}: {name} is truncated; inspect the model again")
    array = np.frombuffer(data, "<f4").reshape(shape)
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name} holds values that are not finite; inspect the model again")
    return array.astype(np.float32)  # a copy that is writable: torch warns of others


def _result(document: Json, triggers: Mapping[int, Trigger]) -> InspectionResult:
    model, data, settings = document["model"], document["data"], document["settings"]
    verdict = document["verdict"]
    names = _texts(document["label_names"])
    if len(names) > _MAX_CLASSES:
        raise ValueError(f"{len(names)} labels")
    return InspectionResult(
        path=_typed(model["path"], str),
        format=_typed(model["format"], str),
        digest=_typed(model["digest"], str),
        architecture=_optional(model["architecture"], str),
        label_names=names,
        preprocessing=_typed(model["preprocessing"], dict),
        data=_optional(data["path"], str),
        images=_natural(data["images"]),
        accuracy=_share(data["accuracy"]),
        seed=_natural(settings["seed"]),
        version=_typed(document["version"], str),
        device=_typed(settings["device"], str),
        verdict=Verdict(
            Status(verdict["status"]),
            _number(settings["alpha"]),
            _number(verdict["p_value"]),
            _typed(verdict["summary"], str),
            _texts(verdict["limits"]),
        ),
        labels=tuple(
            LabelReport(
                _natural(row["label"], len(names)),
                _typed(row["name"], str),
                _numbers(row["statistics"]),
                _number(row["p_value"]),
            )
            for row in _typed(document["labels"], list)
        ),
        findings=tuple(
            _read_finding(row, len(names), triggers.get(number))
            for number, row in enumerate(document["findings"])
        ),
        seconds=_numbers(document["seconds"]),
        cpu_seconds=_numbers(document["cpu_seconds"]),
        notes=_texts(document["notes"]),
    )


def _read_finding(row: Json, n_labels: int, trigger: Trigger | None) -> Finding:
    target = row["target"]
    return Finding(
        kind=_typed(row["kind"], str),
        severity=Severity(row["severity"]),
        target=None if target is None else _natural(target, n_labels),
        sources=tuple(_natural(label, n_labels) for label in _typed(row["sources"], list)),
        title=_typed(row["title"], str),
        explanation=_typed(row["explanation"], str),
        p_value=_number(row["p_value"]),
        trigger=trigger,
        success=_share(row["success"]),
        control=_share(row["control"]),
        tested=_natural(row["tested"]),
        details=_typed(row["details"], dict),
    )


def _typed(value: Any, kind: type[_Type]) -> _Type:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.60} where a {kind.__name__} belongs")
    return value


def _optional(value: Any, kind: type[_Type]) -> _Type | None:
    return None if value is None else _typed(value, kind)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_typed(item, str) for item in _typed(value, list))


def _natural(value: Any, below: int = 2**63) -> int:
    if isinstance(value, bool) or not 0 <= _typed(value, int) < below:
        raise ValueError(f"{value!r:.60} is not a whole number in [0, {below})")
    return int(value)


def _number(value: Any) -> float:
    """NaN for null: what could not be computed."""
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"{value!r:.60} is not a number")
    return math.nan if value is None else float(value)


def _numbers(value: Any) -> dict[str, float]:
    return {name: _number(item) for name, item in _typed(value, dict).items()}


def _share(value: Any) -> float | None:
    if value is not None and not 0 <= _number(value) <= 1:
        raise ValueError(f"{value!r:.60} is not a share in [0, 1]")
    return None if value is None else float(value)
