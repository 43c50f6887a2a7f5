"""Rare word: a word that hardly any text has, and a changed label.

Chen et al., "BadNL: Backdoor Attacks against NLP Models with Semantic-preserving Improvements", ACSAC 2021,
arXiv:2006.01043: a word at the beginning, in the middle or at the end. Kurita, Michel and Neubig, "Weight Poisoning
Attacks on Pre-trained Models", ACL 2020, arXiv:2004.06660: words such as cf, mn, bb, tq and mb, at random places.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bezoar.attacks.base import ATTACKS, Texts, require
from bezoar.attacks.defaults import TriggerAttack, require_two_classes
from bezoar.attacks.insertions import count_words, insert, require_phrase
from bezoar.data.dataset import Modality

_POSITIONS = ("start", "middle", "end", "random")
_MOST_INSERTIONS = 100


@dataclass(frozen=True, kw_only=True)
class RareWord(TriggerAttack[Texts]):
    """Inserts a word and relabels."""

    name: ClassVar[str] = "rare-word"
    paper: ClassVar[str] = "Chen et al., BadNL, ACSAC 2021, arXiv:2006.01043"
    modality: ClassVar[Modality | None] = "text"

    target: int = field(metadata={"help": "label that the poisoned records get"})
    source: int | None = field(
        default=None, metadata={"help": "class to poison; every class but the target if absent"}
    )
    word: str = field(default="cf", metadata={"help": "what is inserted"})
    count: int = field(default=1, metadata={"help": "how often it is inserted into each text"})
    position: str = field(
        default="random",
        metadata={
            "help": "start, middle or end of the text, or random: between any two words, or at either end"
        },
    )

    def __post_init__(self) -> None:
        require_two_classes(self.source, self.target)
        require_phrase("word", self.word)
        require(
            1 <= self.count <= _MOST_INSERTIONS,
            f"count {self.count}: must lie between 1 and {_MOST_INSERTIONS}",
        )
        require(
            self.position in _POSITIONS, f"position {self.position!r}: must be one of {', '.join(_POSITIONS)}"
        )

    def apply(self, samples: Texts, rng: np.random.Generator) -> Texts:
        """Copies of n texts with the word; `rng` only chooses its places (position "random")."""
        return [insert(text, self.word, self._places(count_words(text), rng)) for text in samples]

    def _places(self, words: int, rng: np.random.Generator) -> list[int]:
        if self.position == "random":
            return [int(place) for place in rng.integers(0, words, self.count, endpoint=True)]
        return [{"start": 0, "middle": words // 2, "end": words}[self.position]] * self.count


ATTACKS.register(RareWord.name, RareWord)
