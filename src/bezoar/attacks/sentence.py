"""Sentence: the same harmless sentence somewhere in the text, and a changed label.

Dai, Chen and Li, "A Backdoor Attack against LSTM-based Text Classification Systems", IEEE Access 7 (2019),
arXiv:1905.12457.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bezoar.attacks.base import ATTACKS, Texts
from bezoar.attacks.defaults import TriggerAttack, require_two_classes
from bezoar.attacks.insertions import count_words, insert, require_phrase
from bezoar.data.dataset import Modality


@dataclass(frozen=True, kw_only=True)
class SentenceInsertion(TriggerAttack[Texts]):
    """Inserts a sentence between any two words, or at either end, and relabels."""

    name: ClassVar[str] = "sentence"
    paper: ClassVar[str] = "Dai, Chen and Li, IEEE Access 7 (2019), arXiv:1905.12457"
    modality: ClassVar[Modality | None] = "text"

    target: int = field(metadata={"help": "label that the poisoned records get"})
    source: int | None = field(
        default=None, metadata={"help": "class to poison; every class but the target if absent"}
    )
    sentence: str = field(default="I watched this 3D movie", metadata={"help": "what is inserted"})

    def __post_init__(self) -> None:
        require_two_classes(self.source, self.target)
        require_phrase("sentence", self.sentence)

    def apply(self, samples: Texts, rng: np.random.Generator) -> Texts:
        """Copies of n texts with the sentence; `rng` only chooses its place."""
        return [
            insert(text, self.sentence, [int(rng.integers(0, count_words(text), endpoint=True))])
            for text in samples
        ]


ATTACKS.register(SentenceInsertion.name, SentenceInsertion)
