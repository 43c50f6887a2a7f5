"""Where a seal lies and what is in it.

```
<dataset>.seal/  bundle.sig        OpenSSF Model Signing bundle: digests of all files, of the snapshot, and of the next two
                 manifest.parquet  one row per record
                 croissant.json    Croissant 1.1 description
                 tile/…            the snapshot tree as C2SP tiles
                 checkpoint        signed note of the snapshot's size and root (only where a note key was given)
```
"""

from __future__ import annotations

from pathlib import Path

from bezoar.errors import InputError, OutputError, UsageError

SUFFIX = ".seal"
BUNDLE = "bundle.sig"
MANIFEST = "manifest.parquet"
CROISSANT = "croissant.json"
CHECKPOINT = "checkpoint"
TILES = "tile"

# Digests of the bundle's subject, beside OMS's own "sha256".
SNAPSHOT_DIGEST = "bezoarSnapshot"
MANIFEST_DIGEST = "bezoarManifest"
CROISSANT_DIGEST = "bezoarCroissant"


def dataset_path(path: str | Path) -> Path:
    """The dataset's path; InputError when nothing is there, UsageError for a pattern, which has no place for a seal."""
    found = Path(path)
    if found.exists():
        return found
    from bezoar.data.formats.paths import is_glob

    if is_glob(found):
        raise UsageError(f"{found}: a pattern cannot be sealed; give the folder that holds the files")
    raise InputError(f"{found}: no such file or folder")


def dataset_name(path: Path) -> str:
    """The dataset's own name: that of its folder or file, as it is given; a link that is put there bears it as a folder would."""
    name = path.resolve().name if path.name in ("", "..") else path.name
    return name or "root"


def default_seal(path: Path) -> Path:
    """`<dataset>.seal`, beside the data."""
    real = path.resolve()
    return (
        real.parent / f"{dataset_name(path)}{SUFFIX}"
        if path.name in ("", "..")
        else path.with_name(path.name + SUFFIX)
    )


def check_target(seal: Path, dataset: Path) -> None:
    """OutputError when `seal` is something else than a seal, UsageError when it lies inside the dataset."""
    if seal.resolve().is_relative_to(dataset.resolve()):
        raise UsageError(f"{seal}: lies inside the dataset {dataset}; choose a path outside it")
    if not seal.absolute().parent.is_dir():
        raise OutputError(f"{seal.absolute().parent}: no such folder to write into; create it first")
    if seal.is_dir():
        known = {BUNDLE, MANIFEST, CROISSANT, CHECKPOINT, TILES}
        other = sorted({entry.name for entry in seal.iterdir()} - known)
        if other:
            raise OutputError(f"{seal}: holds {other[0]!r}, so it is no seal; choose another place")
