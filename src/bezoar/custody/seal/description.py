"""What a manifest says of its dataset as a whole, and no row does: its format, its modality, the order of its classes.

Models are trained on the numbers of the labels, and a row has the name. When numbers and names are exchanged together, all rows
stay as they are; so the names, in the order of their numbers, are bound here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.custody.seal.records import Records
    from bezoar.data import Dataset

_WORDS = {"format": "the format", "modality": "the modality", "classes": "the order of the classes"}


def facts(dataset: Dataset) -> dict[str, str]:
    """Modality, and the SHA-256 (hex) of the class names in their order (RFC 8785 JSON)."""
    import rfc8785

    names = hashlib.sha256(rfc8785.dumps(list(dataset.label_names))).hexdigest()
    return {"modality": dataset.modality, "classes": names}


def description_problems(described: Mapping[str, str], there: Records | Dataset) -> list[str]:
    """A line for each of these that is not what the description of a manifest says."""
    now = there.facts if hasattr(there, "facts") else facts(there)
    return [
        f"{_WORDS[name]} is not what was sealed ({described.get(name, 'none')[:12]!r}; it is {value[:12]!r})"
        for name, value in {"format": there.format, **now}.items()
        if described.get(name) != value
    ]
