"""`bezoar index ...`: a list of URLs before it is fetched: bound to its contents and signed, verified, analysed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.options import PATH, format_option
from bezoar.cli.signers import signer_of, signer_options, trust_options, verifiers_of
from bezoar.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from bezoar.acquire.lists.from_fetch import Bound
    from bezoar.acquire.lists.reading import UrlList

FOUND = 1


@click.group(
    "index",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),  # img2dataset's spelling
    },
)
def command() -> None:
    """Sign, verify and analyse a list of URLs before anything of it is fetched.

    LIST is a file, a folder or a pattern of files: txt, CSV, TSV, JSON, Parquet, also compressed.
    """


def list_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--input-format`, `--url-col`, `--verify-hash`, as for `bezoar fetch`: arguments of `_open`."""
    for option in reversed(
        (
            click.option(
                "--input-format",
                metavar="KIND",
                help="txt, csv, tsv, jsonl, json or parquet; by default as the suffix says.",
            ),
            click.option(
                "--url-col", metavar="NAME", help="Column of the URLs; by default `url` in any case."
            ),
            click.option(
                "--verify-hash",
                metavar="COLUMN,KIND",
                help="Column of the expected hashes, and sha256, sha512, sha1 or md5; by default `sha256` where there is one.",
            ),
        )
    ):
        function = option(function)
    return function


signature_option = click.option(
    "--signature", type=PATH, metavar="FILE", help="File of the signature; by default LIST.sig."
)


@command.command("sign")
@click.argument("path", metavar="LIST", type=PATH)
@click.option(
    "--from",
    "fetched",
    type=PATH,
    metavar="FETCHED",
    help="Take the hashes from this output of an earlier `bezoar fetch` of the list; goes with --out.",
)
@click.option("--out", type=PATH, metavar="NEW", help="Where to write the list with its hashes (Parquet).")
@signature_option
@list_options
@signer_options
@format_option
def sign(
    path: Path,
    fetched: Path | None,
    out: Path | None,
    signature: Path | None,
    input_format: str | None,
    url_col: str | None,
    verify_hash: str | None,
    form: str,
    **signing: Any,
) -> int:
    """Sign LIST, every row of which must carry the SHA-256 of its content.

    With --from, a list without hashes gets those of what an earlier fetch received; rows that were not kept then are left out.
    That trusts the servers once: from then on they must serve what they served that day.

    The signature is an OpenSSF Model Signing bundle, which `model_signing verify` checks as well.
    """
    from bezoar.acquire.lists.from_fetch import sign_fetched
    from bezoar.acquire.lists.signing import sign_index

    if (fetched is None) != (out is None):
        raise UsageError("--from and --out belong together; give both or none")
    source = _open(path, input_format, url_col, verify_hash)
    signer = signer_of(**signing)
    bound = None
    if fetched is not None and out is not None:
        source, made, bound = sign_fetched(source, fetched, out, signer, signature)
        rows = bound.bound
    else:
        made, binding = sign_index(source, signer, signature)
        rows = binding.rows
    if form == "json":
        value = {
            "version": 1,
            "list": str(source.path),
            "signature": str(made.signature),
            "rows": rows,
            "root": made.root,
            "left_out": None if bound is None else dict(bound.left_out),
        }
        click.echo(json.dumps(value, indent=1))
    else:
        click.echo("\n".join(_signed(source, made.signature, rows, made.root, bound)))
    return 0


@command.command("verify")
@click.argument("path", metavar="LIST", type=PATH)
@signature_option
@list_options
@trust_options
@format_option
def verify(
    path: Path,
    signature: Path | None,
    input_format: str | None,
    url_col: str | None,
    verify_hash: str | None,
    form: str,
    **trusted: Any,
) -> int:
    """Verify that LIST is, byte for byte, what somebody who is trusted has signed, and that every row is bound to its content.

    Exit codes: 0 valid, 1 not what was signed, or rows without a hash, 2 malformed or unreadable.
    """
    from bezoar.acquire.lists.binding import binding
    from bezoar.acquire.lists.signing import verify_index
    from bezoar.report.text import count, shown

    verifiers = verifiers_of(**trusted)
    if not verifiers:
        raise UsageError("nobody is trusted; give --key, --certificate-chain, or --identity and --issuer")
    try:
        found = verify_index(path, verifiers, signature)  # before anything in it is parsed
        bound = binding(_open(path, input_format, url_col, verify_hash))
        found.check_unchanged()
    except VerificationError as error:
        if form != "json":
            raise
        click.echo(json.dumps({"version": 1, "valid": False, "problem": str(error)}, indent=1))
        return FOUND
    problem = None if bound.complete else bound.first or "it has no rows"
    if form == "json":
        value = {
            "version": 1,
            "valid": bound.complete,
            "problem": problem,
            "signer": found.signer,
            "root": found.root,
            "rows": bound.rows,
            "missing": bound.missing,
            "malformed": bound.malformed,
        }
        click.echo(json.dumps(value, indent=1))
    elif bound.complete:
        click.echo(
            f"valid: {shown(str(path), 1000)} is what {shown(found.signer, 200)} signed; all "
            f"{count(bound.rows, 'row')} are bound to their contents"
        )
    else:
        click.echo(
            f"NOT BOUND: {shown(str(path), 1000)} is what {shown(found.signer, 200)} signed, but "
            f"{shown(problem or '', 300)}; the signature says nothing of the contents of "
            f"{count(bound.missing + bound.malformed, 'row')}"
        )
    return 0 if bound.complete else FOUND


