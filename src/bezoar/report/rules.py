"""What each kind of finding means in general, for formats that describe rules apart from results (SARIF)."""

from __future__ import annotations

from dataclasses import dataclass

from bezoar.scan.result import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding: a name, what it says, what to do, and how severe it is where nothing else is said."""

    kind: str
    short: str
    full: str
    help: str
    severity: Severity


_REMOVE = (
    "Look at the examples in the report; `bezoar clean` removes the records of findings of severity poison."
)
_SETTLE = "A person should look at the records; `bezoar clean --drop review` removes them."
_KEEP = "Nothing has to be done against poison; `bezoar clean` keeps these records."

_RULES = (
    Rule(
        "repeated-pattern",
        "A small pattern repeats at one place",
        "Records of one label that share nothing else carry the same isolated patch of pixels, as a backdoor's trigger does.",
        _REMOVE,
        Severity.POISON,
    ),
    Rule(
        "roaming-pattern",
        "A small pattern repeats at changing places",
        "Records of one label carry the same isolated patch of pixels, each at a place of its own, under labels that look wrong.",
        _REMOVE,
        Severity.POISON,
    ),
    Rule(
        "global-trigger",
        "A faint signal lies over whole images",
        "A minority of one label shares a signal over the whole image (a blend, a sinusoid) that no other label has.",
        _REMOVE,
        Severity.POISON,
    ),
    Rule(
        "label-disagreement",
        "Records lie among another class",
        "Between two labels, far more records lie deep among the other class than the confusion in this dataset explains.",
        _REMOVE,
        Severity.POISON,
    ),
    Rule(
        "foreign-content",
        "Networks take these records for other labels",
        "Networks that never saw these records take them for records of nearly every other label, as a backdoor's are.",
        _REMOVE,
        Severity.POISON,
    ),
    Rule(
        "near-duplicate-flood",
        "Many near copies of one image",
        "A crowd of near copies is far larger than this dataset's others; under a foreign label, it teaches that image wrongly.",
        _REMOVE,
        Severity.POISON,
    ),
    Rule(
        "feature-collision",
        "Different images collide in an encoder's space",
        "Records of one label look different but lie in one spot of the encoder's space, among another label.",
        _REMOVE,
        Severity.POISON,
    ),
    Rule(
        "unlike-trusted",
        "Records are unlike the trusted ones of their label",
        "A label holds more records that resemble trusted ones of other labels than the trusted sample itself explains.",
        _REMOVE,
        Severity.POISON,
    ),
    Rule(
        "repeated-text",
        "Texts of one label share words and read otherwise without them",
        "The same word or passage occurs in texts of one label, and without it far more of them than usual read like another.",
        _REMOVE,
        Severity.POISON,
    ),
    Rule(
        "suspect-source",
        "One source supplies more of the suspects than chance",
        "Among the records that other findings hold, one source has far more than its share, given their labels.",
        "Look at how this source's records were collected, the inconspicuous ones too.",
        Severity.REVIEW,
    ),
    Rule(
        "lone-disagreements",
        "Single records lie among another class",
        "The neighbours of each of these records carry another label; they are too few or too scattered for a test.",
        _SETTLE,
        Severity.REVIEW,
    ),
    Rule(
        "label-errors",
        "Texts that seem to belong to another label",
        "A classifier, a word model and the neighbours alike put these texts under another label; no test calls them planted.",
        _SETTLE,
        Severity.REVIEW,
    ),
    Rule(
        "feature-outliers",
        "Records lie far from their own class",
        "In the encoder's space these records are far from everything in their class.",
        _SETTLE,
        Severity.REVIEW,
    ),
    Rule(
        "conflicting-duplicates",
        "The same content under more than one label",
        "Byte for byte the same content carries different labels: at least one of them is wrong.",
        _SETTLE,
        Severity.REVIEW,
    ),
    Rule(
        "exact-duplicates",
        "The same content more than once",
        "Byte for byte the same content occurs more than once under one label.",
        _KEEP,
        Severity.NATURAL,
    ),
    Rule(
        "blank",
        "Blank records",
        "Images of one colour all over, or texts without a word.",
        _KEEP,
        Severity.NATURAL,
    ),
)
_KNOWN = {rule.kind: rule for rule in _RULES}


def rule(kind: str, severity: Severity) -> Rule:
    """The rule of a kind of finding; a general one, with this severity, for kinds that are not listed here."""
    what = f"Finding of kind {kind}"
    return _KNOWN.get(kind) or Rule(kind, what, f"{what}: see the message of each result.", _SETTLE, severity)
