"""Verifying a dataset against its seal: who signed, and exactly what is added, missing, changed, relabelled or re-sourced.

It fails closed. The signature is checked first; then that the manifest and the description are the signed ones; that the
manifest's rows give the signed snapshot root and the stored tiles; that the files are the signed ones; and that every record
is what its row says. Without a verifier nothing is authentic, and the result is never valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.custody.seal.comparing import Differences, compare_files, compare_records
from bezoar.custody.seal.description import description_problems
from bezoar.custody.seal.hashing import hash_tree
from bezoar.custody.seal.layout import (
    BUNDLE,
    CROISSANT,
    CROISSANT_DIGEST,
    MANIFEST,
    MANIFEST_DIGEST,
    SNAPSHOT_DIGEST,
    dataset_name,
    dataset_path,
    default_seal,
)
from bezoar.custody.seal.reading import Seal
from bezoar.custody.seal.records import Layout, is_by_file, read_records, read_some
from bezoar.custody.seal.snapshot import leaf_hashes
from bezoar.custody.seal.verification import Verification, noted, unsigned
from bezoar.custody.signing.oms import DEFAULT_IGNORES, Bundle, SignedTree, verify_bundle
from bezoar.custody.signing.oms_payload import read_payload
from bezoar.errors import InputError, UsageError, VerificationError

if TYPE_CHECKING:
    import pyarrow as pa

    from bezoar.custody.signing.signers import Verifier
    from bezoar.custody.tlog.note import VerifierKey


Check = Callable[[Verification, Seal], Sequence[str]]  # further demands: the problems found, one line each


def verify(
    path: str | Path,
    verifier: Verifier | Sequence[Verifier] | None,
    *,
    seal: str | Path | None = None,
    note_key: VerifierKey | None = None,
    strict: bool = False,
    records: str | None = None,
    check: Check | None = None,
    name: str | None = None,
) -> Verification:
    """Verify the dataset at `path` against its seal (`seal`: a folder or URL, by default beside the data).

    `verifier`: whom to trust (any one of several); None: nobody, and the result is not valid. `note_key` demands a checkpoint
    signed by it. `strict` reports files that OpenSSF Model Signing leaves unsigned. `records`, a pattern of keys (`*`, `?`,
    `[…]`), verifies only those records' content, label and place in the signed snapshot. `check` sees the result and the seal
    and adds problems of its own (a policy). `name` is the dataset's own, which the seal must bear; by default that of `path`.

    Differences are reported, not raised. Raises InputError when the dataset or the seal is missing or malformed.
    """
    dataset = dataset_path(path)
    sealed = Seal.open(seal if seal is not None else default_seal(dataset))
    problems: list[str] = []
    signer, tree = signed_by(sealed.bundle(), verifier, sealed.where(BUNDLE), problems)
    problems += misnamed(tree.name, name or dataset_name(dataset))
    _check_parts(sealed, tree, problems)
    _check_checkpoint(sealed, tree, note_key, problems)
    result = Verification(tree.name, tree.extra.get(SNAPSHOT_DIGEST, ""), signer, len(sealed.manifest), 0)
    if records is not None:
        differences, checked = _verify_some(dataset, sealed, tree, records, problems)
        result = replace(result, differences=differences, checked=checked)
    else:
        _check_tree(sealed, tree, problems)
        differences, files = _verify_all(dataset, sealed, tree, problems)
        result = replace(result, differences=differences, files=files, checked=len(sealed.manifest))
    if strict:
        problems += unsigned(dataset, DEFAULT_IGNORES)
    result = replace(result, problems=tuple(problems))
    if check is not None:
        result = replace(result, problems=(*result.problems, *check(result, sealed)))
    return result


def misnamed(sealed: str, expected: str) -> list[str]:
    """A problem when a seal is of a dataset of another name: somebody may have put that in the place of this one."""
    if sealed == expected:
        return []
    return [
        f"the seal is of the dataset {sealed!r}, not {expected!r}; if it was renamed, say so (name, or [dataset] in the policy)"
    ]


def authentic(
    sealed: Seal, verifier: Verifier | Sequence[Verifier], note_key: VerifierKey | None = None
) -> SignedTree:
    """What a trusted signer says in a seal; VerificationError, which says what, when any part is not what was signed."""
    problems: list[str] = []
    _, tree = signed_by(sealed.bundle(), verifier, sealed.where(BUNDLE), problems)
    _check_parts(sealed, tree, problems)
    _check_checkpoint(sealed, tree, note_key, problems)
    if not problems:
        _check_tree(sealed, tree, problems)
    if problems:
        raise VerificationError(problems[0])
    return tree


def signed_by(
    bundle: Bundle, verifier: Verifier | Sequence[Verifier] | None, where: str, problems: list[str]
) -> tuple[str | None, SignedTree]:
    """Who signed, and what; None, and a problem, when none of those who are trusted did."""
    verifiers = verifier if isinstance(verifier, Sequence) else [verifier] if verifier is not None else []
    refusals = []
    for one in verifiers:
        try:
            tree = verify_bundle(bundle, one, where)
        except VerificationError as error:
            refusals.append(str(error))
        else:
            return tree.signer, tree
    if refusals:
        problems.append(
            f"{where}: {refusals[0] if len(refusals) == 1 else 'is signed by none of those who are trusted'}"
        )
    try:
        return None, read_payload(bundle.envelope.payload, where)
    except VerificationError as error:
        problems.append(str(error))
        raise VerificationError("; ".join(problems)) from error


def _check_parts(sealed: Seal, tree: SignedTree, problems: list[str]) -> None:
    """That the manifest and the description are, byte for byte, the ones that were signed."""
    for name, digest in ((MANIFEST, MANIFEST_DIGEST), (CROISSANT, CROISSANT_DIGEST)):
        stated = tree.extra.get(digest)
        if stated is None:
            problems.append(
                f"{sealed.where(BUNDLE)}: does not sign {name}; this is the signature of something else"
            )
        elif sealed.digest(name) != stated:
            problems.append(
                f"{sealed.where(name)}: is not the one that was signed; it was changed or replaced"
            )


def _check_checkpoint(sealed: Seal, tree: SignedTree, key: VerifierKey | None, problems: list[str]) -> None:
    """That the checkpoint, if there is one, is about the signed snapshot, and signed by `key`, if one is given."""
    note = sealed.checkpoint()
    where = sealed.where("checkpoint")
    if note is None:
        if key is not None:
            problems.append(f"{where}: is missing; the dataset was sealed without a note key")
        return
    from bezoar.custody.tlog.checkpoint import Checkpoint, open_checkpoint
    from bezoar.custody.tlog.note import Note

    try:
        stated = (
            open_checkpoint(note, key)[0] if key is not None else Checkpoint.parse_body(Note.parse(note).text)
        )
    except VerificationError as error:
        problems.append(f"{where}: {error}")
        return
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if stated.root.hex() != tree.extra.get(SNAPSHOT_DIGEST) or stated.size != len(sealed.manifest):
        problems.append(f"{where}: is about another snapshot; it was changed, or is of an older seal")


def _check_tree(sealed: Seal, tree: SignedTree, problems: list[str]) -> None:
    """That the manifest's rows give the signed root, and the stored tiles are those of that tree."""
    from bezoar.custody.seal.tile_check import TileCheck

    check = TileCheck(sealed.storage)
    for batch in sealed.manifest.batches():
        check.extend(leaf_hashes(batch))
    root = check.finish()
    if root.hex() != tree.extra.get(SNAPSHOT_DIGEST):
        problems.append(f"{sealed.where(MANIFEST)}: its rows do not give the snapshot that was signed")
    problems += [f"{sealed.location}/{path}: {why}" for path, why in check.damaged]


