"""Strict JSON (RFC 8259, I-JSON's rules on top): UTF-8 without a mark, no duplicate names, no NaN, no lone surrogates.

A second member of the same name is how one reader is shown something else than another; it is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

from bezoar.errors import InputError, LimitError

Pairs = list[tuple[str, Any]]

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(data: bytes, where: str, limit: int, hook: Callable[[Pairs], Any] | None = None) -> Any:
    """The value of a JSON text of at most `limit` bytes; InputError for anything malformed, LimitError beyond the limit.

    `hook` makes a value of each object's pairs (by default a dict without duplicates).
    """
    if len(data) > limit:
        raise LimitError(f"{where}: {len(data):,} bytes; at most {limit:,} are read")
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=hook or unique, parse_constant=_no_constant, parse_float=_finite
        )
        if _SURROGATE_ESCAPE.search(data):
            _check_encodable(value)
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise InputError(f"{where}: not valid Unicode text ({error.reason})") from error
    except RecursionError as error:
        raise InputError(f"{where}: nested too deeply") from error
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error})") from error
    return value


def parse_object(data: bytes, where: str, limit: int) -> dict[str, Any]:
    """`parse` of a text that must be an object."""
    value = parse(data, where, limit)
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a JSON object")
    return value


def unique(pairs: Pairs) -> dict[str, Any]:
    """A dict of pairs; InputError when a name occurs twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"duplicate member {twice[:60]!r}")
    return members


def _no_constant(name: str) -> NoReturn:
    raise InputError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InputError(f"{text[:40]} is too large for a number")
    return value


def _check_encodable(value: Any) -> None:
    """UnicodeEncodeError when any text in `value` holds a lone surrogate."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            item.encode()
        elif isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)
