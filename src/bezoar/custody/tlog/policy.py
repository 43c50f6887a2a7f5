"""Whom to trust for a checkpoint (C2SP tlog-policy): which logs, and which witnesses must have cosigned.

```
log <vkey> [<url>]
witness <name> <vkey> [<url>]
group <name> <k>|any|all <name>...      k of these witnesses and groups
quorum <name>|none
```
Names are used after the line that defines them; a name is in one group at most; there is one quorum line.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from bezoar.custody.tlog.cosignature import ED25519_COSIGNATURE, MLDSA44_COSIGNATURE
from bezoar.custody.tlog.note import Note, VerifierKey, verify_note
from bezoar.custody.tlog.tree_head import Checkpoint
from bezoar.errors import InputError, LimitError, VerificationError

MAX_POLICY = 1 << 20
MAX_DEFINITIONS = 256  # of logs, witnesses and groups, each
NONE = "none"
_ALLOWED = re.compile(rb"[\t\n\x20-\x7e\x80-\xff]*")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Log:
    """A log whose checkpoints are accepted: its key, whose name is the origin, and perhaps where it is."""

    key: VerifierKey
    url: str | None


@dataclass(frozen=True)
class Witness:
    """A witness, by the name that the policy gives it."""

    name: str
    key: VerifierKey
    url: str | None


@dataclass(frozen=True)
class Group:
    """Has witnessed a checkpoint when at least `threshold` of its `members`, witnesses and groups, have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class TlogPolicy:
    """A policy; `quorum` is the name of a witness or a group, or "none"."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    @classmethod
    def parse(cls, text: str | bytes) -> TlogPolicy:
        """The policy in `text`; InputError, which names the line, for what is not in the grammar; LimitError beyond 1 MiB."""
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if len(data) > MAX_POLICY:
            raise LimitError(f"tlog-policy: {len(data):,} bytes; at most {MAX_POLICY:,} are read")
        if not _ALLOWED.fullmatch(data) or (data and not data.endswith(b"\n")):
            raise InputError(
                "tlog-policy: every line must end with a newline, and there are no other control characters"
            )
        # names are octets to the standard: those that are no UTF-8 keep their identity as surrogates
        reader = _Reader()
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
            words = [word for word in re.split("[ \t]+", line) if word]
            if words and not words[0].startswith("#"):
                try:
                    reader.line(*words)
                except InputError as error:
                    raise InputError(f"tlog-policy: line {number}: {error}") from error
        if reader.quorum is None:
            raise InputError("tlog-policy: no quorum line; write `quorum none` when no witness is needed")
        return cls(
            tuple(reader.logs), tuple(reader.witnesses.values()), tuple(reader.groups.values()), reader.quorum
        )

    def check(self, checkpoint_note: bytes) -> Checkpoint:
        """The checkpoint in a signed note, once one of the logs has signed it and the quorum has cosigned it.

        VerificationError when that is not so or a signature by a known key is wrong; InputError when it is malformed.
        """
        note = Note.parse(checkpoint_note)
        checkpoint = Checkpoint.parse_body(note.text)
        logs = [log.key for log in self.logs if log.key.name == checkpoint.origin]
        if not logs:
            raise VerificationError(
                f"checkpoint: its log {checkpoint.origin!r} is not one of the policy's {len(self.logs)}"
            )
        signed = verify_note(note, [*logs, *(witness.key for witness in self.witnesses)])
        if not any(key in signed for key in logs):
            raise VerificationError(
                f"checkpoint: not signed by a key that the policy knows of {checkpoint.origin!r}"
            )
        cosigned = [witness.name for witness in self.witnesses if witness.key in signed]
        if not self.is_quorum(cosigned):
            names = ", ".join(cosigned) or "no witness that the policy knows"
            raise VerificationError(
                f"checkpoint: the quorum {self.quorum!r} is not reached; it is cosigned by {names}"
            )
        return checkpoint

    def is_quorum(self, cosigned: Collection[str]) -> bool:
        """Whether the witnesses with these names are enough."""
        if self.quorum == NONE:
            return True
        witnessed = {witness.name for witness in self.witnesses if witness.name in cosigned}
        for group in self.groups:  # a group only names what is defined above it
            if sum(member in witnessed for member in group.members) >= group.threshold:
                witnessed.add(group.name)
        return self.quorum in witnessed


@dataclass
class _Reader:
    """Collects what the lines define. Errors do not say which line: the caller does."""

    logs: list[Log] = field(default_factory=list)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None
    grouped: set[str] = field(default_factory=set)

    def line(self, verb: str, *words: str) -> None:
        if verb == "log" and 1 <= len(words) <= 2:
            self._log(*words)
        elif verb == "witness" and 2 <= len(words) <= 3:
            self._witness(*words)
        elif verb == "group" and len(words) >= 3:
            self._group(*words)
        elif verb == "quorum" and len(words) == 1:
            self._quorum(words[0])
        else:
            raise InputError(
                "expected log VKEY [URL], witness NAME VKEY [URL], group NAME K|any|all NAME..., quorum NAME"
            )
        if max(len(self.logs), len(self.witnesses), len(self.groups)) > MAX_DEFINITIONS:
            raise InputError(f"more than {MAX_DEFINITIONS} logs, witnesses or groups")

    def _log(self, vkey: str, url: str | None = None) -> None:
        key = VerifierKey.parse(vkey)
        if key.kind == ED25519_COSIGNATURE:
            raise InputError(
                f"the key of log {key.name!r} is a witness's; the kind of a log's is 0x01 or 0x06"
            )
        _check_new(key, [log.key for log in self.logs])
        self._check_ids(key)
        self.logs.append(Log(key, url))

    def _witness(self, name: str, vkey: str, url: str | None = None) -> None:
        self._define(name)
        key = VerifierKey.parse(vkey)
        if key.kind not in (ED25519_COSIGNATURE, MLDSA44_COSIGNATURE):
            raise InputError(f"the key of witness {name!r} makes no cosignatures; its kind is 0x04 or 0x06")
        _check_new(key, [witness.key for witness in self.witnesses.values()])
        self._check_ids(key)
        self.witnesses[name] = Witness(name, key, url)

    def _group(self, name: str, threshold: str, *members: str) -> None:
        self._define(name)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise InputError(f"group {name!r}: {member!r} is not defined above")
            if member in self.grouped:
                raise InputError(f"group {name!r}: {member!r} is a member twice, here or of another group")
            self.grouped.add(member)
        self.groups[name] = Group(name, _threshold(name, threshold, len(members)), members)

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise InputError("a second quorum line")
        if name != NONE and name not in self.witnesses and name not in self.groups:
            raise InputError(f"quorum: {name!r} is not defined above")
        self.quorum = name

    def _define(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise InputError(f"the name {name!r} is taken")

    def _check_ids(self, key: VerifierKey) -> None:
        """Verifying could not tell two keys apart that share their name and key id."""
        others = [log.key for log in self.logs] + [witness.key for witness in self.witnesses.values()]
        if any((other.name, other.key_id) == (key.name, key.key_id) and other != key for other in others):
            raise InputError(f"another key has the name and key id of {key.name}")


def _check_new(key: VerifierKey, others: Collection[VerifierKey]) -> None:
    if any(key.public == other.public for other in others):
        raise InputError(f"the public key of {key.name} is there twice; under two names it would count twice")


def _threshold(name: str, text: str, members: int) -> int:
    words = {"any": 1, "all": members}
    if text not in words and not _THRESHOLD.fullmatch(text):
        raise InputError(f"group {name!r}: {text!r} is not any, all or a number")
    threshold = words.get(text) or int(text)
    if threshold > members:
        raise InputError(f"group {name!r}: {threshold} of {members} members can never be reached")
    return threshold
