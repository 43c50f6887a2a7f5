"""What verifying a whole log found: a value to be printed, or written as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bezoar.custody.tlog.checkpoint import Checkpoint
from bezoar.custody.tlog.note import Note, verify_note
from bezoar.custody.tlog.tree_check import check_tree
from bezoar.errors import InputError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.policy import TlogPolicy

_MAX_PROBLEMS = 1000


@dataclass(frozen=True)
class Problem:
    """What is wrong with one part of a log: a file of it, an entry, the checkpoint, its history."""

    where: str
    what: str


@dataclass(frozen=True)
class LogReport:
    """The outcome. `problems` lists the first 1,000 of `n_problems`; `seen` is the checkpoint that was remembered before.

    `key_given` says whether `key` is known from elsewhere, by the caller or a policy; else it is what the log says of itself.
    `n_foreign` entries are no canonical JSON: they are in the tree, but no object of theirs was looked for.
    `cosigners` names who has signed the checkpoint beside the log: under a policy the witnesses whose signatures hold, else
    whoever claims to have.
    """

    location: str
    checkpoint: Checkpoint
    key: str
    key_given: bool
    seen: Checkpoint | None
    cosigners: tuple[str, ...]
    n_tiles: int
    n_objects: int
    n_foreign: int
    problems: tuple[Problem, ...]
    n_problems: int

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong."""
        return self.n_problems == 0

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "cosigners": list(self.cosigners),
            "foreign_entries": self.n_foreign,
            "key": self.key,
            "key_given": self.key_given,
            "location": self.location,
            "objects": self.n_objects,
            "origin": self.checkpoint.origin,
            "problem_count": self.n_problems,
            "problems": [{"what": problem.what, "where": problem.where} for problem in self.problems],
            "remembered_size": self.seen.size if self.seen else None,
            "root": self.checkpoint.root.hex(),
            "size": self.checkpoint.size,
            "tiles": self.n_tiles,
            "valid": self.valid,
            "version": 1,
        }


def verify_log(log: CustodyLog, policy: TlogPolicy | None = None) -> LogReport:
    """Verify all of `log` as its checkpoint shows it, and that checkpoint against the one remembered and a policy."""
    problems: list[Problem] = []
    count = 0

    def note(where: str, what: str) -> None:
        nonlocal count
        count += 1
        if len(problems) < _MAX_PROBLEMS:
            problems.append(Problem(where, what))

    if policy is not None:
        try:
            log.check_policy(policy)
        except VerificationError as error:
            note("checkpoint", f"does not meet the policy: {error}")
    seen = None
    try:
        seen = log.check_history()
    except VerificationError as error:
        note("history", str(error))
    except InputError as error:
        if error.__cause__ is not None:  # a network or a disk that fails says nothing about the log
            raise
        note("history", str(error))
    checkpoint, signed = log.checkpoint()
    counts = check_tree(log.storage, checkpoint, note)
    return LogReport(
        location=log.location,
        checkpoint=checkpoint,
        key=log.key.text,
        key_given=log.key_given,
        seen=seen,
        cosigners=_cosigners(Note.parse(signed), log.origin, policy),
        n_tiles=counts.tiles,
        n_objects=counts.objects,
        n_foreign=counts.foreign,
        problems=tuple(problems),
        n_problems=count,
    )


def _cosigners(note: Note, origin: str, policy: TlogPolicy | None) -> tuple[str, ...]:
    if policy is None:
        return tuple(dict.fromkeys(each.name for each in note.signatures if each.name != origin))
    try:
        return tuple(key.name for key in verify_note(note, [witness.key for witness in policy.witnesses]))
    except VerificationError:  # a problem that the policy has noted
        return ()
