"""OpenSSF Model Signing in both directions: keys, certificates, shards, BLAKE2, single files; and what must not verify."""

from __future__ import annotations

from pathlib import Path

import material
from parties import INVALID, SIGNED, VALID, Reference, bundle_of, seal, verify
from table import Table

VECTORS = Path(__file__).parents[1] / "vectors" / "signing"
OURS, THEIRS = "bezoar", "model_signing"


def run(table: Table, tool: Reference, folder: Path) -> None:
    folder.mkdir()
    _keys(table, tool, folder)
    _certificates(table, tool, folder)
    _other_hashes(table, tool, folder)
    _changes(table, tool, folder)


def _keys(table: Table, tool: Reference, folder: Path) -> None:
    table.heading("keys, both ways: a tree with spaces, ':', Unicode, an empty file, a/b beside a-b")
    tree = material.tree(folder / "keys" / "tree", material.COLONS)
    for kind in ("p256", "p384", "p521"):
        private, public = material.key(folder, kind)
        table.row(f"{kind}: we sign", OURS, SIGNED, seal(tree, "--key", private))
        bundle = bundle_of(tree)
        command = tool.command("verify", "key", "--signature", bundle, "--public_key", public, tree)
        table.row(f"{kind}: our bundle (command line)", THEIRS, VALID, command)
        table.row(
            f"{kind}: our bundle (library)", THEIRS, VALID, tool.verify(tree, bundle, {"key": str(public)})
        )
        table.row(f"{kind}: our bundle", OURS, VALID, verify(tree, bundle, "--key", public))
        theirs = folder / f"{kind}.sig"
        table.row(f"{kind}: they sign", THEIRS, SIGNED, tool.sign(tree, theirs, {"key": str(private)}))
        table.row(f"{kind}: their bundle", OURS, VALID, verify(tree, theirs, "--key", public))
    file = material.tree(folder / "file", {"data.bin": b"x" * 1000}) / "data.bin"
    private, public = material.key(folder, "p256")
    table.row("single file: we sign", OURS, SIGNED, seal(file, "--key", private))
    found = tool.verify(file, bundle_of(file), {"key": str(public)})
    table.row("single file: our bundle", THEIRS, VALID, found)
    theirs = folder / "file.sig"
    table.row("single file: they sign", THEIRS, SIGNED, tool.sign(file, theirs, {"key": str(private)}))
    table.row("single file: their bundle", OURS, VALID, verify(file, theirs, "--key", public))


def _certificates(table: Table, tool: Reference, folder: Path) -> None:
    table.heading("certificates, both ways: leaf, authority between, root")
    tree = material.tree(folder / "certificates" / "tree", material.COLONS)
    private, _ = material.key(folder, "p256")
    leaf, between, root = material.certificates(folder, private)
    table.row(
        "we sign", OURS, SIGNED, seal(tree, "--key", private, "--certificate-chain", folder / "chain.pem")
    )
    command = tool.command(
        "verify", "certificate", "--signature", bundle_of(tree), "--certificate_chain", root, tree
    )
    table.row("our bundle (command line)", THEIRS, VALID, command)
    theirs = folder / "certificate.sig"
    how = {"key": str(private), "chain": [str(leaf), str(between)]}
    table.row("they sign", THEIRS, SIGNED, tool.sign(tree, theirs, how))
    trusted = ("--certificate-chain", root)
    table.row("their bundle", OURS, VALID, verify(tree, theirs, *trusted))
    for identity, expected in (("release@example.org", VALID), ("other@example.org", INVALID)):
        found = verify(tree, theirs, *trusted, "--identity", identity)
        table.row(f"their bundle, as {identity}", OURS, expected, found)
    _, _, stranger = material.certificates(material.tree(folder / "stranger", {}), private)
    table.row(
        "their bundle, another root", OURS, INVALID, verify(tree, theirs, "--certificate-chain", stranger)
    )
    found = tool.verify(tree, bundle_of(tree), {"roots": [str(stranger)]})
    table.row("our bundle, another root", THEIRS, INVALID, found)


def _other_hashes(table: Table, tool: Reference, folder: Path) -> None:
    table.heading("shards, BLAKE2, and bundles from before 1.0")
    private, public = material.key(folder, "p256")
    plain = material.tree(folder / "shards" / "tree", material.PLAIN)
    ours = folder / "our-shards.sig"
    material.sign_shards(material.PLAIN, 10, private, ours)
    table.row("our shards", THEIRS, VALID, tool.verify(plain, ours, {"key": str(public)}))
    table.row("our shards", OURS, VALID, verify(plain, ours, "--key", public))
    odd = material.tree(folder / "odd" / "tree", material.COLONS)
    for name, more in (
        ("shards", {"shard_size": 10}),
        ("blake2", {"hash": "blake2"}),
        ("shards of blake2", {"shard_size": 10, "hash": "blake2"}),
    ):
        for what, tree in (("plain names", plain), ("odd names", odd)):
            theirs = folder / f"{name} {what}.sig"
            signed = tool.sign(tree, theirs, {"key": str(private)}, **more)
            table.row(f"{name}, {what}: they sign", THEIRS, SIGNED, signed)
            table.row(f"{name}, {what}: their bundle", OURS, VALID, verify(tree, theirs, "--key", public))
    long = material.tree(folder / "long" / "tree", {**material.PLAIN, "two.bin": b"y" * 11})
    found = verify(long, folder / "shards plain names.sig", "--key", public)
    table.row("their shards, a byte behind the last one", OURS, INVALID, found)
    files = {"a-b": b"1\n", "a.txt": b"hi\n", "a/b": b"2\n", "empty": b"", "sub dir/ü😀:b": b"yo\n"}
    old = material.tree(folder / "old" / "tree", files)
    bundle, old_key = VECTORS / "model_signing-0.2.0-key.sig", VECTORS / "key.pub"
    table.row("a bundle of version 0.2.0", THEIRS, VALID, tool.verify(old, bundle, {"key": str(old_key)}))
    table.row("a bundle of version 0.2.0", OURS, VALID, verify(old, bundle, "--key", old_key))


def _changes(table: Table, tool: Reference, folder: Path) -> None:
    table.heading("what must not verify, each with the other's bundle")
    private, public = material.key(folder, "p256")
    _, other = material.key(material.tree(folder / "others", {}), "p256")
    original = material.tree(folder / "changes" / "tree", material.ODD)
    table.row("we sign", OURS, SIGNED, seal(original, "--key", private))
    ours, theirs = bundle_of(original), folder / "theirs.sig"
    table.row("they sign", THEIRS, SIGNED, tool.sign(original, theirs, {"key": str(private)}))
    changed = {
        "a byte changed": {**material.ODD, "a/b": b"3"},
        "a file added": {**material.ODD, "new": b""},
        "a file removed": {name: content for name, content in material.ODD.items() if name != "empty"},
        "two files swapped": {**material.ODD, "a/b": material.ODD["a-b"], "a-b": material.ODD["a/b"]},
        "a file renamed": {
            ("A.txt" if name == "a.txt" else name): text for name, text in material.ODD.items()
        },
    }
    for what, files in changed.items():
        tree = material.tree(folder / "changed" / "tree", files)
        table.row(what, THEIRS, INVALID, tool.verify(tree, ours, {"key": str(public)}))
        table.row(what, OURS, INVALID, verify(tree, theirs, "--key", public))
    table.row("another key", THEIRS, INVALID, tool.verify(original, ours, {"key": str(other)}))
    table.row("another key", OURS, INVALID, verify(original, theirs, "--key", other))
