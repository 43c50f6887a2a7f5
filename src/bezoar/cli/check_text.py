"""What `bezoar check` proved: in words for people, as JSON members for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.custody.seal.checking import ProvedGap, ProvedRecord
    from bezoar.custody.tlog.checkpoint import Checkpoint

_MAX_SOURCES = 20


@dataclass(frozen=True)
class Proved:
    """The same twice: `text` and `members`."""

    text: str
    members: dict[str, Any]

    @classmethod
    def of(cls, lines: list[str], members: dict[str, Any]) -> Proved:
        """Of the lines of the text."""
        return cls("\n".join(lines), members)


def sealed_record(proved: ProvedRecord) -> Proved:
    """That a content is a record of a snapshot."""
    from bezoar.report.text import shown

    leaf = proved.leaf
    label = "none" if leaf.label is None else shown(leaf.label, 200)
    sources = [
        f"source:   {shown(name, 60)} = {shown(text, 300)}" for name, text in sorted(leaf.source.items())
    ]
    return Proved.of(
        [
            "proved: this content is in the snapshot, under this key and label",
            f"key:      {shown(leaf.key, 1000)}",
            f"label:    {label}",
            f"content:  {leaf.size:,} bytes, sha256 {leaf.sha256.hex()}",
            *sources[:_MAX_SOURCES],
            *(
                [f"          and {len(sources) - _MAX_SOURCES} more source columns"]
                if len(sources) > _MAX_SOURCES
                else []
            ),
            f"record:   {proved.index:,} (the first is 0) of {proved.checkpoint.size:,}",
            *_checkpoint_lines(proved.checkpoint),
        ],
        {"record": _record_json(proved), **_tree_json(proved.checkpoint)},
    )


def absent_key(proved: ProvedGap, key: str) -> Proved:
    """That no record of a snapshot has this key."""
    from bezoar.report.text import shown

    def edge(record: ProvedRecord | None, nothing: str) -> str:
        return nothing if record is None else f"record {record.index:,}, {shown(record.leaf.key, 1000)}"

    before, after = (each and _record_json(each) for each in (proved.before, proved.after))
    return Proved.of(
        [
            f"proved: no record of the snapshot has the key {shown(key, 1000)}",
            f"before:   {edge(proved.before, 'nothing, the snapshot begins here')}",
            f"after:    {edge(proved.after, 'nothing, the snapshot ends here')}",
            *_checkpoint_lines(proved.checkpoint),
            "given that the signer sorted the records by key, as a seal promises; the proof shows these two only",
        ],
        {"absent": key, "after": after, "before": before, **_tree_json(proved.checkpoint)},
    )


def logged_entry(index: int, checkpoint: Checkpoint) -> Proved:
    """That a log has an entry."""
    return Proved.of(
        [
            "proved: this entry is in the log",
            f"entry:    {index:,} (the first is 0) of {checkpoint.size:,}",
            *_checkpoint_lines(checkpoint, "root"),
        ],
        {"entry": index, **_tree_json(checkpoint)},
    )


def grown_log(before: Checkpoint, after: Checkpoint) -> Proved:
    """That a log has only grown."""
    return Proved.of(
        [
            "proved: the newer log begins with all entries of the older one, as they were",
            f"older:    {before.size:,} entries, root {before.root.hex()}",
            f"newer:    {after.size:,} entries, root {after.root.hex()}",
            _checkpoint_lines(after)[-1],
        ],
        {"older": _tree_json(before), "newer": _tree_json(after)},
    )


def _tree_json(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"origin": checkpoint.origin, "root": checkpoint.root.hex(), "size": checkpoint.size}


def _record_json(proved: ProvedRecord) -> dict[str, Any]:
    leaf = proved.leaf
    return {
        "index": proved.index,
        "key": leaf.key,
        "label": leaf.label,
        "sha256": leaf.sha256.hex(),
        "size": leaf.size,
        "source": dict(leaf.source),
    }


def _checkpoint_lines(checkpoint: Checkpoint, what: str = "snapshot") -> list[str]:
    from bezoar.report.text import shown

    return [f"{what + ':':9} {checkpoint.root.hex()}", f"signed:   {shown(checkpoint.origin, 300)}"]
