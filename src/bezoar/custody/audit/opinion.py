"""The auditor's opinion, in the words of ISA 700 and 705, by rules that leave no choice.

1. **Adverse**: something pervasive is wrong (the log was rewritten, the seal is not authentic, an old seal was put back, ...), or
   what is wrong affects more records than the tolerable share of the larger of opening and closing balance.
2. **Disclaimer**: nothing of that was found, but so much evidence is missing that no opinion can be formed: the log, the seal or
   the data cannot be read, or the log knows nothing of the dataset.
3. **Qualified**: except for certain records, events or demands of the policy, the books are in order; or an event cannot be read.
4. **Unqualified**: no exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bezoar.custody.audit.irregularities import Effect, Irregularity


class Verdict(StrEnum):
    """The four opinions."""

    UNQUALIFIED = "unqualified"
    QUALIFIED = "qualified"
    ADVERSE = "adverse"
    DISCLAIMER = "disclaimer"


@dataclass(frozen=True)
class Opinion:
    """The opinion, its paragraph, and the reasons for it, one sentence each."""

    verdict: Verdict
    paragraph: str
    reasons: tuple[str, ...]


def form(irregularities: Sequence[Irregularity], dataset: str, records: int, tolerable: float) -> Opinion:
    """The opinion about a dataset whose larger balance is `records`."""
    pervasive = _titles(irregularities, Effect.PERVASIVE)
    affected = misstated(irregularities)
    beyond = affected > tolerable * records
    missing = _titles(irregularities, Effect.NO_EVIDENCE)
    if pervasive or beyond:
        reasons = [*(f"{title}; this reaches the whole of the books." for title in pervasive)]
        if beyond:
            reasons.append(
                f"Exceptions affect {affected:,} records, more than the tolerable share of {tolerable:.2%} of {records:,}."
            )
        return Opinion(Verdict.ADVERSE, _ADVERSE.format(dataset), tuple(reasons))
    if missing:
        return Opinion(
            Verdict.DISCLAIMER,
            _DISCLAIMER.format(dataset),
            tuple(f"{title}; without it no opinion can be formed." for title in missing),
        )
    if irregularities:
        reasons = [f"{title}." for title in _titles(irregularities, *Effect)]
        return Opinion(Verdict.QUALIFIED, _QUALIFIED.format(dataset), tuple(reasons))
    return Opinion(Verdict.UNQUALIFIED, _UNQUALIFIED.format(dataset), ("No exception was found.",))


def misstated(irregularities: Sequence[Irregularity]) -> int:
    """At most how many records are concerned by exceptions that make the balances wrong."""
    concerned = [each for each in irregularities if each.effect in (Effect.CONFINED, Effect.PERVASIVE)]
    named = {key for each in concerned for key in each.keys}
    return len(named) + sum(each.affected - len(each.keys) for each in concerned)


def _titles(irregularities: Sequence[Irregularity], *effects: Effect) -> list[str]:
    """The titles, each once, of those that have one of the effects."""
    return list(dict.fromkeys(each.title for each in irregularities if each.effect in effects))


_UNQUALIFIED = (
    "In our opinion the closing balance presents fairly, in all material respects, the records of {0!r}: each of them follows "
    "from signed events of signers whom the policy allows, agrees with the sealed manifest, and the data agree with both."
)
_QUALIFIED = (
    "In our opinion, except for the matters listed under exceptions, the closing balance presents fairly, in all material "
    "respects, the records of {0!r}, as they follow from signed events of signers whom the policy allows."
)
_ADVERSE = (
    "In our opinion, because of the matters listed under exceptions, the closing balance does not present fairly the records of "
    "{0!r}. The dataset should not be used until they are resolved."
)
_DISCLAIMER = (
    "We do not express an opinion on the records of {0!r}. Because of the matters listed under exceptions we could not obtain "
    "sufficient evidence to form one."
)
