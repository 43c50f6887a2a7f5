"""Runs in the environment of `datasets` and `webdataset`: prints the SHA-256 of every picture of a fetched output as JSON."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def main() -> None:
    party, form, out, cache = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": cache}
    read = _with_datasets if party == "datasets" else _with_webdataset
    digests = [hashlib.sha256(content).hexdigest() for content in read(form, out)]
    sys.stdout.write(json.dumps(digests) + "\n")


def _with_datasets(form: str, out: Path) -> Iterator[bytes]:
    from datasets import Image, load_dataset

    if form == "webdataset":
        shards = sorted(str(path) for path in out.glob("*.tar"))
        data, column = load_dataset("webdataset", data_files={"train": shards}, split="train"), "jpg"
    else:
        data, column = load_dataset(str(out), split="train"), "image"
    for row in data:
        assert row[column].size == (32, 32)  # it decodes
    for row in data.cast_column(column, Image(decode=False)):
        yield row[column]["bytes"]


def _with_webdataset(form: str, out: Path) -> Iterator[bytes]:
    import webdataset

    assert form == "webdataset"
    shards = sorted(str(path) for path in out.glob("*.tar"))
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        assert json.loads(sample["json"])["key"] == sample["__key__"]
        assert sample["txt"].decode().startswith("picture ")
        yield sample["jpg"]


if __name__ == "__main__":
    main()
