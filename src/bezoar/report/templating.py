"""The one way that pages are made of templates: everything is escaped, and a name that is not given is an error."""

from __future__ import annotations

import functools

from jinja2 import Environment, PackageLoader, StrictUndefined

from bezoar.report import text


@functools.cache
def environment() -> Environment:
    """Loads from `bezoar/report/templates`."""
    made = Environment(
        loader=PackageLoader("bezoar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(count=text.count, percent=text.percent)
    return made
