"""What verifying finds: the result, and how its lines are gathered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from bezoar.custody.seal.comparing import Change, Differences
from bezoar.custody.seal.walk import list_tree


@dataclass(frozen=True)
class Verification:
    """What verifying found.

    `signer` says who signed, None when no trusted signature was found. `records` were sealed, `checked` of them looked at.
    `differences` are those of the records; `files` those of the files that are no records. `problems` are one line each.
    """

    name: str
    root: str
    signer: str | None
    records: int
    checked: int
    differences: Differences = field(default_factory=Differences)
    files: Differences = field(default_factory=Differences)
    problems: tuple[str, ...] = ()

    @property
    def matches(self) -> bool:
        """Whether the data are what the seal says, whoever made it."""
        return not (self.differences or self.files or self.problems)

    @property
    def valid(self) -> bool:
        """Whether the data are what a trusted signer sealed."""
        return self.signer is not None and self.matches

    @property
    def added(self) -> tuple[str, ...]:
        """Keys of records that were not sealed."""
        return self.differences.added

    @property
    def missing(self) -> tuple[str, ...]:
        """Keys of sealed records that are gone."""
        return self.differences.missing

    @property
    def changed(self) -> tuple[Change, ...]:
        """Records whose content is another (SHA-256, hex)."""
        return self.differences.changed

    @property
    def relabelled(self) -> tuple[Change, ...]:
        """Records that have another label."""
        return self.differences.relabelled

    @property
    def resourced(self) -> tuple[Change, ...]:
        """Records whose source columns are others."""
        return self.differences.resourced


def noted(problems: list[str]) -> Callable[[str, str], None]:
    """A `walk.Refuse` that notes what cannot be part of a signed tree, instead of raising."""

    def note(path: str, why: str) -> None:
        problems.append(f"{path}: {why}")

    return note


def unsigned(dataset: Path, ignored: Collection[str]) -> list[str]:
    """A line for every file that is there but below a path which the signature leaves out."""
    if not dataset.is_dir():
        return []
    return [
        f"{path}: is not signed; the signature leaves out {left_out}"
        for path in list_tree(dataset, on_refused=lambda *_: None)
        if (left_out := next((each for each in ignored if path == each or path.startswith(f"{each}/")), None))
    ]
