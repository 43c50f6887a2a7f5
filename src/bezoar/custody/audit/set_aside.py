"""Content that was quarantined or removed, whatever key it bears: it must not come back under another one.

A copy that was there before is not wrong by itself: whoever removes a duplicate keeps the other. But where the other lies in
quarantine, or lay there when it was removed, somebody has to look at the copy. A release is a decision about the content, for as
long as it is quarantined; removal is final. What a fetch has lost lies in quarantine, too, and is in no doubt.
"""

from __future__ import annotations

from bezoar.custody.events.descent import Stay
from bezoar.custody.events.event import LOST
from bezoar.custody.events.ledger import Ledger

RETURNED, COPIED = "content-returned", "content-copied"


class SetAside:
    """The contents that the books have set aside, at their closing."""

    def __init__(self, ledger: Ledger) -> None:
        self._removed = ledger.removed_contents
        self._quarantined: dict[bytes, int] = {}  # content -> number of the movement
        for holding in ledger.quarantine.values():
            if holding.why == LOST:
                continue
            content = holding.leaf.sha256
            self._quarantined[content] = min(holding.aside, self._quarantined.get(content, holding.aside))

    def code(self, content: bytes, stay: Stay | None) -> str:
        """The irregularity of a content (SHA-256) that is in the dataset, "" for none; `stay` None: no event brought it."""
        gone, quarantined = self._removed.get(content), self._quarantined.get(content)
        released = stay is not None and stay.released
        if gone and (stay is None or stay.since > gone.when):
            return RETURNED
        if released or (gone is None and quarantined is None):
            return ""
        if quarantined is not None and (stay is None or stay.since > quarantined):
            return RETURNED
        return COPIED if quarantined is not None or (gone and gone.doubted) else ""
