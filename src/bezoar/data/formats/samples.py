"""What describes a sample beside its image: a JSON object with fields, a text that is its caption."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from bezoar.data.formats.lines import json_column
from bezoar.errors import InputError

MAX_SMALL = 2**20  # bytes of a description


def parse_fields(text: str, where: str) -> dict[str, Any]:
    """The fields of a JSON object that fit into a column: null, texts, numbers and truth values."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{where} is not a JSON object")
    return {name: v for name, v in value.items() if v is None or isinstance(v, str | int | float)}


def field_columns(fields: Sequence[dict[str, Any]]) -> pa.Table:
    """One column for each name that occurs, N rows."""
    names = dict.fromkeys(name for sample in fields for name in sample)
    if not names:
        return pa.table({})
    return pa.table({name: json_column([sample.get(name) for sample in fields]) for name in names})


def captioned(columns: pa.Table, texts: Callable[[], list[str | None]]) -> pa.Table:
    """`columns` with the texts as `caption`, unless there are none, or the fields have told it already."""
    if "caption" in columns.column_names or not any(captions := texts()):
        return columns
    column = pa.array(captions, pa.string())
    return columns.append_column("caption", column) if columns.column_names else pa.table({"caption": column})


def with_field(content: bytes, name: str, value: int | str) -> bytes | None:
    """A JSON object in which this field has this value; None when it has it as it is."""
    fields = json.loads(content)
    same = fields.get(name) == value or str(fields.get(name)) == value
    return None if same else json.dumps({**fields, name: value}, ensure_ascii=False).encode()
