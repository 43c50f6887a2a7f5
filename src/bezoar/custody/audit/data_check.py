"""The data against the sealed manifest: keys, labels and sources of every record, and the content of a sample or of all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
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
from bezoar.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.oms import SignedTree
    from bezoar.data import Dataset

_SAMPLES = 3


def check_all(dataset: Path, seal: Seal, tree: SignedTree) -> list[Irregularity]:
    """Read everything and compare it with the seal, which signed `tree`; InputError when there is nothing to read."""
    refused: list[str] = []
    files = hash_tree(dataset, ignored=DEFAULT_IGNORES, on_refused=noted(refused))
    stated = ((each.name, each.digest) for each in tree.resources)
    found = compare_files(stated, zip(files.paths, files.digests(), strict=True))
    problems = [irregularity("data-problem", problem) for problem in refused]
    try:
        there = read_records(files, Layout.described(seal.manifest.description))
    except InputError as error:
        return [*_unreadable(found, seal, error), *problems]
    records = compare_records(seal.manifest.batches(), there)
    others = _others(found, {*_keys(seal), *records.added}) if is_by_file(there) else found
    all_of_it = _whole(description_problems(seal.manifest.description, there), records)
    return [*_as_irregularities(records), *_other_files(others), *all_of_it, *problems]


def check_sample(dataset: Path, seal: Seal, tree: SignedTree, plan: Plan, seed: int) -> list[Irregularity]:
    """Compare all keys, labels and sources, and the content of the records drawn; InputError when there is nothing to read."""
    digests = _digests(seal, draw(plan.population, plan.size, seed))
    files = list_tree(dataset, ignored=DEFAULT_IGNORES)
    problems: list[str] = []
    try:
        there = open_records(dataset, Layout.described(seal.manifest.description))
        if there is None:
            found = _by_file(dataset, seal, files)
            contents = list(_file_digests(dataset, set(digests)))
        else:
            found = compare_records(seal.manifest.batches(), described(there), ("label", "source"))
            drawn = compare_some(seal.manifest.batches(), whole(there, set(digests)), ("content", "further"))
            contents = [(change.key, bytes.fromhex(change.now)) for change in drawn.changed]
            found = replace(found, resourced=(*found.resourced, *drawn.resourced))
            problems = description_problems(seal.manifest.description, there)
    except InputError as error:
        differing = compare_files(
            ((each.name, b"") for each in tree.resources), ((name, b"") for name in files)
        )
        return _unreadable(differing, seal, error)
    changed = tuple(
        Change(key, digests[key].hex(), now.hex()) for key, now in contents if now != digests[key]
    )
    found = replace(found, changed=changed)
    names = {WHOLE} if dataset.is_file() else {*_keys(seal), *found.added, *found.missing}
    others = _other_files(_compare_others(dataset, tree, files, names, there))
    return [*_as_irregularities(found), *others, *_whole(problems, found)]


def _whole(problems: list[str], records: Differences) -> list[Irregularity]:
    """What differs of the dataset as a whole, unless its records do, which may change that and say more."""
    told = records.added or records.missing or records.relabelled
    return [] if told else [irregularity("data-problem", f"the data: {problem}") for problem in problems]


def _unreadable(found: Differences, seal: Seal, error: InputError) -> list[Irregularity]:
    """What can be said of a dataset whose records cannot be read: which files differ, and that nothing else is known."""
    keys = set(_keys(seal))
    records = Differences(
        missing=tuple(name for name in found.missing if name in keys),
        changed=tuple(change for change in found.changed if change.key in keys),
    )
    return [
        *_as_irregularities(records),
        *_other_files(_others(found, keys)),
        irregularity("no-data", f"the records cannot be read: {error}"),
    ]


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


def _file_digests(dataset: Path, wanted: set[str]) -> Iterable[tuple[str, bytes]]:
    single = dataset.is_file()
    files = hash_tree(dataset, ignored=DEFAULT_IGNORES, wanted=lambda name: single or name in wanted)
    names = [dataset.resolve().name] if single else files.paths
    return zip(names, files.digests(), strict=True)


def _by_file(dataset: Path, seal: Seal, files: list[str]) -> Differences:
    """Files that came or went, where every file is a record."""
    there = [dataset.resolve().name] if dataset.is_file() else files
    found = compare_files(((key, b"") for key in _keys(seal)), ((name, b"") for name in there))
    return Differences(found.added, found.missing)


def _compare_others(
    dataset: Path, tree: SignedTree, files: list[str], records: set[str], there: Dataset | None
) -> Differences:
    """Files that are no records. They are read where records are files; files that hold records are not."""
    sealed = [(each.name, each.digest) for each in tree.resources if each.name not in records]
    others = [name for name in files if name not in records]
    if there is None or there.format == "folder":
        found = hash_tree(dataset, ignored=DEFAULT_IGNORES, wanted=set(others).__contains__)
        return compare_files(sealed, zip(found.paths, found.digests(), strict=True))
    return compare_files(((name, b"") for name, _ in sealed), ((name, b"") for name in others))


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
