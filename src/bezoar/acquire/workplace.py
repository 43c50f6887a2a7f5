"""What one process needs to fetch shards: the client, the quarantine, the writer, and where finished shards lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bezoar.acquire.finished import FinishedShard
from bezoar.acquire.http.client import USER_AGENT, Client
from bezoar.acquire.images.checking import Checked, Problem, check
from bezoar.acquire.images.options import unsuitable
from bezoar.acquire.options import FetchOptions
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.replacing import replacement
from bezoar.acquire.run_state import RunState
from bezoar.acquire.shards.stats import is_complete
from bezoar.acquire.shards.writers import writer_of
from bezoar.acquire.shards.writing import Kept

if TYPE_CHECKING:
    import pyarrow as pa

    from bezoar.acquire.images.workshop import Workshop


@dataclass(frozen=True)
class Setup:
    """What all processes of a fetch have in common; it is sent to each.

    Attributes:
        options: of the fetch.
        state: where output and state lie.
        hash_kind: of the list's expected hashes.
        extra_schema: of the list's further columns.
        expected_by: who signed the list.

    """

    options: FetchOptions
    state: RunState
    hash_kind: str
    extra_schema: pa.Schema
    expected_by: str | None = None

    def finished(self, number: int) -> FinishedShard | None:
        """The shard, when it is there as a whole; its files are hashed."""
        name = self.options.output_format
        whole = is_complete(self.state.out, number, writer_of(name))
        return FinishedShard(self.state.out, number, name) if whole else None


def client_of(options: FetchOptions) -> Client:
    """The client of a fetch; InputError or UsageError for hosts, a proxy or certificates that are none."""
    token = options.policy.token
    return Client(
        options.limits,
        options.policy,
        proxy=options.proxy,
        ca_file=options.ca_file,
        user_agent=USER_AGENT if token is None else f"{USER_AGENT} ({token})",
    )


class Workplace:
    """`with Workplace(setup) as place:` one process that fetches."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        options = setup.options
        self.quarantine = Quarantine.at(setup.state.quarantine, options.cap)
        named = options.images.encode_format if options.reencode else "jpg"
        self._writer = writer_of(options.output_format, named)
        self._stack = ExitStack()
        self.client = self._stack.enter_context(client_of(options))
        self._workshop: Workshop | None = None
        if options.reencode:
            from bezoar.acquire.images.workshop import Workshop

            self._workshop = self._stack.enter_context(Workshop(options.images, workers=1))

    def __enter__(self) -> Workplace:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def check(self, content: bytes) -> Checked | Problem:
        """The image as it is to be stored, or why it is none."""
        if self._workshop is not None:
            return self._workshop.reencode(content)
        image = check(content)
        if isinstance(image, Checked):
            why = unsuitable(image.width, image.height, self.setup.options.images)
            return image if why is None else Problem(why)
        return image

    def write(
        self, number: int, kept: Iterable[Kept], provenance: pa.Table, stats: Mapping[str, Any]
    ) -> None:
        """Commit a shard that is not there yet."""
        self._writer.write(self.setup.state.out, number, kept, provenance, stats)

    def rewrite(
        self, number: int, kept: Iterable[Kept], provenance: pa.Table, stats: Mapping[str, Any]
    ) -> None:
        """Commit a shard over the one that is there."""
        state = self.setup.state
        with replacement(state.staged, state.out, number) as folder:
            self._writer.write(folder, number, kept, provenance, stats)