def _verify_all(
    dataset: Path, sealed: Seal, tree: SignedTree, problems: list[str]
) -> tuple[Differences, Differences]:
    """Differences of the records, and of the files that are no records."""
    files = hash_tree(dataset, ignored=DEFAULT_IGNORES, on_refused=noted(problems))
    found = compare_files(((r.name, r.digest) for r in tree.resources), files.digest_of_each())
    try:
        there = read_records(files, Layout.described(sealed.manifest.description))
    except InputError as error:
        if not (found or problems):
            raise
        problems.append(f"the records cannot be compared one by one: {error}")
        return Differences(), found
    records = compare_records(sealed.manifest.batches(), there)
    if not (records.added or records.missing or records.relabelled):  # which may change it, and say more
        problems += description_problems(sealed.manifest.description, there)
    return records, _without(found, records) if is_by_file(there) else found


def _without(files: Differences, records: Differences) -> Differences:
    """The differences of files that are not told by those of the records already."""
    added, missing = set(records.added), set(records.missing)
    changed = {change.key for change in records.changed}
    return Differences(
        tuple(name for name in files.added if name not in added),
        tuple(name for name in files.missing if name not in missing),
        tuple(change for change in files.changed if change.key not in changed),
    )


def _verify_some(
    dataset: Path, sealed: Seal, tree: SignedTree, pattern: str, problems: list[str]
) -> tuple[Differences, int]:
    """Differences of the records whose keys match, each row proved to be in the signed snapshot; and their number."""
    rows = _Matching(sealed, tree, pattern)
    there = read_some(dataset, Layout.described(sealed.manifest.description), pattern)
    differences = compare_records(rows.batches(), there)
    problems += rows.problems
    if not (differences.added or differences.missing or differences.relabelled):
        problems += description_problems(sealed.manifest.description, there)
    if not rows.count and not len(there):
        raise UsageError(f"{dataset}: no record matches {pattern!r}; a pattern is compared with whole keys")
    return differences, rows.count


class _Matching:
    """The manifest's rows whose keys match a pattern; a row that is not in the signed snapshot is a problem."""

    def __init__(self, sealed: Seal, tree: SignedTree, pattern: str) -> None:
        self._sealed, self._pattern = sealed, pattern
        self._root = bytes.fromhex(tree.extra.get(SNAPSHOT_DIGEST, ""))
        self.count = 0
        self.problems: list[str] = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from bezoar.custody.seal.records import matching

        place = 0
        for batch in self._sealed.manifest.batches():
            mask = matching(batch.column("key"), self._pattern)
            part = batch.filter(pa.array(mask))
            places = (place + mask.nonzero()[0]).tolist()
            place += batch.num_rows
            if part.num_rows:
                self._prove(part, places)
                self.count += part.num_rows
                yield part

    def _prove(self, part: pa.RecordBatch, places: list[int]) -> None:
        from bezoar.custody.tlog.merkle import verify_inclusion

        size = len(self._sealed.manifest)
        for key, place, digest in zip(part.column("key").to_pylist(), places, leaf_hashes(part), strict=True):
            try:
                verify_inclusion(digest, place, size, self._sealed.tree.inclusion(place), self._root)
            except (VerificationError, InputError) as error:
                self.problems.append(f"record {key}: is not proved to be in the signed snapshot ({error})")
