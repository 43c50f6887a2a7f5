"""`bezoar verify DATASET --key PUB`: is it what was sealed, and by whom?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.log_options import vkey
from bezoar.cli.options import PATH, format_option
from bezoar.cli.signers import trust_options, verifiers_of
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.custody.seal.comparing import Change, Differences
    from bezoar.custody.seal.verification import Verification
    from bezoar.custody.tlog.note import VerifierKey

INVALID = 1
NOT_AUTHENTIC = 3
_LISTED = 10  # of each kind, in the terminal


@click.command("verify")
@click.argument("path", metavar="DATASET", type=PATH)
@trust_options
@click.option("--seal", metavar="SEAL", help="Folder or URL of the seal; by default DATASET.seal.")
@click.option(
    "--name",
    metavar="NAME",
    help="The dataset's own name, where its folder or file has another now; the seal must bear it.",
)
@click.option(
    "--signature",
    type=PATH,
    metavar="FILE",
    help="Verify against this bare bundle of `model_signing` instead.",
)
@click.option(
    "--note-key",
    type=vkey,
    metavar="VKEY",
    help="Verifier key (text or file) that must have signed the checkpoint.",
)
@click.option(
    "--strict", is_flag=True, help="Report files that the signature leaves out, such as .git and .github."
)
@click.option("--records", metavar="GLOB", help="Verify only the records whose whole key matches.")
@click.option(
    "--policy",
    "policy_file",
    type=PATH,
    metavar="FILE",
    help="Trust whom this policy trusts, and demand what it demands.",
)
@click.option(
    "--log", metavar="LOG", help="Folder or URL of the custody log that the policy is held against."
)
@format_option
def command(
    path: Path,
    seal: str | None,
    name: str | None,
    signature: Path | None,
    note_key: VerifierKey | None,
    strict: bool,
    records: str | None,
    policy_file: Path | None,
    log: str | None,
    form: str,
    **trusted: Any,
) -> int:
    """Verify DATASET against its seal: who signed it, and exactly what is not as it was sealed.

    Whom to trust is said by --key, --certificate-chain (with --identity) or --identity with --issuer. Without any of them
    the result is never "valid": at best the data match a seal that anybody may have made.

    With --records nothing else is read: each matching record is proved to be in the signed snapshot.

    Exit codes: 0 valid, 1 invalid, 2 malformed or unreadable, 3 the data match a seal that was not authenticated.
    """
    from bezoar.custody.seal.plain import verify_signature
    from bezoar.custody.seal.verifying import verify

    verifiers = verifiers_of(**trusted)
    check = None
    if policy_file is not None:
        if verifiers or signature is not None:
            raise UsageError(
                "--policy says itself whom to trust; leave out --key, --certificate-chain, --identity, --signature"
            )
        from bezoar.custody.audit.demands import demands, sealers
        from bezoar.custody.audit.policy import Policy

        policy = Policy.load(policy_file)
        verifiers, check, name = sealers(policy), demands(policy, log), policy.name_of(path, name)
    elif log is not None:
        raise UsageError("--log goes with --policy, which says whom to trust in it; give both")
    if signature is not None:
        if any(each is not None for each in (seal, name, note_key, records)):
            raise UsageError(
                "--signature stands alone: a bare bundle has no seal, name, checkpoint or records"
            )
        result = verify_signature(path, signature, verifiers, strict=strict)
    else:
        result = verify(
            path,
            verifiers,
            seal=seal,
            note_key=note_key,
            strict=strict,
            records=records,
            check=check,
            name=name,
        )
    if form == "json":
        click.echo(json.dumps(_as_json(result), indent=1))
    else:
        click.echo("\n".join(_as_text(result, path)))
    return 0 if result.valid else NOT_AUTHENTIC if result.matches else INVALID


def _as_json(result: Verification) -> dict[str, Any]:
    return {
        "version": 1,
        "valid": result.valid,
        "matches": result.matches,
        "signer": result.signer,
        "name": result.name,
        "snapshot": result.root,
        "records": result.records,
        "checked": result.checked,
        **_differences(result.differences),
        "files": _differences(result.files),
        "problems": list(result.problems),
    }


def _differences(found: Differences) -> dict[str, Any]:
    def changes(them: Sequence[Change]) -> list[dict[str, str]]:
        return [{"key": one.key, "was": one.was, "now": one.now} for one in them]

    return {
        "added": list(found.added),
        "missing": list(found.missing),
        "renamed": [list(pair) for pair in found.renamed],
        "changed": changes(found.changed),
        "relabelled": changes(found.relabelled),
        "resourced": changes(found.resourced),
    }


def _as_text(result: Verification, path: Path) -> Iterator[str]:
    from bezoar.report.text import count, shown

    what = shown(str(path), 1000)
    noun = "record" if result.root else "file"  # a bare bundle knows of files only
    amount = count(result.checked, noun)
    if result.checked < result.records:
        amount += f" of {count(result.records)}; the others were not looked at"
    if result.valid:
        yield f"valid: {what} is what {shown(result.signer or '', 200)} sealed ({amount})"
    elif result.matches:
        yield f"not authenticated: {what} matches its seal ({amount}), but nothing says who made the seal"
        yield "  give --key, --certificate-chain, or --identity and --issuer to say whom you trust"
    else:
        signer = (
            f"sealed by {shown(result.signer, 200)}"
            if result.signer
            else "not signed by anyone who is trusted"
        )
        yield f"INVALID: {what} is not what was sealed ({signer})"
    yield from (f"  ! {shown(problem, 400)}" for problem in result.problems[:_LISTED])
    yield from _more(len(result.problems))
    yield from _lists(result.differences, noun)
    yield from _lists(result.files, "other file")
    if result.root:
        yield f"  snapshot {result.root} of {shown(result.name, 200)}"


def _lists(found: Differences, noun: str) -> Iterator[str]:
    from bezoar.report.text import count, shown

    renamed = dict(found.renamed)
    came = {new: old for old, new in found.renamed}
    origin = {change.was: change.key for change in found.changed}
    for keys, word, sign, other, said in (
        (found.added, "added", "+", came, "was"),
        (found.missing, "missing", "-", renamed, "is now"),
    ):
        if keys:
            yield f"{count(len(keys), noun)} {word}"
            for key in keys[:_LISTED]:
                yield f"  {sign} {shown(key, 120)}" + (
                    f" ({said} {shown(other[key], 120)})" if key in other else ""
                )
            yield from _more(len(keys))
    for changes, word, sign in (
        (found.changed, "changed", "~"),
        (found.relabelled, "relabelled", ">"),
        (found.resourced, "re-sourced", "@"),
    ):
        if changes:
            yield f"{count(len(changes), noun)} {word}"
            yield from (f"  {sign} {_change(change, word, origin)}" for change in changes[:_LISTED])
            yield from _more(len(changes))


def _change(change: Change, word: str, origin: dict[str, str]) -> str:
    from bezoar.report.text import shown

    if word == "changed":
        other = origin.get(change.now)
        taken = (
            f"; has the content of {shown(other, 120)}" if other is not None and other != change.key else ""
        )
        return f"{shown(change.key, 120)} (sha256 {change.was[:12]}... -> {change.now[:12]}...{taken})"
    return f"{shown(change.key, 120)} ({shown(change.was, 80)} -> {shown(change.now, 80)})"


def _more(total: int) -> Iterator[str]:
    from bezoar.report.text import count

    if total > _LISTED:
        yield f"    and {count(total - _LISTED)} more; --format json lists all"
