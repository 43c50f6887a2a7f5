"""`bezoar fetch SOURCE OUT`: a list, repository or archive, with every byte verified before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bezoar.cli.fetch_options import check_foreign, fetch_options, list_options, open_list
from bezoar.cli.fetch_remote import fetch_remote, is_remote
from bezoar.cli.fetch_sealing import Sealing
from bezoar.cli.options import PATH, format_option
from bezoar.cli.remote_lists import remote_list, remote_signature
from bezoar.cli.remote_options import refuse_list, refuse_remote, remote_options
from bezoar.cli.signers import signer_options
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.acquire import UrlList
    from bezoar.acquire.lists.signing import IndexSignature

REJECTED = 1
INTERRUPTED = 130
_UNDERSCORES = {
    "token_normalize_func": lambda name: name.replace("_", "-")
}  # img2dataset's spelling of the same
_T = TypeVar("_T")


_SOURCES = """\b
SOURCE is
  a list of URLs: txt, CSV, TSV, JSON, Parquet, also compressed; a file, a folder, a pattern (or --url-list URL)
  a repository of the Hugging Face hub: hf://datasets/OWNER/NAME[@REVISION]
  an archive, held to --sha256 or --seal: https://.../NAME.tar.zst, .zip ...
  what lies in a store: s3://..., gs://...
"""


@click.command("fetch", epilog=_SOURCES, context_settings=_UNDERSCORES)
@click.argument("source", metavar="[SOURCE]", required=False)
@click.argument("out", metavar="[OUT]", type=PATH, required=False)
@list_options
@remote_options
@signer_options
@click.option("--log", type=PATH, metavar="LOG", help="Custody log that is told what was acquired.")
@click.option(
    "--log-key", type=PATH, metavar="FILE", help="Ed25519 key of the log; by default --key signs it, too."
)
@click.option(
    "--origin", metavar="TEXT", help="Where the data came from, in the log's words; by default SOURCE."
)
@format_option
def command(source: str | None, out: Path | None, form: str, **given: Any) -> int:
    """Download SOURCE into the folder OUT, and keep only what is what was promised.

    Rows of a list with an expected hash are verified while they arrive; rows without one are kept as unverified, or rejected
    with --require-hash. Files of a repository must be what the tree of one commit says, archives and objects of a store what
    --sha256, --seal or --pin says. What is not is set aside in OUT.fetch/quarantine. Only public addresses are connected to.

    Interrupted or killed, the same command goes on where it ended, and comes to the same result. With a signer, OUT is sealed.

    The options of img2dataset are understood, with dashes or underscores. Those for lists are refused where
    SOURCE is none, and the other way round.

    Exit codes: 0 all kept, 1 some rejected, or not what was promised, 2 error, 64 usage, 130 interrupted.
    """
    check_foreign(given)
    place = _without_fragment(_one("SOURCE", "--url-list", source, given["url_list"]))
    target = _one("OUT", "--output-folder", out, given["output_folder"])
    if is_remote(place, given):
        refuse_list(place)
        return fetch_remote(place, target, given=given, form=form, sealing=Sealing.asked(given))
    refuse_remote(place)
    return _fetch_list(place, target, given, form)


def _fetch_list(source: str, out: Path, given: dict[str, Any], form: str) -> int:
    from bezoar.acquire import Interrupted, fetch
    from bezoar.acquire.transfers import without_query
    from bezoar.cli.fetch_text import as_json, as_text, in_words

    if given["index_signature"] is not None and not given["index_key"]:
        raise UsageError("--index-signature goes with --index-key, which says who must have signed the list")
    if ":/" in str(given["index_signature"] or ""):  # as a path, `://` has lost a slash
        raise UsageError(
            "--index-signature wants a file; without it, the signature is looked for beside the list"
        )
    sealing = Sealing.asked(given)  # before the first byte: a key that cannot be read is found out now
    if sealing is not None and given["output_format"] == "dummy":
        raise UsageError("--output-format dummy keeps nothing that could be sealed; leave out the signer")
    listed = open_list(remote_list(source, out, given) if "://" in source else source, given)
    signed = _verified(listed, source, out, given)
    try:
        report = fetch(listed, out, fetch_options(given), signed)
    except Interrupted as interrupted:
        click.echo(
            f"interrupted: {interrupted.shards:,} of {interrupted.of:,} shards are finished; the same command goes on there",
            err=True,
        )
        return INTERRUPTED
    seal = None
    if sealing is not None:
        report.refuse_foreign()
        what = f"fetch {report.run_id} of the list {report.list_digest}: {in_words(report.tally)}"
        origin = f"list {without_query(source)} with SHA-256 {report.list_digest}"
        seal = sealing.finish(report.out, origin, what, kept=report.tally.kept, records=report.tally.kept)
    if form == "json":
        click.echo(as_json(report, signed, seal))
    else:
        click.echo(as_text(report, signed, seal, asked=sealing is not None))
    return REJECTED if report.tally.rejected else 0


def _one(name: str, option: str, argument: _T | None, value: _T | None) -> _T:
    """What is given in one of two ways."""
    if (argument is None) == (value is None):
        if argument is None:
            raise UsageError(f"no {name} is given; name it first, or with {option}")
        raise UsageError(f"{name} is given twice, as argument and as {option}")
    found = argument if argument is not None else value
    assert found is not None  # noqa: S101 - it is the one that was given
    return found


def _without_fragment(source: str) -> str:
    """What a server is asked for: a fragment is for whoever reads the answer."""
    return source.partition("#")[0] if source.lower().startswith(("http://", "https://")) else source


def _verified(listed: UrlList, source: str, out: Path, given: dict[str, Any]) -> IndexSignature | None:
    """The signature of the list, by one of the keys that are trusted; VerificationError when there is none that holds."""
    keys, signature = given["index_key"], given["index_signature"]
    if not keys:
        return None
    from bezoar.acquire.lists.signing import verify_index
    from bezoar.cli.signers import verifiers_of

    if signature is None and "://" in source:
        signature = remote_signature(source, out, given)
    return verify_index(listed, verifiers_of(keys, (), None, None), signature)
