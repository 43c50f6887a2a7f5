"""The description of a sealed dataset in Croissant 1.1 (MLCommons, http://mlcommons.org/croissant/1.1).

It lists the manifest with its SHA-256 and the dataset's files (each with its SHA-256 where they are few; a set of files has
none, and the manifest stands for it), and describes the manifest's columns so that `mlcroissant` loads the records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
NOT_STATED = "NOASSERTION"  # SPDX's word for what nobody has said
MAX_LISTED = 100  # files that are listed one by one
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_FIELDS = (
    ("key", "sc:Text", "Stable, unique key of the record."),
    ("sha256", "sc:Text", "SHA-256 of the record's content, 32 bytes."),
    ("size", "sc:Integer", "Size of the record's content in bytes."),
    ("media_type", "sc:Text", "Media type of the record's content."),
    ("label", "sc:Text", "Label of the record; null where it has none."),
)


@dataclass(frozen=True)
class About:
    """What a person says of the dataset; NOT_STATED where nobody does."""

    license: str = NOT_STATED
    creator: str = NOT_STATED
    description: str | None = None
    url: str | None = None
    derived_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Described:
    """What the seal knows of the dataset: its own name, snapshot root, number of records, source columns and files.

    `files` are (path relative to the seal, SHA-256 hex, media type), at most MAX_LISTED; of more files `pattern` is the glob.
    """

    name: str
    root: str
    records: int
    sources: Sequence[str]
    files: Sequence[tuple[str, str, str]]
    pattern: str
    manifest_sha256: str
    date: str


def croissant(dataset: Described, about: About) -> bytes:
    """The JSON-LD of the description, UTF-8."""
    text = (
        about.description
        or f"{dataset.name}: {dataset.records} records, sealed by Bezoar; snapshot {dataset.root}."
    )
    value: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": dataset.name,
        "description": text,
        "license": about.license,
        "creator": {"@type": "sc:Organization", "name": about.creator},
        "url": about.url or f"urn:bezoar:snapshot:{dataset.root}",
        "datePublished": dataset.date,
        "version": "1.0.0",
    }
    if about.derived_from:
        value["prov:wasDerivedFrom"] = [{"@id": url} for url in about.derived_from]
    value["distribution"] = [_manifest_object(dataset), *_files(dataset)]
    value["recordSet"] = [_record_set(dataset)]
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _manifest_object(dataset: Described) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": "manifest",
        "name": "manifest.parquet",
        "description": "One row per record: key, digest, size, media type, label and source.",
        "contentUrl": "manifest.parquet",
        "encodingFormat": "application/x-parquet",
        "sha256": dataset.manifest_sha256,
    }


def _files(dataset: Described) -> list[dict[str, Any]]:
    if dataset.pattern:
        return [
            {
                "@type": "cr:FileSet",
                "@id": "files",
                "name": "files",
                "description": "The files of the dataset; the manifest and the signature hold their digests.",
                "encodingFormat": "application/octet-stream",
                "includes": dataset.pattern,
            }
        ]
    return [
        {
            "@type": "cr:FileObject",
            "@id": f"file-{number}",
            "name": path.rpartition("/")[2],
            "contentUrl": path,
            "encodingFormat": media_type,
            "sha256": sha256,
        }
        for number, (path, sha256, media_type) in enumerate(dataset.files)
    ]


def _record_set(dataset: Described) -> dict[str, Any]:
    fields = [_field(name, name, kind, text) for name, kind, text in _FIELDS]
    for number, name in enumerate(dataset.sources):
        plain = name if _PLAIN.fullmatch(name) else f"column-{number}"
        fields.append(
            _field(f"source.{plain}", f"source.{name}", "sc:Text", f"Column {name!r} of the dataset.")
        )
    return {
        "@type": "cr:RecordSet",
        "@id": "records",
        "name": "records",
        "description": "The rows of the manifest.",
        "key": {"@id": "records/key"},
        "field": fields,
    }


def _field(name: str, column: str, kind: str, text: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"records/{name}",
        "name": name,
        "description": text,
        "dataType": kind,
        "source": {"fileObject": {"@id": "manifest"}, "extract": {"column": column}},
    }
