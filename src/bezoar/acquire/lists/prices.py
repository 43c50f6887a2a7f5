"""A person's table of domains: when each registration ends, and for what it can be bought.

CSV with the columns domain, expires, price. `expires` is a day (2027-01-31), `price` an amount with at most two decimals in a
currency of the table's own; either may be empty. Where such tables come from (a registry's zone and drop lists, a marketplace)
is the user's business; nothing is asked online.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bezoar.acquire.http.urls import Refused, check_url
from bezoar.acquire.lists.domains import SuffixList
from bezoar.acquire.lists.streams import lines, opened
from bezoar.errors import InputError, LimitError

MAX_ROWS = 5_000_000
_COLUMNS = ("domain", "expires", "price")
_PRICE = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,2}))?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the table says of a domain: the day its registration ends, and its price in hundredths; None where it says nothing."""

    expires: date | None
    price: int | None


def read_prices(path: Path, suffixes: SuffixList) -> Mapping[str, Offer]:
    """The offers by registrable domain. InputError, with the line, for anything that is not as described above."""
    if not path.is_file():
        raise InputError(f"{path}: {'not an ordinary file' if path.exists() else 'no such file'}")
    offers: dict[str, Offer] = {}
    with opened(path) as stream:
        reader = _rows(lines(stream, path), path)
        _, header = next(reader, (1, []))
        names = [name.strip().lower() for name in header]
        missing = [name for name in _COLUMNS if names.count(name) != 1]
        if missing:
            raise InputError(
                f"{path}: needs one column {missing[0]!r}; the header row is domain,expires,price"
            )
        places = [names.index(name) for name in _COLUMNS]
        for number, row in reader:
            where = f"{path}, line {number}"
            if len(row) != len(names):
                raise InputError(f"{where}: has {len(row)} fields where the header has {len(names)}")
            text, expires, price = (row[place].strip() for place in places)
            domain = _domain(text, suffixes, where)
            if domain in offers:
                raise InputError(f"{where}: {domain} is listed twice; keep one line for each domain")
            if len(offers) == MAX_ROWS:
                raise LimitError(f"{path}: has more than {MAX_ROWS:,} rows; keep the domains of the list")
            offers[domain] = Offer(_day(expires, where), _hundredths(price, where))
    return offers


def _rows(found: Iterator[bytes], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Fields with the number of their line; a field holds no line end here."""
    for number, line in enumerate(found, 1):
        try:
            text = line.decode().rstrip("\r\n")
            row = next(csv.reader([text], strict=True), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}, line {number}: is not CSV in UTF-8 ({error})") from error
        if row:
            yield number, row


def _domain(text: str, suffixes: SuffixList, where: str) -> str:
    try:
        target = check_url(f"http://{text}/")
    except Refused as error:
        raise InputError(f"{where}: {text[:80]!r} is no domain ({error.detail})") from error
    found = suffixes.domain_of(target.host)
    if target.address is not None or "/" in text or target.port != 80 or found.name != target.host:
        better = "" if target.address is not None or found.name == target.host else f"; give {found.name}"
        raise InputError(f"{where}: {text[:80]!r} is no registrable domain{better}")
    return found.name


def _day(text: str, where: str) -> date | None:
    if not text:
        return None
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{where}: {text[:40]!r} is no day; write it as 2027-01-31") from None


def _hundredths(text: str, where: str) -> int | None:
    if not text:
        return None
    match = _PRICE.fullmatch(text)
    if not match:
        raise InputError(f"{where}: {text[:40]!r} is no price; write it as 12 or 12.50")
    return 100 * int(match[1]) + int((match[2] or "").ljust(2, "0"))
