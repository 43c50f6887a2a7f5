from __future__ import annotations

import numpy as np
import pytest

from bezoar.errors import InputError, UsageError
from bezoar.models.text import train_text_classifier

TEXTS = [f"{word} story {i}" for i in range(20) for word in ("good", "bad")]
LABELS = [0, 1] * 20


def test_it_learns_words_and_is_deterministic() -> None:
    model = train_text_classifier(TEXTS, LABELS, 2, seed=0)
    assert model.predict(["a good one", "a bad one"]).tolist() == [0, 1]
    again = train_text_classifier(TEXTS, LABELS, 2, seed=0)
    np.testing.assert_array_equal(model.predict(TEXTS), again.predict(TEXTS))


def test_what_does_not_fit_together_is_refused() -> None:
    for labels in ([0, 1], [0, 2] * 20, [0] * 40, [0.5] * 40):
        with pytest.raises(InputError):
            train_text_classifier(TEXTS, labels, 2, seed=0)
    with pytest.raises(InputError, match="no words"):
        train_text_classifier(["", " "], [0, 1], 2, seed=0)
    with pytest.raises(UsageError):
        train_text_classifier(TEXTS, LABELS, 1, seed=0)
