"""Runs in the environment of `mlcroissant`: loads the records that a description names and prints them as JSON."""

from __future__ import annotations

import json
import sys

import mlcroissant


def main() -> None:
    dataset = mlcroissant.Dataset(jsonld=sys.argv[1])
    (record_set,) = [one.uuid for one in dataset.metadata.record_sets]
    rows = []
    for record in dataset.records(record_set):
        row = {name.rpartition("/")[2]: value for name, value in record.items()}
        rows.append({name: _plain(value) for name, value in row.items()})
    sys.stdout.write(json.dumps(rows) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex() if len(value) == 32 else value.decode()
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    main()
