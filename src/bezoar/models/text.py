"""A small text classifier that trains in seconds, to show what poison does to a model: TF-IDF and logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bezoar.errors import InputError, UsageError

_MAX_WORDS = 50_000
_TOKENS = r"(?u)\w+|[^\w\s]"


@dataclass(frozen=True)
class TextClassifier:
    """A trained scikit-learn pipeline."""

    pipeline: Any

    def predict(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """The label of each text, int32 (N,)."""
        return np.asarray(self.pipeline.predict(list(texts)), dtype=np.int32)


def train_text_classifier(
    texts: Sequence[str], labels: ArrayLike, n_classes: int, *, seed: int
) -> TextClassifier:
    """Train on N texts with labels (N,) from 0 to `n_classes` - 1; at least two of them must occur.

    Words of one letter count too. InputError when texts and labels do not fit together; UsageError for fewer than two classes.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    targets = _checked(texts, labels, n_classes)
    words = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=_TOKENS, max_features=_MAX_WORDS, sublinear_tf=True
    )
    pipeline = make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000, random_state=seed))
    try:
        pipeline.fit(list(texts), targets)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        raise InputError("the texts hold no words; there is nothing to learn from") from error
    return TextClassifier(pipeline)


def _checked(texts: Sequence[str], labels: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    if n_classes < 2:
        raise UsageError(f"cannot train on {n_classes} classes; give at least 2")
    targets = np.asarray(labels)
    if targets.shape != (len(texts),) or not np.issubdtype(targets.dtype, np.integer) or not len(texts):
        raise InputError(
            f"labels are {targets.dtype} {targets.shape}; expected {len(texts)} integers, at least one"
        )
    if targets.min() < 0 or targets.max() >= n_classes:
        raise InputError(f"labels run from {targets.min()} to {targets.max()}, outside 0 to {n_classes - 1}")
    if targets.min() == targets.max():
        raise InputError("all texts have the same label; a classifier needs at least two")
    return targets.astype(np.int64)
