"""Words and numbers for a reader: untrusted text made visible and short, figures in one spelling everywhere.

Labels, file names and reasons come from the dataset, so they are hostile: control characters would drive a
terminal, bidirectional overrides would turn a name around (CVE-2021-42574, "Trojan Source"). Both are shown,
not obeyed.
"""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset(
    {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
)  # control, format (bidi), unassigned, private, ...
_MAX_MARKS = 3  # combining marks on one character: enough for every script, too few to cover the lines above
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_TINY = 1e-300


def shown(text: str, limit: int = 120) -> str:
    r"""Untrusted text in one line of about `limit` characters, with nothing in it that a display would obey.

    Invisible characters appear as their escapes (`\n`, `\x1b`, `\u202e`); the middle of a long text gives way
    to an ellipsis, because both ends of a path tell something.
    """
    if len(text) > limit:
        head = limit // 3
        text = text[:head] + "…" + text[-(limit - head - 1) :]
    parts: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in _HIDDEN or marks > _MAX_MARKS:
            parts.append(character.encode("unicode_escape", "backslashreplace").decode("ascii"))
        else:
            parts.append(character)
    escaped = "".join(parts)
    return escaped if len(escaped) <= 2 * limit else escaped[: 2 * limit] + "…"


def count(number: int, noun: str = "", plural: str = "") -> str:
    """`1 record`, `12,345 records`, `2 classes`."""
    figure = f"{number:,}"
    return f"{figure} {noun if number == 1 else plural or noun + 's'}" if noun else figure


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage with two significant digits below 10 %."""
    value = 100 * share
    if value == 0 or value == 100:
        return f"{value:.0f} %"
    if value >= 99.95:
        return "> 99.9 %"
    if value >= 10:
        return f"{value:.1f} %"
    if value < 0.001:
        return "< 0.001 %"
    return f"{float(f'{value:.2g}'):g} %"


def noticed(smallest_rate: float | None) -> str:
    """From which share of poisoned records on a scan would have noticed them: `from 0.1 %`."""
    return "at no rate that was tried" if smallest_rate is None else f"from {percent(smallest_rate)}"


def p_value(value: float | None) -> str:
    """`p = 0.003`, `p = 2.1 x 10^-9` (typeset), `not tested` for None."""
    if value is None:
        return "not tested"
    if value < _TINY:
        return "p < 10⁻³⁰⁰"
    if value >= 0.001:
        return f"p = {float(f'{value:.2g}'):g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"p = {mantissa} × {power_of_ten(int(exponent))}"


def power_of_ten(exponent: int) -> str:
    """`1`, `10⁻⁹`."""
    return "1" if exponent == 0 else f"10{str(exponent).translate(_SUPERSCRIPT)}"


def seconds(value: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"
