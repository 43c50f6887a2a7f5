"""What the forms of an audit share: the sentences about method and sampling, and the names of the balance's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bezoar.report.text import count, percent

if TYPE_CHECKING:
    from bezoar.custody.audit.balances import Balance
    from bezoar.custody.audit.statement import AuditStatement

_FILES = 3  # named in a sentence
COLUMNS = (
    "opening",
    "+ acquired",
    "− quarantined",
    "+ released",
    "− removed",
    "± transformed",
    "= closing",
    "sealed",
    "difference",
)
TITLES = {
    "unqualified": "Unqualified opinion",
    "qualified": "Qualified opinion",
    "adverse": "Adverse opinion",
    "disclaimer": "Disclaimer of opinion",
}


def figures(row: Balance) -> tuple[int, ...]:
    """The figures of a row, in the order of COLUMNS."""
    moved = (row.moved.get(name, 0) for name in ("acquired", "quarantined", "released", "removed"))
    return (row.opening, *moved, row.transformed, row.closing, row.sealed, row.difference)


def sampling(statement: AuditStatement) -> str:
    """What was examined of the contents, and what that says, in a paragraph."""
    how = statement.sampling
    if how.plan is None:
        if not how.examined:
            return "No content was examined."
        return (
            f"The content of all {count(how.examined, 'record')} was hashed again and compared with the seal."
        )
    plan = how.plan
    wrong = any(each.code == "data-changed" for each in statement.irregularities)
    drawn = "drawn with a seed that was chosen" if how.chosen else "drawn at random"
    said = (
        f"Keys, labels and sources of all {count(plan.population, 'record')} were compared with the seal. The content of "
        f"{count(plan.size, 'record')}, {drawn} (discovery sampling, seed {how.seed}), was hashed again. "
    )
    if how.unread:
        names = ", ".join(how.unread[:_FILES])
        more = f" and {len(how.unread) - _FILES:,} more" if len(how.unread) > _FILES else ""
        said += f"Not read as a whole: {'the file' if how.unread == ('.',) else names}{more}. "
    if wrong:
        return said + "Some was not what was sealed; examine all of it with --full."
    if how.chosen:
        return said + (
            "None was wrong. Nothing follows for the other records: whoever chooses the seed can try until none is wrong."
        )
    return said + (
        f"None was wrong. Were {count(plan.errors)} or more of the {count(plan.population)} contents wrong (more than the "
        f"tolerable {percent(plan.tolerable)}), a sample of this size would have shown at least one of them with a "
        f"probability of {percent(plan.confidence)} or more."
    )


def scope(statement: AuditStatement) -> str:
    """What was audited, in a paragraph."""
    log = statement.log
    where = (
        f"the {count(log.size, 'entry', 'entries')} of the custody log {log.origin}"
        if log
        else "no custody log"
    )
    return (
        f"We have audited the records of the dataset {statement.dataset!r} against {where}, the sealed manifest and the data. "
        "Management of the dataset is responsible for acquiring, sealing and changing it, and for attesting every change. Our "
        "responsibility is to say whether the balance follows from what was attested, by the rules of the policy."
    )


def period(statement: AuditStatement) -> str:
    """Where the opening balance comes from; "" when the whole life was audited."""
    if statement.since is None:
        return ""
    earlier = statement.earlier
    if earlier is None:
        return (
            "The opening balance follows from the events before the period. No auditor's statement about them is in the log, so "
            "that their exceptions are listed here."
        )
    return (
        f"The opening balance follows from the events before the period. The auditor's statement in entry {earlier.event} of the "
        f"log has told of them; {count(earlier.exceptions, 'exception')} of before it "
        f"{'is' if earlier.exceptions == 1 else 'are'} not repeated here."
    )


BASIS = (
    "Every entry was proved to be in the log and its signature held against the policy. From the signed events alone the records "
    "held were worked out after every step, and the snapshot roots that the events name were computed again. The closing balance "
    "was compared with the sealed manifest record by record, and the manifest with the data."
)
