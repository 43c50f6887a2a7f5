"""The data against the sealed manifest: keys, labels and sources of every record, and the content of a sample or of all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.custody.audit.irregularities import Irregularity, irregularity
from bezoar.custody.audit.sampling import Plan, draw
from bezoar.custody.seal.comparing import Change, Differences, compare_files, compare_records, compare_some
from bezoar.custody.seal.description import description_problems
from bezoar.custody.seal.hashing import hash_tree
from bezoar.custody.seal.records import Layout, described, is_by_file, open_records, read_records, whole
from bezoar.custody.seal.verification import noted
from bezoar.custody.seal.walk import WHOLE, list_tree
from bezoar.custody.signing.resources import DEFAULT_IGNORES
from bezoar.data.formats.paths import shards
from bezoar.data.formats.tables import TableReader
from bezoar.errors import InputError, LimitError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.oms import SignedTree
    from bezoar.data import Dataset

_SAMPLES = 3
_SHARDS = {
    "parquet": ".parquet",
    "webdataset": ".tar",
    "arrow": ".arrow",
}  # formats of which a part can be read alone


@dataclass(frozen=True)
class DataCheck:
    """What is irregular about the data; whether contents were `examined`; files with records that were not read as a whole."""

    irregularities: list[Irregularity]
    examined: bool = True
    unread: tuple[str, ...] = ()


def check_all(dataset: Path, seal: Seal, tree: SignedTree) -> DataCheck:
    """Read everything and compare it with the seal, which signed `tree`; InputError when there is nothing to read."""
    refused: list[str] = []
    files = hash_tree(dataset, ignored=DEFAULT_IGNORES, on_refused=noted(refused))
    stated = ((each.name, each.digest) for each in tree.resources)
    found = compare_files(stated, zip(files.paths, files.digests(), strict=True))
    try:
        there = read_records(files, Layout.described(seal.manifest.description))
    except InputError as error:
        return _unreadable(found, seal, error, refused)
    records = compare_records(seal.manifest.batches(), there)
    others = _others(found, {*_keys(seal), *records.added}) if is_by_file(there) else found
    all_of_it = _whole(description_problems(seal.manifest.description, there), records)
    return DataCheck(
        [*_as_irregularities(records), *_other_files(others), *all_of_it, *_as_problems(refused)]
    )


def check_sample(dataset: Path, seal: Seal, tree: SignedTree, plan: Plan, seed: int) -> DataCheck:
    """Compare all keys, labels, sources and other files, and the content of the records drawn; InputError as `check_all`."""
    digests = _digests(seal, draw(plan.population, plan.size, seed))
    refused: list[str] = []
    files = list_tree(dataset, ignored=DEFAULT_IGNORES, on_refused=noted(refused))
    problems: list[str] = []
    try:
        there = open_records(dataset, Layout.described(seal.manifest.description))
        if there is None:
            found = _by_file(dataset, seal, files)
            contents = list(_file_digests(dataset, set(digests), refused))
        else:
            found = compare_records(seal.manifest.batches(), described(there), ("label", "source"))
            gone = _refused_records(seal, files, found) if there.format == "folder" else set()
            found = replace(found, missing=tuple(sorted({*found.missing, *gone})))
            drawn = compare_some(
                seal.manifest.batches(), whole(there, set(digests) - gone), ("content", "further")
            )
            contents = [(change.key, bytes.fromhex(change.now)) for change in drawn.changed]
            found = replace(found, resourced=(*found.resourced, *drawn.resourced))
            problems = description_problems(seal.manifest.description, there)
    except InputError as error:
        differing = compare_files(
            ((each.name, b"") for each in tree.resources), ((name, b"") for name in files)
        )
        return _unreadable(differing, seal, error, refused)
    changed = tuple(
        Change(key, digests[key].hex(), now.hex()) for key, now in contents if now != digests[key]
    )
    found = replace(found, changed=changed)
    unread = _unread(dataset, files, there)
    records = (
        {*_keys(seal), *found.added, *found.missing} if there is None or there.format == "folder" else set()
    )
    others = _compare_others(dataset, tree, files, records, unread, refused)
    return DataCheck(
        [
            *_as_irregularities(found),
            *_other_files(others),
            *_whole(problems, found),
            *_as_problems(refused),
        ],
        unread=tuple(sorted(unread)) if there is not None else (),
    )


def _as_problems(refused: list[str]) -> list[Irregularity]:
    """What is there and was not read: links, special files, files that nobody may read."""
    return [irregularity("data-problem", problem) for problem in dict.fromkeys(refused)]


def _whole(problems: list[str], records: Differences) -> list[Irregularity]:
    """What differs of the dataset as a whole, unless its records do, which may change that and say more."""
    told = records.added or records.missing or records.relabelled
    return [] if told else [irregularity("data-problem", f"the data: {problem}") for problem in problems]


def _unreadable(found: Differences, seal: Seal, error: InputError, refused: list[str]) -> DataCheck:
    """What can be said of a dataset whose records cannot be read: which files differ, and that nothing else is known.

    Where something was refused, a link put there is not to be the reason why nothing is said: it concerns all records. So does
    what is too large to be read, for nothing as large is ever sealed.
    """
    keys = set(_keys(seal))
    records = Differences(
        missing=tuple(name for name in found.missing if name in keys),
        changed=tuple(change for change in found.changed if change.key in keys),
    )
    what = f"the records cannot be read: {error}"
    changed = refused or isinstance(error, LimitError)
    nothing = irregularity("data-problem", what, keys) if changed else irregularity("no-data", what)
    return DataCheck(
        [
            *_as_irregularities(records),
            *_other_files(_others(found, keys)),
            nothing,
            *_as_problems(refused),
        ],
        examined=False,
    )


def _others(found: Differences, records: set[str]) -> Differences:
    """The differences of files that are no records."""
    return Differences(
        tuple(name for name in found.added if name not in records),
        tuple(name for name in found.missing if name not in records),
        tuple(change for change in found.changed if change.key not in records),
    )


def _digests(seal: Seal, rows: NDArray[np.int64]) -> dict[str, bytes]:
    """The sealed digests of these rows, by key."""
    import numpy as np

    found: dict[str, bytes] = {}
    start = 0
    for batch in seal.manifest.batches():
        chosen = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + batch.num_rows)] - start
        keys, digests = batch.column("key").take(chosen), batch.column("sha256").take(chosen)
        found.update(zip(keys.to_pylist(), digests.to_pylist(), strict=True))
        start += batch.num_rows
    return found


def _file_digests(dataset: Path, wanted: set[str], refused: list[str]) -> Iterable[tuple[str, bytes]]:
    single = dataset.is_file()
    files = hash_tree(
        dataset,
        ignored=DEFAULT_IGNORES,
        wanted=lambda name: single or name in wanted,
        on_refused=noted(refused),
    )
    names = [dataset.resolve().name] if single else files.paths
    return zip(names, files.digests(), strict=True)


def _refused_records(seal: Seal, files: list[str], found: Differences) -> set[str]:
    """Records whose file is there by its name, but is a pipe, a device or a link: nobody reads them."""
    return set(_keys(seal)).difference(files, found.missing)


def _by_file(dataset: Path, seal: Seal, files: list[str]) -> Differences:
    """Files that came or went, where every file is a record."""
    there = [dataset.resolve().name] if dataset.is_file() else files
    found = compare_files(((key, b"") for key in _keys(seal)), ((name, b"") for name in there))
    return Differences(found.added, found.missing)


def _unread(dataset: Path, files: list[str], there: Dataset | None) -> set[str]:
    """The files that hold records in parts which can be read alone; all others are read as a whole."""
    if dataset.is_file():
        return {WHOLE}
    if there is None or there.format not in _SHARDS:
        return set()
    if there.format == "arrow" and isinstance(there.reader, TableReader):  # not all that are there need be
        read = set(there.reader.source.shard_names)
    else:
        read = {path.relative_to(dataset).as_posix() for path in shards(dataset, _SHARDS[there.format])}
    return read.intersection(files)


def _compare_others(
    dataset: Path,
    tree: SignedTree,
    files: list[str],
    records: set[str],
    unread: set[str],
    refused: list[str],
) -> Differences:
    """Files that are no records: all are read, except those that hold records."""
    others = {name for name in files if name not in records}
    wanted = (others - unread).__contains__
    found = hash_tree(dataset, ignored=DEFAULT_IGNORES, wanted=wanted, on_refused=noted(refused))
    read = dict(zip(found.paths, found.digests(), strict=True))
    sealed = [
        (each.name, each.digest if each.name not in unread else b"")
        for each in tree.resources
        if each.name not in records
    ]
    return compare_files(sealed, sorted({**read, **dict.fromkeys(others & unread, b"")}.items()))


def _keys(seal: Seal) -> Iterable[str]:
    for batch in seal.manifest.batches():
        yield from batch.column("key").to_pylist()


def _as_irregularities(found: Differences) -> list[Irregularity]:
    changes = {
        "data-changed": found.changed,
        "data-relabelled": found.relabelled,
        "data-resourced": found.resourced,
    }
    keys = {"data-added": found.added, "data-missing": found.missing}
    result = [
        irregularity(code, _named([repr(key) for key in some], "the data"), some)
        for code, some in keys.items()
        if some
    ]
    for code, some in changes.items():
        if some:
            said = [f"{change.key!r} ({change.was[:40]} -> {change.now[:40]})" for change in some]
            result.append(irregularity(code, _named(said, "the data"), (change.key for change in some)))
    return result


def _other_files(found: Differences) -> list[Irregularity]:
    """Files beside the records: they are no records, and are named as files."""
    names = [
        *(f"{name!r} was added" for name in found.added),
        *(f"{name!r} is missing" for name in found.missing),
        *(f"{change.key!r} was changed" for change in found.changed),
    ]
    return [irregularity("data-problem", _named(names, "files of the dataset"))] if names else []


def _named(texts: list[str], where: str) -> str:
    more = f" and {len(texts) - _SAMPLES:,} more" if len(texts) > _SAMPLES else ""
    return f"{where}: {', '.join(texts[:_SAMPLES])}{more}"
