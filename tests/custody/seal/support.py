"""A small dataset of every format, keys to seal them with, and ways to tamper with them."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bezoar.custody.seal.reading import Seal
from bezoar.custody.seal.sealing import seal
from bezoar.custody.seal.verification import Verification
from bezoar.custody.seal.verifying import verify
from bezoar.custody.signing.signers import KeySigner, KeyVerifier
from bezoar.custody.tlog.keys import ed25519_signer
from bezoar.data import open as open_dataset
from bezoar.data import write
from cli.support import image_folder, png, tar

KEY = generate_private_key(SECP256R1())
SIGNER, VERIFIER = KeySigner(KEY), KeyVerifier(KEY.public_key(), "maker")
STRANGER = KeySigner(generate_private_key(SECP256R1()))
NOTES = ed25519_signer(Ed25519PrivateKey.generate(), "example.org/signs")


def sealed(path: Path, **options: object) -> Seal:
    return seal(path, SIGNER, **options)  # type: ignore[arg-type]


def checked(path: Path, **options: object) -> Verification:
    return verify(path, VERIFIER, **options)  # type: ignore[arg-type]


def keys(result: tuple[object, ...]) -> list[str]:
    return [each if isinstance(each, str) else each.key for each in result]  # type: ignore[attr-defined]


def parquet(path: Path, count: int = 8, start: int = 0) -> Path:
    """Images with a label, a text source and a number."""
    image = [{"bytes": png(n), "path": f"{n:03d}.png"} for n in range(start, start + count)]
    names = [("Stop", "Yield")[n % 2] for n in range(count)]
    urls = [None if n == 3 else f"https://example.org/{n}" for n in range(count)]
    pq.write_table(
        pa.table({"image": image, "label": names, "url": urls, "score": np.arange(count) / 4}), path
    )
    return path


def parquet_shards(path: Path) -> Path:
    path.mkdir()
    for shard in range(2):
        parquet(path / f"part-{shard}.parquet", start=10 * shard)
    return path


def folder_with_metadata(path: Path) -> Path:
    path.mkdir()
    rows = [f"{n}.png,{('Stop', 'Yield')[n % 2]},site{n % 3}" for n in range(6)]
    for n in range(6):
        (path / f"{n}.png").write_bytes(png(n))
    (path / "metadata.csv").write_text("\n".join(["file_name,label,source", *rows]) + "\n")
    return path


def webdataset(path: Path) -> Path:
    members = {}
    for n in range(6):
        members[f"{n:04d}.png"] = png(n)
        members[f"{n:04d}.json"] = json.dumps({"label": ("Stop", "Yield")[n % 2], "url": f"u{n}"}).encode()
    return tar(path, members)


def samples(path: Path) -> Path:
    """WebDataset samples with a class, a caption, a mask and nested JSON; one has no mask."""
    members = {}
    for n in range(6):
        members[f"{n:04d}.png"] = png(n)
        members[f"{n:04d}.cls"] = str(n % 2).encode()
        members[f"{n:04d}.txt"] = f"a sign {n}".encode()
        members[f"{n:04d}.json"] = json.dumps({"url": f"u{n}", "boxes": [[n, 1], [2, 3]]}).encode()
        if n != 4:
            members[f"{n:04d}.mask.png"] = png(50 + n)
    return tar(path, members)


def masks(path: Path) -> Path:
    """A table with a binary column, nested ones, and paths that are no keys."""
    image = [{"bytes": png(n), "path": "same.png"} for n in range(6)]
    mask = pa.array([None if n == 4 else png(50 + n) for n in range(6)], pa.binary())
    boxes = [[{"x": n / 2, "label": "sign"}] for n in range(6)]
    when = pa.array([[n] for n in range(6)], pa.list_(pa.date32()))
    columns = {"image": image, "label": [n % 2 for n in range(6)], "mask": mask, "boxes": boxes, "when": when}
    pq.write_table(pa.table(columns), path)
    return path


def sidecars(path: Path) -> Path:
    """Shards of an image folder, each image with its JSON and its text."""
    (path / "00000").mkdir(parents=True)
    for n in range(6):
        file = path / "00000" / f"{n:09d}"
        file.with_suffix(".png").write_bytes(png(n))
        file.with_suffix(".json").write_text(json.dumps({"label": n % 2, "boxes": [[n, 1]]}))
        file.with_suffix(".txt").write_text(f"a sign {n}")
    return path


def idx(path: Path) -> Path:
    """A folder with a compressed pair."""
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    labels = np.arange(6, dtype=np.uint8) % 2
    path.mkdir()
    for name, values in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
        (path / f"{name}.gz").write_bytes(gzip.compress(header + values.tobytes(), mtime=0))
    return path


def npz(path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(6) % 2)
    return path


def jsonl(path: Path) -> Path:
    rows = [{"text": f"a text {n} é", "label": n % 2, "site": f"s{n % 3}"} for n in range(6)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def csv(path: Path) -> Path:
    path.write_text("text,label\n" + "".join(f'"text, {n}",{n % 2}\n' for n in range(6)))
    return path


def arrow(path: Path) -> Path:
    source = parquet(path.with_name("source.parquet"))
    write(open_dataset(source), path, "arrow")
    return path


def plain_folder(path: Path) -> Path:
    (path / "deep" / "er").mkdir(parents=True)
    (path / "a.bin").write_bytes(b"\0\1\2")
    (path / "deep" / "er" / "ünï.txt").write_text("text")
    (path / "empty").write_bytes(b"")
    return path


def plain_file(path: Path) -> Path:
    path.write_bytes(b"weights")
    return path


FORMATS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "image folder": ("signs", image_folder),
    "folder with metadata": ("signs", folder_with_metadata),
    "parquet": ("signs.parquet", parquet),
    "parquet shards": ("signs", parquet_shards),
    "webdataset": ("signs.tar", webdataset),
    "samples": ("signs.tar", samples),
    "masks": ("signs.parquet", masks),
    "sidecars": ("signs", sidecars),
    "idx": ("signs", idx),
    "npz": ("signs.npz", npz),
    "jsonl": ("signs.jsonl", jsonl),
    "csv": ("signs.csv", csv),
    "arrow": ("signs", arrow),
    "plain folder": ("files", plain_folder),
    "plain file": ("model.bin", plain_file),
}
DATASETS = [name for name in FORMATS if not name.startswith("plain")]


def make(name: str, folder: Path) -> Path:
    file, maker = FORMATS[name]
    path = folder / file
    return maker(path)


def flip(path: Path, offset: int = -1) -> None:
    """Flip one bit of the byte at `offset` (from the end when negative)."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))
