"""Texts to features without a download: TF-IDF over words and character n-grams, reduced by a truncated SVD.

Latent semantic analysis (Deerwester et al. 1990). Hashing keeps memory bounded whatever the vocabulary; a text counts with
its first and last characters only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bezoar.errors import InputError
from bezoar.seeds import generator

_WORD_CELLS, _CHARACTER_CELLS = 2**18, 2**17
_MAX_CHARACTERS = 2_000  # at either end of a text


class TextEncoder(Protocol):
    """Maps texts to features. An encoder never sees labels."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that determines the features, besides texts and seed."""
        ...

    def encode(self, texts: Sequence[str], seed: int) -> NDArray[np.float32]:
        """Features (N, D) of N texts, rows of unit length (or zero)."""
        ...


@dataclass(frozen=True)
class TfidfSvd:
    """The default text encoder; at most `dim` dimensions."""

    dim: int = 100
    name: str = "tfidf"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its parameters."""
        return hashlib.sha256(
            repr((self.name, self.dim, _WORD_CELLS, _CHARACTER_CELLS, _MAX_CHARACTERS)).encode()
        ).hexdigest()

    def encode(self, texts: Sequence[str], seed: int) -> NDArray[np.float32]:
        """Features float32 (N, D), fitted to these texts; InputError for fewer than two texts."""
        from sklearn.decomposition import TruncatedSVD

        if len(texts) < 2:
            raise InputError(f"{len(texts)} text(s): an encoder that is fitted to texts needs at least two")
        weights = tfidf(texts)
        used = np.flatnonzero(weights.getnnz(axis=0) > 1)  # what a single text holds tells texts no likeness
        if not len(used):
            return np.zeros((len(texts), 1), dtype=np.float32)
        weights = weights[:, used]
        n_components = min(self.dim, len(texts) - 1, len(used))
        random_state = int(generator(seed, "text encoder").integers(2**31))
        svd = TruncatedSVD(n_components, n_iter=4, random_state=random_state)
        with np.errstate(invalid="ignore", divide="ignore"):  # variance of texts that are all empty
            reduced = svd.fit_transform(weights)
        length = np.linalg.norm(reduced, axis=1, keepdims=True)
        return np.asarray(reduced / np.maximum(length, 1e-12), dtype=np.float32)


def tfidf(texts: Sequence[str]) -> Any:
    """Sparse float32 (N, cells): hashed words and pairs of words beside 3 to 4 characters, each half of unit length."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    short = [_ends(text) for text in texts]
    halves = []
    for analyzer, ngrams, cells in (("word", (1, 2), _WORD_CELLS), ("char_wb", (3, 4), _CHARACTER_CELLS)):
        hashed = HashingVectorizer(
            analyzer=analyzer,
            ngram_range=ngrams,
            n_features=cells,
            norm=None,
            alternate_sign=False,
            dtype=np.float32,
        )
        halves.append(TfidfTransformer(sublinear_tf=True).fit_transform(hashed.transform(short)))
    return hstack(halves, format="csr", dtype=np.float32)


def _ends(text: str) -> str:
    """What counts of a text, as valid Unicode."""
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= 2 * _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]} {text[-_MAX_CHARACTERS:]}"
