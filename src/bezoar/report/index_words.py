"""Words about the analysis of a list of URLs that the terminal and the page share."""

from __future__ import annotations

from bezoar.acquire.lists.analysis import IndexAnalysis
from bezoar.acquire.lists.domains import Suffixes
from bezoar.acquire.lists.prices import Offer
from bezoar.acquire.lists.purchase import State, Way
from bezoar.acquire.lists.sites import Oddity
from bezoar.report.text import count, percent, shown

TITLES = {
    Oddity.BAD_URL: "no URL that a fetch would take",
    Oddity.BAD_SCHEME: "neither http nor https",
    Oddity.USERINFO: "a user name in front of the host",
    Oddity.LOCAL_HOST: "an address or name of a private network",
    Oddity.IP_HOST: "an address instead of a name",
    Oddity.ODD_PORT: "an unusual port",
    Oddity.UNKNOWN_SUFFIX: "a host under no known suffix",
    Oddity.HIDDEN_CHARACTERS: "invisible characters",
    Oddity.HASH_MALFORMED: "a malformed hash",
    Oddity.TWO_HASHES: "one URL with two hashes",
    Oddity.SHARED_HASH: "one hash on many domains",
}
STATES = {
    State.FOR_SALE: "for sale",
    State.LAPSED: "registration has ended",
    State.LAPSING: "ends within 90 days",
    State.HELD: "registered longer",
    State.UNKNOWN: "unknown",
}
UNKNOWN_PURCHASE = "Unknown: no table of expiry dates and prices was given (--prices). Nothing here says that the list is safe."


def share(part: int, whole: int) -> str:
    """A part as a percentage; `0 %` of nothing."""
    return percent(part / whole if whole else 0.0)


def amount(hundredths: int) -> str:
    """A price: `60`, `59.90`."""
    whole, rest = divmod(hundredths, 100)
    return f"{whole:,}.{rest:02}" if rest else f"{whole:,}"


def offer(found: Offer) -> str:
    """What a table says of a domain, to be added to other words: `, 60, until 2027-01-31`."""
    price = "" if found.price is None else f", {amount(found.price)}"
    return price + ("" if found.expires is None else f", until {found.expires}")


def ppm(parts_per_million: int) -> str:
    """`0.01 %`."""
    return f"{parts_per_million / 10_000:g} %"


def basis(analysis: IndexAnalysis) -> str:
    """By which list domains are told apart."""
    which = (
        "ICANN suffixes only"
        if analysis.suffixes.suffixes is Suffixes.ICANN
        else "ICANN and private suffixes"
    )
    return f"Public Suffix List {shown(analysis.suffixes.version, 60)}, {which}"


def private(analysis: IndexAnalysis) -> str:
    """What the choice of suffixes means for this list; "" where it means nothing."""
    if not analysis.private:
        return ""
    rows = f"{share(analysis.private, analysis.concentration.rows)} of them ({count(analysis.private)})"
    if analysis.suffixes.suffixes is Suffixes.ALL:
        return f"{rows} lie on services such as blogspot.com, each of whose customers counts as a domain."
    return (
        f"{rows} lie on services such as blogspot.com, each of whose customers controls its own pages; "
        "--suffixes all counts these one by one."
    )


def equal_domains(analysis: IndexAnalysis) -> str:
    """The Herfindahl index in words."""
    index = analysis.concentration.herfindahl
    return f"{index:.3g}: as concentrated as {count(round(1 / index), 'equal domain')}" if index else "none"


def hashes(analysis: IndexAnalysis) -> list[str]:
    """What is known of the contents, in sentences."""
    found, rows = analysis.hashes, analysis.rows
    if found.column is None:
        return ["No column holds content hashes: whatever the servers send will be taken for what was meant."]
    said = [
        f"Column {shown(found.column, 60)} ({found.kind}): {count(found.well_formed)} of {count(rows, 'row')} "
        f"({share(found.well_formed, rows)}) carry a well-formed hash, {count(found.missing)} none, "
        f"{count(sum(found.malformed.values()))} a malformed one."
    ]
    if found.kind in ("md5", "sha1") and found.well_formed:
        said.append(
            f"A second content can be made for any {found.kind} that its own author chose: it verifies nothing."
        )
    return said


def repeats(analysis: IndexAnalysis) -> str:
    """URLs that occur again."""
    again = analysis.repeats
    if not again.urls:
        return "No URL occurs twice."
    text = (
        f"{count(again.urls, 'URL occurs', 'URLs occur')} more than once ({count(again.rows, 'further row')})"
    )
    return text + (
        f", {count(again.contradicted)} of them with hashes that differ." if again.contradicted else "."
    )


def way(found: Way) -> str:
    """The cheapest way to a share, in a sentence."""
    need = f"{ppm(found.parts_per_million)} of the rows ({count(found.needed)})"
    if found.price is None:
        return f"{need}: not for sale in the table; the price is unknown"
    bound = "" if found.exact else f", certainly not below {amount(found.floor)}"
    return f"{need}: {amount(found.price)} for {count(len(found.domains), 'domain')} with {count(found.rows, 'row')}{bound}"
