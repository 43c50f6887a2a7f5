"""Small datasets in every format, with the same twelve records, made without the code under test."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("cat", "dog", "frog")
COUNT = 12
LABELS = [i % 3 for i in range(COUNT)]
TEXTS = [f'text {i}, with "quotes"\nand a second line, é{i}' for i in range(COUNT)]


def pixels(seed: int, height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def encoded(image: NDArray[np.uint8] | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(out, format=kind, **options)
    return out.getvalue()


def png(seed: int) -> bytes:
    return encoded(pixels(seed))


def grey(seed: int) -> NDArray[np.uint8]:
    return pixels(seed)[:, :, 0]


def folder(root: Path) -> Path:
    path = root / "images"
    for i, label in enumerate(LABELS):
        file = path / CLASSES[label] / f"sub {i % 2}" / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(i))
    (path / "README.md").write_text("not a record")
    return path


def metadata_csv(root: Path) -> Path:
    path = _flat_images(root / "meta_csv")
    with (path / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "label", "note"])
        rows.writerows(
            [f"img/{i:02d}.png", CLASSES[label], f'a "note", {i}'] for i, label in enumerate(LABELS)
        )
    return path


def metadata_jsonl(root: Path) -> Path:
    path = _flat_images(root / "meta_jsonl")
    rows = [{"file_name": f"img/{i:02d}.png", "label": y, "note": f"é{i}"} for i, y in enumerate(LABELS)]
    (path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sidecars(root: Path) -> Path:
    """Shards of files, each image with its JSON and its text, as img2dataset writes them."""
    path = root / "shards"
    for i, label in enumerate(LABELS):
        file = path / f"{i // 5:05d}" / f"{i // 5:05d}{i % 5}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(i))
        fields = {"label": CLASSES[label], "url": f"https://example.org/{i}", "n": i}
        file.with_suffix(".json").write_text(json.dumps(fields, indent=4))
        file.with_suffix(".txt").write_text(f"caption {i}")
    return path


def _flat_images(path: Path) -> Path:
    (path / "img").mkdir(parents=True)
    for i in range(COUNT):
        (path / "img" / f"{i:02d}.png").write_bytes(png(i))
    return path


def image_table(rows: range = range(COUNT)) -> pa.Table:
    features = {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    images = [{"bytes": png(i), "path": f"train/{i:02d}.png"} for i in rows]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema(
        [("track", pa.string()), ("image", kind), ("label", pa.int64()), ("vector", pa.list_(pa.float32()))],
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    tracks = [f"track {i // 4}" for i in rows]
    vectors = [[float(i), 2.0] for i in rows]
    return pa.table([tracks, pa.array(images, kind), [LABELS[i] for i in rows], vectors], schema=schema)


def parquet_file(root: Path) -> Path:
    path = root / "train.parquet"
    pq.write_table(image_table(), path, row_group_size=5, compression="zstd")
    return path


def parquet_shards(root: Path) -> Path:
    path = root / "shards"
    path.mkdir()
    pq.write_table(image_table(range(7)), path / "train-00000-of-00002.parquet", row_group_size=3)
    pq.write_table(image_table(range(7, COUNT)), path / "train-00001-of-00002.parquet")
    return path


def parquet_glob(root: Path) -> Path:
    return parquet_shards(root) / "train-*.parquet"


def parquet_binary(root: Path) -> Path:
    """A plain binary column, string labels, nothing to make keys from."""
    path = root / "plain.parquet"
    labels = [CLASSES[label] for label in LABELS]
    pq.write_table(pa.table({"img": [png(i) for i in range(COUNT)], "target": labels}), path)
    return path


def parquet_text(root: Path) -> Path:
    path = root / "text.parquet"
    pq.write_table(
        pa.table({"text": TEXTS, "label": LABELS, "author": [f"a{i}" for i in range(COUNT)]}), path
    )
    return path


def arrow(root: Path) -> Path:
    path = root / "saved"
    path.mkdir()
    names = [f"data-{i:05d}-of-00002.arrow" for i in range(2)]
    for name, rows in zip(names, (range(7), range(7, COUNT)), strict=True):
        table = image_table(rows)
        with pa.OSFile(str(path / name), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table, max_chunksize=3)
    features = {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    (path / "dataset_info.json").write_text(json.dumps({"features": features, "splits": {"train": {}}}))
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train", "_fingerprint": "0"}
    (path / "state.json").write_text(json.dumps(state))
    return path


def tar_shard(path: Path, rows: range, *, label: str = "cls") -> Path:
    with tarfile.open(path, "w") as archive:
        for i in rows:
            add(archive, f"{i:06d}.png", png(i))
            if label == "cls":
                add(archive, f"{i:06d}.cls", str(LABELS[i]).encode())
            fields = {"label": CLASSES[LABELS[i]], "url": f"https://example.org/{i}", "n": i}
            add(archive, f"{i:06d}.json", json.dumps(fields).encode())
            add(archive, f"{i:06d}.txt", f"caption {i}".encode())
    return path


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(content), 1_700_000_000, 0o600
    archive.addfile(info, io.BytesIO(content))


def tar_cls(root: Path) -> Path:
    return tar_shard(root / "cls.tar", range(COUNT))


def tar_json(root: Path) -> Path:
    path = root / "tars"
    path.mkdir()
    tar_shard(path / "00000.tar", range(7), label="json")
    tar_shard(path / "00001.tar", range(7, COUNT), label="json")
    return path


def idx(root: Path, suffix: str = "") -> Path:
    path = root / "mnist"
    path.mkdir()
    images = np.stack([grey(i) for i in range(COUNT)])
    opener: Callable[..., io.BufferedWriter] = gzip.open if suffix else open  # type: ignore[assignment]
    with opener(path / f"train-images-idx3-ubyte{suffix}", "wb") as file:
        file.write(struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes())
    with opener(path / f"train-labels-idx1-ubyte{suffix}", "wb") as file:
        file.write(struct.pack(">4BI", 0, 0, 8, 1, COUNT) + bytes(LABELS))
    return path


def idx_gz(root: Path) -> Path:
    return idx(root, ".gz")


def npz(root: Path) -> Path:
    path = root / "data.npz"
    np.savez(
        path, images=np.stack([pixels(i) for i in range(COUNT)]), labels=np.array(LABELS), extra=np.eye(3)
    )
    return path


def npz_compressed(root: Path) -> Path:
    path = root / "keras.npz"
    images = np.asfortranarray(np.stack([grey(i) for i in range(COUNT)]))
    np.savez_compressed(path, x_train=images, y_train=np.array(LABELS, np.uint8)[:, None])
    return path


def text_csv(root: Path) -> Path:
    path = root / "text.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "label"])
        rows.writerows([f"{i:03d}", text, CLASSES[LABELS[i]]] for i, text in enumerate(TEXTS))
    return path


def text_jsonl(root: Path) -> Path:
    path = root / "text.jsonl"
    rows = [{"label": LABELS[i], "text": text, "more": {"n": i}} for i, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@dataclass(frozen=True)
class Case:
    """How to build a dataset, and what opening it must show."""

    build: Callable[[Path], Path]
    format: str
    content: Callable[[int], bytes]
    output: str = "out"
    names: tuple[str, ...] = CLASSES
    columns: tuple[str, ...] = ()


_DIGITS = ("0", "1", "2")


def _text(i: int) -> bytes:
    return TEXTS[i].encode()


def _grey(i: int) -> bytes:
    return grey(i).tobytes()


def _raw(i: int) -> bytes:
    return pixels(i).tobytes()


CASES = {
    "folder": Case(folder, "folder", png),
    "metadata_csv": Case(metadata_csv, "folder", png, columns=("note",)),
    "metadata_jsonl": Case(metadata_jsonl, "folder", png, names=_DIGITS, columns=("note",)),
    "sidecars": Case(sidecars, "folder", png, columns=("url", "n")),
    "parquet": Case(parquet_file, "parquet", png, "out.parquet", columns=("track",)),
    "parquet_shards": Case(parquet_shards, "parquet", png, columns=("track",)),
    "parquet_glob": Case(parquet_glob, "parquet", png, columns=("track",)),
    "parquet_binary": Case(parquet_binary, "parquet", png, "plain.parquet"),
    "parquet_text": Case(parquet_text, "parquet", _text, "text.parquet", _DIGITS, ("author",)),
    "arrow": Case(arrow, "arrow", png, columns=("track",)),
    "tar_cls": Case(tar_cls, "webdataset", png, "out.tar", _DIGITS, ("label", "url", "n")),
    "tar_json": Case(tar_json, "webdataset", png, columns=("url", "n")),
    "idx": Case(idx, "idx", _grey, names=_DIGITS),
    "idx_gz": Case(idx_gz, "idx", _grey, names=_DIGITS),
    "npz": Case(npz, "npz", _raw, "out.npz", _DIGITS),
    "npz_compressed": Case(npz_compressed, "npz", _grey, "out.npz", _DIGITS),
    "csv": Case(text_csv, "csv", _text, "text.csv", columns=("id",)),
    "jsonl": Case(text_jsonl, "jsonl", _text, "text.jsonl", _DIGITS, ("more",)),
}
