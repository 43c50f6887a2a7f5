"""Label flips: records of one class get the label of another; nothing else changes.

Tolpegin, Truex, Gursoy and Liu, "Data Poisoning Attacks Against Federated Learning Systems", ESORICS 2020,
arXiv:2007.08432: it wants the source class misread as the target. There is no trigger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from bezoar.attacks.base import ATTACKS
from bezoar.attacks.defaults import LabelAttack, require_two_classes
from bezoar.data.dataset import Modality


@dataclass(frozen=True, kw_only=True)
class LabelFlip(LabelAttack):
    """Gives records of one class, or of all others, the label of the target."""

    name: ClassVar[str] = "label-flip"
    paper: ClassVar[str] = "Tolpegin et al., ESORICS 2020, arXiv:2007.08432"
    modality: ClassVar[Modality | None] = None

    target: int = field(metadata={"help": "label that the poisoned records get"})
    source: int | None = field(
        default=None, metadata={"help": "class to poison; every class but the target if absent"}
    )

    def __post_init__(self) -> None:
        require_two_classes(self.source, self.target)


ATTACKS.register(LabelFlip.name, LabelFlip)
