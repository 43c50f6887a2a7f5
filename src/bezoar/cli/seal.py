"""`bezoar seal DATASET --key KEY`: hash, list and sign a dataset."""

from __future__ import annotations

import json
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.options import PATH, dataset_options, format_option
from bezoar.cli.signers import signer_of, signer_options
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal


@click.command("seal")
@click.argument("path", metavar="DATASET", type=PATH)
@signer_options
@click.option(
    "--note-key", type=PATH, metavar="FILE", help="Ed25519 key that signs the snapshot's checkpoint."
)
@click.option("--note-name", metavar="NAME", help="Name of that key, such as example.org/datasets/signs.")
@click.option("--out", type=PATH, metavar="SEAL", help="Where to put the seal; by default DATASET.seal.")
@click.option("--full", is_flag=True, help="Read every file, whatever the cache remembers of it.")
@click.option("--by-file", is_flag=True, help="Take every file for a record, whatever the dataset's format.")
@dataset_options
@click.option("--license", "licence", metavar="TEXT", help="License of the data, best as an SPDX URL.")
@click.option("--creator", metavar="NAME", help="Who made the dataset.")
@click.option("--description", metavar="TEXT", help="What the dataset is.")
@click.option("--url", metavar="URL", help="Page of the dataset.")
@click.option("--derived-from", multiple=True, metavar="URL", help="What it was made from; may be repeated.")
@format_option
def command(
    path: Path,
    note_key: Path | None,
    note_name: str | None,
    out: Path | None,
    full: bool,
    by_file: bool,
    label_column: str | None,
    content_column: str | None,
    licence: str | None,
    creator: str | None,
    description: str | None,
    url: str | None,
    derived_from: tuple[str, ...],
    form: str,
    **signing: Any,
) -> int:
    """Seal DATASET: sign every file, and every record with its label and source.

    The seal is a folder beside the data: an OpenSSF Model Signing bundle, which `model_signing verify` checks as well, a
    manifest with one row per record, the snapshot tree over them, and a Croissant description. It appears complete or not at
    all, and takes the place of an older seal in one step. Links, special files and names that cannot be signed are refused.

    Sealed anew, files that have not changed (size, times, inode) are not read again; --full reads them.
    """
    from bezoar.cli.log_options import private_key
    from bezoar.custody.seal.croissant import About
    from bezoar.custody.seal.records import Layout
    from bezoar.custody.seal.sealing import seal

    if (note_key is None) != (note_name is None):
        raise UsageError("--note-key and --note-name belong together; give both or none")
    if by_file and (label_column is not None or content_column is not None):
        raise UsageError("--by-file takes no columns; leave out --label-column and --content-column")
    notes = None
    if note_key is not None and note_name is not None:
        from bezoar.custody.tlog.keys import ed25519_signer

        notes = ed25519_signer(private_key(note_key, signing["password_file"]), note_name)
    said = {"license": licence, "creator": creator, "description": description, "url": url}
    made = seal(
        path,
        signer_of(**signing),
        out=out,
        note_signer=notes,
        about=About(
            derived_from=derived_from, **{name: text for name, text in said.items() if text is not None}
        ),
        layout=Layout(by_file, label_column, content_column),
        full=full,
    )
    _show(made, note_name, form)
    return 0


def _show(seal: Seal, note_name: str | None, form: str) -> None:
    from bezoar.report.text import count, shown

    files = length_hint(seal.stated.resources)
    if form == "json":
        value = {
            "version": 1,
            "name": seal.name,
            "seal": seal.location,
            "snapshot": seal.root.hex(),
            "records": len(seal.manifest),
            "files": files,
            "format": seal.manifest.description["format"],
            "checkpoint": note_name,
        }
        click.echo(json.dumps(value, indent=1))
        return
    click.echo(
        f"{shown(seal.location, 1000)}: {count(len(seal.manifest), 'record')} in {count(files, 'file')}"
    )
    click.echo(f"  snapshot {seal.root.hex()}")
    if note_name is not None:
        click.echo(f"  checkpoint signed as {shown(note_name, 200)}")
