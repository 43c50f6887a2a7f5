"""From label values (integers, strings, with or without a list of class names) to label indices, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bezoar.data.dataset import NO_LABEL
from bezoar.errors import InputError

USUAL_LABELS = ("label", "labels", "fine_label", "target", "class")


@dataclass(frozen=True)
class Labels:
    """Label indices int32 (N,), the class names, and the value that stands for each class in the file."""

    indices: NDArray[np.int32]
    names: tuple[str, ...]
    values: tuple[int | str, ...]


def label_column(wanted: str | None, columns: Sequence[str], where: object) -> str:
    """The label column's name: the one asked for, or a usual one; InputError names those that exist."""
    for name in (wanted,) if wanted is not None else USUAL_LABELS:
        if name in columns:
            return name
    sought = repr(wanted) if wanted is not None else "/".join(USUAL_LABELS)
    known = ", ".join(columns) or "none"
    raise InputError(
        f"{where}: no label column {sought}; columns: {known} (choose one with the label column option)"
    )


def optional_label_column(wanted: str | None, columns: Sequence[str], where: object) -> str | None:
    """As `label_column`, but None where none was asked for, none has a usual name, and none is to be expected.

    That is so of records that a caption describes, and of downloads, which have a key and a URL: what img2dataset writes.
    """
    described = "caption" in columns or {"key", "url"} <= set(columns)
    if wanted is None and described and not set(USUAL_LABELS) & set(columns):
        return None
    return label_column(wanted, columns, where)


def no_labels(count: int) -> Labels:
    """The labels of `count` records that have none."""
    return Labels(np.full(count, NO_LABEL, np.int32), (), ())


def read_labels(values: pa.Array | pa.ChunkedArray, names: Sequence[str] | None, where: object) -> Labels:
    """Labels of a column of integers or strings; null and the integer -1 mean "no label".

    With `names`, integers index them. Without, the classes are the values that occur, sorted.
    """
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if pa.types.is_floating(values.type):
        values = _whole_numbers(values, where)
    if pa.types.is_integer(values.type):
        return _from_integers(values, names, where)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return _from_strings(values, names)
    if pa.types.is_null(values.type):
        return Labels(
            np.full(len(values), NO_LABEL, np.int32), tuple(names or ()), tuple(range(len(names or ())))
        )
    raise InputError(f"{where}: labels must be integers or strings, not {values.type}")


def label_values(labels: NDArray[np.int32], values: Sequence[int | str], dtype: pa.DataType) -> pa.Array:
    """The column that `read_labels` came from: one value per label index, null for `NO_LABEL`."""
    plain = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    source = pa.array(list(values)).cast(plain) if values else pa.nulls(0, plain)
    column = source.take(pa.array(labels, mask=labels < 0))
    return column.dictionary_encode().cast(dtype) if pa.types.is_dictionary(dtype) else column


def _from_integers(values: pa.Array, names: Sequence[str] | None, where: object) -> Labels:
    try:
        numbers = values.cast(pa.int64()).fill_null(NO_LABEL).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        raise InputError(f"{where}: a label does not fit into 64 bits") from None
    if names is not None:
        if numbers.size and not (numbers.min() >= NO_LABEL and numbers.max() < len(names)):
            raise InputError(
                f"{where}: label {numbers.max()} lies outside the {len(names)} class names of the schema"
            )
        return Labels(numbers.astype(np.int32), tuple(names), tuple(range(len(names))))
    classes = np.unique(numbers[numbers != NO_LABEL])
    indices = np.searchsorted(classes, numbers).astype(np.int32)
    indices[numbers == NO_LABEL] = NO_LABEL
    return Labels(indices, tuple(map(str, classes.tolist())), tuple(classes.tolist()))


def _from_strings(values: pa.Array, names: Sequence[str] | None) -> Labels:
    found = [name for name in pc.unique(values).to_pylist() if name is not None]
    classes = list(names) if names is not None and set(found) <= set(names) else sorted(found)
    indices = pc.index_in(values, pa.array(classes, values.type)).fill_null(NO_LABEL)
    if not classes:
        indices = pa.array(np.full(len(values), NO_LABEL, np.int32))
    return Labels(indices.to_numpy(zero_copy_only=False).astype(np.int32), tuple(classes), tuple(classes))


def _whole_numbers(values: pa.Array, where: object) -> pa.Array:
    try:
        return pc.if_else(pc.is_nan(values), None, values).cast(pa.int64())
    except pa.ArrowInvalid:
        raise InputError(
            f"{where}: labels are fractions; Bezoar reads classes, not regression targets"
        ) from None
