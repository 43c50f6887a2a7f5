"""Reading a sealed dataset so that every record is checked on its way: nothing that was not signed is ever handed out.

Format, shape, the order of the classes, keys, labels and sources are compared when the dataset is opened, content as it is
read. What a record has further (`further`: masks, nested columns) is not handed out, and so not compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.custody.seal.manifest import digest_rows
from bezoar.errors import InputError, LimitError, VerificationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bezoar.custody.seal.comparing import Differences
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.signers import Verifier
    from bezoar.data.dataset import Dataset, Reader

    Trust = str | Path | Verifier | Sequence[Verifier]


def open_dataset(
    path: str | Path,
    *,
    label_column: str | None = None,
    content_column: str | None = None,
    verify: Trust | None = None,
    seal: str | Path | None = None,
    name: str | None = None,
) -> Dataset:
    """The dataset at `path`: a folder, a file or a glob of shards, in any of the registered formats.

    With `verify` (the path of a public key, a verifier, or several of which one must have signed) it is checked against its
    seal (`seal`: a folder or URL, by default beside the data): the signature and every key, label and source at once, the
    content of each record when it is read. VerificationError, which names the record, at the first that is not what was sealed.
    The seal must bear the dataset's `name`, by default that of its folder or file.

    `label_column` and `content_column` choose the columns where their names are not the usual ones; a sealed dataset is
    opened with those that it was sealed with. Raises InputError when nothing lies at `path` or it is malformed,
    UnknownFormatError when no format recognises it.
    """
    from bezoar.data import open as open_path

    if verify is None:
        return open_path(path, label_column=label_column, content_column=content_column)
    return _verified(Path(path), _verifiers(verify), seal, name)


def _verifiers(trust: Trust) -> Sequence[Verifier]:
    if isinstance(trust, (str, Path)):
        from bezoar.custody.signing.keys import load_public
        from bezoar.custody.signing.signers import KeyVerifier

        return [KeyVerifier(load_public(trust))]
    return [*trust] if isinstance(trust, Sequence) else [trust]


def _verified(
    path: Path, verifiers: Sequence[Verifier], location: str | Path | None, name: str | None
) -> Dataset:
    import numpy as np
    import pyarrow.compute as pc

    from bezoar.custody.seal.comparing import compare_records
    from bezoar.custody.seal.description import description_problems
    from bezoar.custody.seal.layout import dataset_name, dataset_path, default_seal
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.seal.records import Layout, described, open_records
    from bezoar.custody.seal.verifying import authentic, misnamed

    found = dataset_path(path)
    sealed = Seal.open(location if location is not None else default_seal(found))
    tree = authentic(sealed, verifiers)
    for problem in misnamed(tree.name, name or dataset_name(found)):
        raise VerificationError(f"{path}: {problem}")
    dataset = open_records(found, Layout.described(sealed.manifest.description))
    if dataset is None:
        raise InputError(f"{path}: was sealed file by file; it is no dataset that can be opened")
    _refuse(path, compare_records(sealed.manifest.batches(), described(dataset), ("label", "source")))
    for problem in description_problems(sealed.manifest.description, dataset):
        raise VerificationError(f"{path}: {problem}")
    sha256 = np.empty((int(dataset.rows.max()) + 1, 32), np.uint8)
    sha256[dataset.rows[pc.sort_indices(dataset.keys).to_numpy()]] = _sealed_digests(sealed)
    return replace(dataset, reader=VerifyingReader(dataset.reader, sha256, dataset))


@dataclass(frozen=True)
class VerifyingReader:
    """The reader of a dataset's records, behind a comparison of each content with the digest that was sealed."""

    reader: Reader
    sha256: NDArray[np.uint8]  # the digest of each row, (rows, 32)
    dataset: Dataset

    def read(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Content of `rows`; VerificationError at the first that is not what was sealed."""
        from bezoar.data.image_files import MAX_BYTES

        for row, content in zip(rows.tolist(), self.reader.read(rows), strict=True):
            if hashlib.sha256(content).digest() != self.sha256[row].tobytes():
                where = f"{self.dataset.path}: {self._key(row)}"
                if len(content) > MAX_BYTES:
                    raise LimitError(
                        f"{where}: exceeds the limit of {MAX_BYTES:,} bytes for a record that is read"
                    )
                raise VerificationError(f"{where}: the content is not what was sealed")
            yield content

    def _key(self, row: int) -> str:
        return self.dataset.key(int((self.dataset.rows == row).nonzero()[0][0]))


def _sealed_digests(sealed: Seal) -> NDArray[np.uint8]:
    """The digests of the manifest, (N, 32)."""
    import numpy as np

    columns = [batch.column("sha256") for batch in sealed.manifest.batches()]
    return np.concatenate([digest_rows(column) for column in columns])


def _refuse(path: Path, found: Differences) -> None:
    """VerificationError for the first difference, by what it is."""
    for keys, what in ((found.added, "was not sealed"), (found.missing, "was sealed and is missing")):
        if keys:
            more = f" (and {len(keys) - 1:,} more)" if len(keys) > 1 else ""
            raise VerificationError(f"{path}: {keys[0]}: {what}{more}")
    for changes, what in ((found.relabelled, "label"), (found.resourced, "source")):
        if changes:
            one, more = changes[0], f" (and {len(changes) - 1:,} more)" if len(changes) > 1 else ""
            raise VerificationError(
                f"{path}: {one.key}: the {what} was sealed as {one.was}, it is {one.now}{more}"
            )
