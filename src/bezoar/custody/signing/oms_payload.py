"""The in-toto statement inside an OMS bundle (OpenSSF Model Signing v1.0): written in pieces, read without a dict per file.

A tree of 200,000 files has a payload of about 30 MB. It is built from strings, a batch at a time, and read straight into
tuples. Names are written as ASCII escapes, so that no reader's text of it takes four bytes per character.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from json.encoder import encode_basestring_ascii
from typing import Any

from bezoar.custody.signing import statement, strict_json
from bezoar.custody.signing.resources import (
    DEFAULT_IGNORES,
    Resource,
    ResourceCheck,
    parse_serialization,
    root_of,
)
from bezoar.errors import InputError, VerificationError

PREDICATE_TYPE = "https://model_signing/signature/v1.0"
OLD_PREDICATE_TYPE = "https://model_signing/Digests/v0.1"
MAX_PAYLOAD_BYTES = 384 * 2**20  # about two million files

_RESOURCE = {"name", "digest", "algorithm"}
_BATCH = 4096


@dataclass(frozen=True)
class SignedTree:
    """A tree of files as it was signed.

    `name` is the folder's own name (informative), `root` the SHA-256 over the digests of `resources`, which are in code-point
    order of their names. `serialization` says how they were hashed, `extra` holds further digests of the subject
    (algorithm to lowercase hex). `signer` says who signed, once that is verified.
    """

    name: str
    root: bytes
    resources: Iterable[Resource]
    serialization: Mapping[str, Any]
    extra: Mapping[str, str] = field(default_factory=dict)
    signer: str = ""


def write_payload(tree: SignedTree) -> bytes:
    """The statement's JSON. InputError when a resource is malformed, out of order, or the root is not that of the resources."""
    serialization = parse_serialization(tree.serialization)
    subject = {"name": tree.name, "digest": {**tree.extra, "sha256": tree.root.hex()}}
    statement.subjects_of({"subject": [subject]}, "signed tree")
    out = io.BytesIO()
    out.write(f'{{"_type":"{statement.STATEMENT_TYPE}","subject":[{_json(subject)}],'.encode("ascii"))
    out.write(f'"predicateType":"{PREDICATE_TYPE}","predicate":{{"resources":['.encode("ascii"))
    if _write_resources(tree.resources, ResourceCheck(serialization), out) != tree.root:
        raise InputError(f"{tree.name}: the root is not the one of the resources; seal the tree again")
    out.write(f'],"serialization":{_json(serialization)}}}}}'.encode("ascii"))
    if out.tell() > MAX_PAYLOAD_BYTES:
        raise InputError(
            f"{tree.name}: too many files for one signature ({out.tell():,} bytes of names and digests); "
            "pack them in shards, such as tar or Parquet, and seal those"
        )
    return out.getvalue()


def read_payload(payload: bytes, where: str) -> SignedTree:
    """The tree that a statement lists; InputError when it is malformed, VerificationError when its root does not match."""
    fields = strict_json.parse(payload, where, MAX_PAYLOAD_BYTES, _hook)
    if not isinstance(fields, dict):
        raise InputError(f"{where}: expected a JSON object")
    statement.check_type(fields, where)
    kind = statement.predicate_type(fields, where)
    subjects = statement.subjects_of(fields, where)
    try:
        if kind == OLD_PREDICATE_TYPE:
            return _old_tree(subjects)
        if kind != PREDICATE_TYPE:
            raise InputError(f"predicate type {kind[:100]} is not that of a signed dataset or model")
        if len(subjects) != 1 or "sha256" not in subjects[0].digest:
            raise InputError("expected one subject with a sha256 digest")
        return _tree(subjects[0], fields.get("predicate"))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _write_resources(resources: Iterable[Resource], check: ResourceCheck, out: io.BytesIO) -> bytes:
    """Write the JSON of all resources, comma-separated; returns their root."""
    root = hashlib.sha256()
    batch: list[str] = []
    before = ""
    for resource in resources:
        check.add(resource)
        if resource.name <= before:
            raise InputError(
                f"resource {resource.name[:200]!r}: names must be unique and in code-point order"
            )
        before = resource.name
        root.update(resource.digest)
        batch.append(
            f'{{"name":{encode_basestring_ascii(resource.name)},"digest":"{resource.digest.hex()}",'
            f'"algorithm":"{resource.algorithm}"}}'
        )
        if len(batch) == _BATCH:
            out.write(",".join([*batch, ""]).encode("ascii"))
            batch.clear()
    check.finish()
    if batch:
        out.write(",".join(batch).encode("ascii"))
    else:
        out.seek(-1, io.SEEK_CUR)  # the last batch ended in a comma
        out.truncate()
    return root.digest()


def _hook(pairs: strict_json.Pairs) -> Any:
    """A resource for an object of exactly its three members, a dict for any other."""
    members = strict_json.unique(pairs)
    if members.keys() != _RESOURCE:
        return members
    name, digest, algorithm = members["name"], members["digest"], members["algorithm"]
    if not (isinstance(name, str) and isinstance(digest, str) and isinstance(algorithm, str)):
        raise InputError("a resource's name, digest and algorithm must be texts")
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        raw = b""
    if raw.hex() != digest or not raw:
        raise InputError(f"resource {name[:200]!r}: the digest must be lowercase hex")
    return Resource(name, raw, sys.intern(algorithm))


def _tree(subject: statement.Subject, predicate: Any) -> SignedTree:
    if not isinstance(predicate, dict):
        raise InputError("predicate must be an object")
    serialization = parse_serialization(predicate.get("serialization"))
    resources = predicate.get("resources")
    if not isinstance(resources, list):
        raise InputError("resources must be a list")
    check = ResourceCheck(serialization)
    for resource in resources:
        if not isinstance(resource, Resource):
            raise InputError("a resource must be an object of name, digest and algorithm")
        check.add(resource)
    check.finish()
    expected = bytes.fromhex(subject.digest["sha256"])
    matches = root_of(resource.digest for resource in resources) == expected
    if _sort(resources) and not matches:
        matches = root_of(resource.digest for resource in resources) == expected
    if not matches:
        raise VerificationError(
            f"{subject.name[:80]}: the signed root is not the one of the signed resources"
        )
    extra = {name: value for name, value in subject.digest.items() if name != "sha256"}
    return SignedTree(subject.name, expected, resources, serialization, extra)


def _sort(resources: list[Resource]) -> bool:
    """Put resources in code-point order; whether they were in another. InputError when a name occurs twice.

    The reference tool lists them, and takes their root, in the order of their path components.
    """
    disordered = any(one.name >= two.name for one, two in pairwise(resources))
    if disordered:
        resources.sort(key=lambda resource: resource.name)
        for one, two in pairwise(resources):
            if one.name == two.name:
                raise InputError(f"resource {one.name[:200]!r} is listed twice")
    return disordered


def _old_tree(subjects: tuple[statement.Subject, ...]) -> SignedTree:
    """The tree of a statement from before v1.0, which lists the files as its subjects and has no root."""
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": list(DEFAULT_IGNORES),
    }
    check = ResourceCheck(serialization)
    resources = []
    for subject in subjects:
        if "sha256" not in subject.digest:
            raise InputError(f"subject {subject.name[:200]!r} has no sha256 digest")
        resource = Resource(subject.name, bytes.fromhex(subject.digest["sha256"]), "sha256")
        check.add(resource)
        resources.append(resource)
    check.finish()
    _sort(resources)
    return SignedTree("", root_of(resource.digest for resource in resources), resources, serialization)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
