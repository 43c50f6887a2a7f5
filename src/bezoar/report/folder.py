"""The folder that `bezoar scan --out` writes and `bezoar clean --scan` reads.

    result.json     the scan (schema/scan-1.json)
    scores.parquet  one row per record: key, label, scores, finding, flagged
    report.html     the report for a person
    scan.sarif      the findings for SARIF viewers and code scanning services

What is read back is hostile: sizes are capped, only fixed-width columns of the scores are read, and every
claim that can be checked against another is.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bezoar.errors import InputError, LimitError
from bezoar.files import atomic_directory
from bezoar.report.html import to_html
from bezoar.report.json import from_json, to_json
from bezoar.report.sarif import to_sarif
from bezoar.report.text import shown
from bezoar.scan.result import ScanResult, Severity

RESULT, SCORES, REPORT, SARIF = "result.json", "scores.parquet", "report.html", "scan.sarif"
_MAX_RESULT_BYTES = 512 << 20
_MAX_RECORDS = 1 << 28
_MAX_COLUMNS = 256
_MAX_THRIFT = 64 << 20


def write_scan(result: ScanResult, folder: Path) -> Path:
    """Write the four files into the new `folder`, all or nothing; the path of the report."""
    document = json.dumps(to_json(result), indent=1, allow_nan=False)
    log = json.dumps(to_sarif(result), indent=1, allow_nan=False)
    page = to_html(result, folder=folder)
    with atomic_directory(folder) as temporary:
        (temporary / RESULT).write_text(document + "\n", encoding="ascii")
        pq.write_table(result.scores, temporary / SCORES, compression="zstd")
        (temporary / REPORT).write_text(page, encoding="utf-8")
        (temporary / SARIF).write_text(log + "\n", encoding="ascii")
    return folder / REPORT


def read_scan(path: Path) -> ScanResult:
    """The scan in a folder written by `write_scan` (or named by its `result.json`), without pictures.

    `scores` holds the fixed-width columns only: keys and labels are those of the dataset with this digest.

    InputError when a file is missing, malformed or contradicts the other; LimitError when it is too large.
    """
    folder = path.parent if path.name == RESULT else path
    document = _read_document(folder / RESULT)
    scores = _read_scores(folder / SCORES)
    try:
        result = from_json(document, scores)
    except InputError as error:
        raise InputError(f"{folder / RESULT}: {error}; scan the dataset again") from error
    _check_agreement(result, folder)
    return result


def _read_document(path: Path) -> object:
    try:
        size = path.stat().st_size
        if size > _MAX_RESULT_BYTES:
            raise LimitError(f"{path}: {size:,} bytes, more than any scan result; is it the right file?")
        document: object = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; --scan wants the folder that `bezoar scan --out` wrote"
        ) from None
    except NotADirectoryError:
        raise InputError(f"{path.parent}: not a folder written by `bezoar scan --out`") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({shown(str(error))}); scan the dataset again") from error
    return document


def _read_scores(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(
            path, thrift_string_size_limit=_MAX_THRIFT, thrift_container_size_limit=1 << 20
        ) as file:
            if file.metadata.num_rows > _MAX_RECORDS or file.metadata.num_columns > _MAX_COLUMNS:
                raise LimitError(f"{path}: more rows or columns than any scan has; is it the right file?")
            fixed = [field.name for field in file.schema_arrow if _is_fixed_width(field.type)]
            table = file.read(columns=fixed, use_threads=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; scan the dataset again") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({shown(str(error))}); scan the dataset again"
        ) from error
    _check_columns(table, path)
    return table


def _is_fixed_width(kind: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _check_columns(table: pa.Table, path: Path) -> None:
    for name, test in (("finding", pa.types.is_integer), ("flagged", pa.types.is_boolean)):
        if table.column_names.count(name) != 1 or not test(table.schema.field(name).type):
            raise InputError(f"{path}: no column {name!r} of the right type; scan the dataset again")
        if table[name].null_count:
            raise InputError(f"{path}: column {name!r} has gaps; scan the dataset again")


def _check_agreement(result: ScanResult, folder: Path) -> None:
    """InputError when the scores and the findings tell different stories: one of the files was changed."""
    finding = np.asarray(result.scores["finding"].to_numpy())
    poison = [n for n, row in enumerate(result.findings) if row.severity is Severity.POISON]
    same_rows = result.scores.num_rows == result.n_records
    if not same_rows or not np.array_equal(result.flagged, np.isin(finding, poison)):
        raise InputError(f"{folder}: {RESULT} and {SCORES} contradict each other; scan the dataset again")
