"""The X-Robots-Tag response header, as search engines and img2dataset read it.

Each value is a comma list of directives; `token:` in front of one addresses it, and those after it in the same value, to
one crawler. There may be several such headers.
"""

from __future__ import annotations

from collections.abc import Sequence

from bezoar.acquire.http.exchange import Policy

_VALUED = (
    "unavailable_after",
    "max-snippet",
    "max-image-preview",
    "max-video-preview",
)  # colons that address nobody


def opted_out(values: Sequence[str], policy: Policy) -> str | None:
    """The directive that keeps this answer out; None if there is none. Case does not matter."""
    if not values or not policy.opt_outs:
        return None
    unwanted = {name.lower() for name in policy.opt_outs}
    ours = {"*"} if policy.token is None else {"*", policy.token.lower()}
    for value in values:
        addressed = True
        for item in value.lower().split(","):
            token, colon, rest = item.partition(":")
            directive = item.strip()
            if colon and token.strip() not in _VALUED:
                addressed, directive = token.strip() in ours, rest.strip()
            if addressed and directive in unwanted:
                return directive
    return None
