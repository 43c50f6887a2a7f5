"""Known faults of `model_signing` 1.1.1, shown; and that they are not ours. A row of theirs that fails: the fault is gone."""

from __future__ import annotations

from pathlib import Path

import material
from parties import ERROR, INVALID, REFUSED, SIGNED, VALID, Reference, bezoar, bundle_of, seal, verify
from table import Table

OURS, THEIRS = "bezoar", "model_signing"


def run(table: Table, tool: Reference, folder: Path) -> None:
    folder.mkdir()
    private, public = material.key(folder, "p256")
    table.heading("faults of the reference tool, and not ours")
    _own_bundles(table, tool, folder, private, public)
    _empty(table, tool, folder, private)
    _order(table, tool, folder, private)
    _outside(table, tool, folder, private, public)
    _ignored(table, tool, folder, private, public)


def _own_bundles(table: Table, tool: Reference, folder: Path, private: Path, public: Path) -> None:
    """Bundles that it writes and cannot verify by itself."""
    plain = material.tree(folder / "plain" / "tree", material.PLAIN)
    colons = material.tree(folder / "colons" / "tree", {"a:b": b"x"})
    for what, tree, more in (
        ("shards: its own bundle", plain, {"shard_size": 10}),
        ("BLAKE2: its own bundle", plain, {"hash": "blake2"}),
        ("shards of a name with ':': its own bundle", colons, {"shard_size": 10}),
    ):
        bundle = folder / f"{len(list(folder.glob('*.sig')))}.sig"
        table.row(f"{what}, signed", THEIRS, SIGNED, tool.sign(tree, bundle, {"key": str(private)}, **more))
        table.row(what, THEIRS, INVALID, tool.verify(tree, bundle, {"key": str(public)}))
        table.row(what, OURS, VALID, verify(tree, bundle, "--key", public))


def _empty(table: Table, tool: Reference, folder: Path, private: Path) -> None:
    empty = material.tree(folder / "empty" / "tree", {})
    table.row(
        "an empty folder: sign", THEIRS, SIGNED, tool.sign(empty, folder / "e.sig", {"key": str(private)})
    )
    table.row("an empty folder: sign", OURS, REFUSED, seal(empty, "--key", private))
    _, public = material.key(folder, "p256")
    table.row("an empty folder: its bundle", OURS, ERROR, verify(empty, folder / "e.sig", "--key", public))


def _order(table: Table, tool: Reference, folder: Path, private: Path) -> None:
    """The format orders by code point: `a-b` comes before `a/b`, `-` being U+002D and `/` U+002F."""
    tree = material.tree(folder / "order" / "tree", {"a/b": b"1", "a-b": b"2"})
    bundle = folder / "order.sig"
    tool.sign(tree, bundle, {"key": str(private)})
    table.row("order of a/b and a-b", THEIRS, "a/b a-b", " ".join(material.listed(bundle)))
    seal(tree, "--key", private)
    table.row("order of a/b and a-b", OURS, "a-b a/b", " ".join(material.listed(bundle_of(tree))))


def _outside(table: Table, tool: Reference, folder: Path, private: Path, public: Path) -> None:
    """A signed name that leads out of the tree makes it read there."""
    tree = material.tree(folder / "outside" / "tree", {"a": b"1"})
    (tree.parent / "outside.txt").write_bytes(b"secret")
    bundle = folder / "outside.sig"
    material.sign_careless([("../outside.txt", b"secret"), ("a", b"1")], private, bundle)
    found = tool.verify(tree, bundle, {"key": str(public)}, ignore_unsigned=True)
    table.row("../outside.txt, unsigned files ignored", THEIRS, VALID, found)
    table.row("../outside.txt", OURS, ERROR, verify(tree, bundle, "--key", public))


def _ignored(table: Table, tool: Reference, folder: Path, private: Path, public: Path) -> None:
    tree = material.tree(folder / "ignored" / "tree", {"a": b"1"})
    seal(tree, "--key", private)
    (tree / ".github").mkdir()
    (tree / ".github" / "new").write_bytes(b"not signed")
    table.row(
        "a new file under .github", THEIRS, VALID, tool.verify(tree, bundle_of(tree), {"key": str(public)})
    )
    table.row("a new file under .github", OURS, VALID, verify(tree, bundle_of(tree), "--key", public))
    found = verify(tree, bundle_of(tree), "--key", public, "--strict")
    table.row("a new file under .github, --strict", OURS, INVALID, found)
    whole = bezoar("verify", tree, "--key", public, "--strict").returncode
    table.row("the same with the whole seal, --strict", OURS, "exit 1", f"exit {whole}")
