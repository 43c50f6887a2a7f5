"""Which columns of a list of URLs mean what, and the digests that it promises.

LAION: `URL, TEXT, WIDTH, HEIGHT, similarity, hash`, where `hash` is mmh3 of URL and text: no digest of any content, so no
column is taken for a digest but one that carries the digest's own name, as DataComp's `sha256` (`url, text, uid, sha256`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bezoar.errors import InputError, UsageError

HASH_BYTES = {"sha256": 32, "sha512": 64, "sha1": 20, "md5": 16}
_URLS = ("url", "image_url", "img_url")
_CAPTIONS = ("caption", "text", "alt_text")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+", re.ASCII)


class Malformed(InputError):  # noqa: N818 - the word for such a digest
    """A value where a hexadecimal digest was expected, and which is none."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are wanted, by name; None: by the known names (letter case ignored), where there is one.

    Attributes:
        url: the address.
        caption: the text that belongs to it.
        hash: its content's digest in hexadecimal.
        hash_kind: sha256, sha512, sha1 or md5.
        extra: columns that are carried along.

    """

    url: str | None = None
    caption: str | None = None
    hash: str | None = None
    hash_kind: str = "sha256"
    extra: tuple[str, ...] = ()


def resolve(wanted: Columns, names: Sequence[str], where: object) -> Columns:
    """`wanted` with the names that this list has; InputError with all its columns when one is missing."""
    if wanted.hash_kind not in HASH_BYTES:
        raise UsageError(f"no digest {wanted.hash_kind!r}; known: {', '.join(HASH_BYTES)}")
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        raise InputError(f"{where}: has the column {doubled[0]!r} twice; columns: {_listed(names)}")
    for name in (wanted.url, wanted.caption, wanted.hash, *wanted.extra):
        if name is not None and name not in names:
            raise InputError(f"{where}: no column {name!r}; columns: {_listed(names)}")
    url = wanted.url or _known(names, _URLS, where)
    if url is None:
        raise InputError(
            f"{where}: no column {'/'.join(_URLS)}; columns: {_listed(names)} (name the URL column)"
        )
    return Columns(
        url,
        wanted.caption or _known(names, _CAPTIONS, where),
        wanted.hash or _known(names, (wanted.hash_kind,), where),
        wanted.hash_kind,
        tuple(dict.fromkeys(wanted.extra)),
    )


def digest_of(text: str | None, kind: str) -> bytes | None:
    """The digest that `text` spells in hexadecimal of either case; None for null or an empty text.

    Malformed for anything else: another length, base64, a prefix such as `0x` or `sha256:`, white space.
    """
    if text is None or text == "":
        return None
    size = HASH_BYTES[kind]
    if len(text) != 2 * size or not _HEX.fullmatch(text):
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise Malformed(f"{shown!r} is not a {kind} of {2 * size} hexadecimal digits")
    return bytes.fromhex(text)


def _known(names: Sequence[str], known: tuple[str, ...], where: object) -> str | None:
    """The first known name that occurs; two spellings of it (`url`, `URL`) leave a choice that only a person can make."""
    for wanted in known:
        found = [name for name in names if name.lower() == wanted]
        if len(found) > 1:
            raise InputError(f"{where}: {' or '.join(map(repr, found))}? name the column that is meant")
        if found:
            return found[0]
    return None


def _listed(names: Sequence[str]) -> str:
    """The names for a message: a hostile header may hold thousands, or long ones."""
    shown = [name if len(name) <= 40 else f"{name[:37]}..." for name in names[:30]]
    return ", ".join(shown + ["..."] * (len(names) > 30)) or "none"