@command.command("analyze")
@click.argument("path", metavar="LIST", type=PATH)
@click.option(
    "--prices",
    type=PATH,
    metavar="FILE",
    help="CSV with the columns domain, expires (2027-01-31), price (12.50): what lapses or is for sale.",
)
@click.option("--html", type=PATH, metavar="FILE", help="Also write a page with plots to this new file.")
@click.option(
    "--suffixes",
    type=click.Choice(["icann", "all"]),
    default="icann",
    show_default=True,
    help="What is one domain: all of blogspot.com (icann), or each of its customers (all).",
)
@click.option(
    "--rows",
    "listed",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    help="Rows to name of each oddity; in the terminal at most 5.",
)
@click.option(
    "--date",
    "day",
    metavar="DAY",
    help="The day as of which --prices are looked at, such as 2027-01-31; by default today (UTC).",
)
@list_options
@format_option
def analyze(
    path: Path,
    prices: Path | None,
    html: Path | None,
    suffixes: str,
    listed: int,
    day: str | None,
    input_format: str | None,
    url_col: str | None,
    verify_hash: str | None,
    form: str,
) -> int:
    """Say who controls LIST, which of its rows are odd, and what it would cost to own a part of it. Nothing is looked up online.

    Domains are told apart by a pinned Public Suffix List, whose version is in the result.

    Exit codes: 0 nothing odd, 1 odd rows, or rows on domains that have lapsed or are for sale, 2 error.
    """
    from bezoar.acquire.lists.analysis import analyze as analysed
    from bezoar.acquire.lists.domains import Suffixes, suffix_list
    from bezoar.acquire.lists.prices import read_prices
    from bezoar.files import atomic_file, refuse_existing
    from bezoar.report.index_json import index_to_json
    from bezoar.report.index_terminal import index_to_terminal

    if html is not None:
        refuse_existing(html)
    when = _day(day)
    source = _open(path, input_format, url_col, verify_hash)
    known = suffix_list(Suffixes(suffixes))
    offers = None if prices is None else read_prices(prices, known)
    found = analysed(source, known, offers=offers, day=when, listed=listed)
    if html is not None:
        from bezoar.report.index_html import index_to_html

        with atomic_file(html) as file:
            file.write(index_to_html(found).encode())
    click.echo(json.dumps(index_to_json(found), indent=1) if form == "json" else index_to_terminal(found))
    return FOUND if found.suspicious else 0


def _open(path: Path, input_format: str | None, url_col: str | None, verify_hash: str | None) -> UrlList:
    from bezoar.acquire.lists.reading import UrlList

    return UrlList.open(path, _named(url_col, verify_hash), input_format)


def _named(url_col: str | None, verify_hash: str | None) -> Any:
    from bezoar.acquire.lists.reading import Columns

    if verify_hash is None:
        return Columns(url=url_col)
    column, comma, kind = verify_hash.rpartition(",")
    if not comma:
        raise UsageError("--verify-hash: give the column and its kind, such as sha256,sha256")
    return Columns(url=url_col, hash=column.strip(), hash_kind=kind.strip())


def _day(text: str | None) -> date:
    if text is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--date: {text[:40]!r} is no day; write it as 2027-01-31") from None


def _signed(source: UrlList, signature: Path, rows: int, root: str, bound: Bound | None) -> list[str]:
    from bezoar.report.text import count, shown

    lines = [
        f"{shown(str(signature), 1000)}: signs {count(rows, 'row')} of {shown(str(source.path), 1000)} with their hashes"
    ]
    if bound is not None:
        left_out = bound.rows - bound.bound
        lines.append(
            "  the hashes are of what the servers gave that day; nothing tells whether it was what was meant"
        )
        if left_out:
            why = ", ".join(f"{shown(reason, 40)} {n:,}" for reason, n in sorted(bound.left_out.items()))
            lines.append(
                f"  {count(left_out, 'row')} of {count(bound.rows)} left out, for nothing of them was kept: {why}"
            )
    return [*lines, f"  root {root}"]
