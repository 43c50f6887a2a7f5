"""A list with the hashes of what an earlier fetch of it received, for lists that came without any.

This trusts the first fetch: what the servers gave on that day is what every later fetch must give. Whether that was what the
makers of the list had seen, nothing can tell any more. Rows that were not kept then are left out: nothing is known that could
be promised of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.lists.columns import Columns, Malformed, digest_of
from bezoar.acquire.lists.reading import UrlList
from bezoar.acquire.lists.rows import Row
from bezoar.acquire.lists.signing import IndexSignature, check_signing, default_signature, sign_index
from bezoar.acquire.reasons import Verdict
from bezoar.errors import InputError, UsageError
from bezoar.files import atomic_file
from bezoar.progress import track

if TYPE_CHECKING:
    import pyarrow as pa

    from bezoar.custody.signing.signers import Signer

SHA256 = "sha256"
_ROWS = 8192  # held at a time
_KEPT = (Verdict.VERIFIED, Verdict.UNVERIFIED)


@dataclass(frozen=True)
class Bound:
    """How many `rows` the list has, how many of them the new one has (`bound`), and why the others were left out."""

    rows: int
    bound: int
    left_out: Mapping[str, int]


def sign_fetched(
    source: UrlList, fetched: Path, target: Path, signer: Signer, signature: Path | None = None
) -> tuple[UrlList, IndexSignature, Bound]:
    """The list with the hashes of what `fetched` received as the Parquet file `target`, signed; both are there, or neither.

    Raises as `bind_fetched` and `sign_index` do.
    """
    check_signing(signer, signature or default_signature(target))
    bound = bind_fetched(source, fetched, target)
    try:
        new = UrlList.open(target, Columns(url=source.columns.url))
        made, _ = sign_index(new, signer, signature)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return new, made, bound


def bind_fetched(source: UrlList, out: Path, target: Path) -> Bound:
    """Write the list to the Parquet file `target` with a column `sha256` of what the fetch in the folder `out` received.

    All columns are kept; one that is named `sha256` is replaced. InputError, and nothing is written, when `out` is no output of
    a fetch of this very list, or of one that is not finished; OutputError when `target` exists.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if target.suffix != ".parquet":
        raise UsageError(f"{target}: the new list is Parquet; name it {target.stem}.parquet")
    whole = replace(source, columns=replace(source.columns, extra=source.names))
    name = next((each for each in whole.names if each.lower() == SHA256), SHA256)
    fields = [field for field in whole.extra_schema if field.name != name]
    schema = pa.schema([*fields, pa.field(name, pa.string())])
    left_out: Counter[str] = Counter()
    bound = 0
    rows = _together(whole, out)
    with (
        atomic_file(target) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
        track("rows") as bar,
    ):
        while some := list(islice(rows, _ROWS)):
            kept = [(row, digest) for row, digest, _ in some if digest]
            left_out.update(why for _, digest, why in some if not digest)
            columns = [_column([row.extra[field.name] for row, _ in kept], field.type) for field in fields]
            writer.write_table(
                pa.table([*columns, pa.array([digest for _, digest in kept], pa.string())], schema=schema)
            )
            bound += len(kept)
            bar.advance(len(some))
        if not bound:
            raise InputError(f"{out}: has kept nothing of {source.path}; there is nothing to bind")
    return Bound(bound + left_out.total(), bound, dict(left_out))


def _together(source: UrlList, out: Path) -> Iterator[tuple[Row, str, str]]:
    """Each row with the digest of what was received, or with "" and why there is none."""
    fetched = _fetched(out)
    for row in source.rows():
        url, digest, why = next(fetched, (None, "", ""))
        if url is None:
            raise InputError(
                f"{out}: ends before row {row.number} of {source.path}; finish the fetch, then bind it"
            )
        if url != row.url:
            raise InputError(
                f"{out}: has {url[:100]!r} where row {row.number} of {source.path} has {row.url[:100]!r}; "
                "give the output of a fetch of this very list"
            )
        yield row, digest, why
    if next(fetched, None) is not None:
        raise InputError(
            f"{out}: goes on after the end of {source.path}; give the output of a fetch of this very list"
        )


def _fetched(out: Path) -> Iterator[tuple[str, str, str]]:
    """URL, digest and reason of each row, in the order of the list, from the provenance tables."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bezoar.acquire.shards import provenance_files

    files = provenance_files(out) if out.is_dir() else []
    if not files:
        raise InputError(f"{out}: is no output of `bezoar fetch`: it has no tables 00000.parquet, ...")
    for number, file in enumerate(files):
        if int(file.stem) != number:
            raise InputError(f"{out}: shard {number} is missing; finish the fetch, then bind it")
        try:
            with pq.ParquetFile(file) as opened:
                wanted = ["url", "source_sha256", "verdict", "reason"]
                for batch in opened.iter_batches(_ROWS, columns=wanted, use_threads=False):
                    for cells in zip(*(batch.column(name).to_pylist() for name in wanted), strict=True):
                        yield _checked(file, *cells)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            what = " ".join(str(error).split())[:160]
            raise InputError(f"{file}: is no provenance table of a fetch ({what})") from error


def _checked(file: Path, url: Any, digest: Any, verdict: Any, reason: Any) -> tuple[str, str, str]:
    if verdict not in _KEPT:
        return str(url or ""), "", str(reason or "not kept")
    try:
        known = digest_of(digest, SHA256)
    except Malformed as error:
        raise InputError(f"{file}: source_sha256 {error}") from error
    return str(url or ""), known.hex() if known else "", "no digest was noted"


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_string(kind):
        values = [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]
    return pa.array(values, kind)
