"""Label-consistent: hard to recognise for the surrogate, then stamped; at test time stamped alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from attacks.builders import CLASSES, EACH, ToySurrogate, images, labels, parquet_of_png
from bezoar.attacks import BadNets, LabelConsistent, poison
from bezoar.attacks.base import Stored
from bezoar.data import decode
from bezoar.errors import UsageError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

TARGET = 2
POISONED = 6
RATE = POISONED / (CLASSES * EACH)
SURROGATE = ToySurrogate()


def losses(pixels: NDArray[np.uint8]) -> NDArray[Any]:
    floats = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        logits = SURROGATE.module(torch.nn.functional.interpolate(floats, (16, 16), mode="area"))
    return np.asarray(-logits.log_softmax(1)[:, TARGET])


def crafted(stored: Stored = lambda image: image, **options: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Records of the target class, and poison of them."""
    attack = LabelConsistent(target=TARGET, **{"steps": 20, **options})
    bases = images()[labels() == TARGET]
    crafter = attack.prepare(None, None, SURROGATE)  # type: ignore[arg-type]  # it does not look at the dataset
    return bases, crafter.craft(bases, np.random.default_rng(0), [stored] * len(bases))


def under_the_patch(bases: NDArray[np.uint8], poisons: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The poison without its patch in the default place (3 x 3 of 32 pixels, here 2 x 2 of 24)."""
    bare = poisons.copy()
    bare[:, -3:-1, -3:-1] = bases[:, -3:-1, -3:-1]
    return bare


def test_the_surrogates_loss_rises_before_the_patch_is_stamped() -> None:
    bases, poisons = crafted()
    bare = under_the_patch(bases, poisons)
    assert (losses(bare) > losses(bases) + 0.05).all()
    _, more = crafted(eps=32.0)
    assert losses(under_the_patch(bases, more)).mean() > losses(bare).mean()


@pytest.mark.parametrize("eps", [1.0, 8.5, 16.0])
def test_eps_bounds_every_pixel_but_the_patch(eps: float) -> None:
    bases, poisons = crafted(eps=eps)
    bare = under_the_patch(bases, poisons)
    assert np.abs(bare.astype(int) - bases).max() == int(eps)
    stamped = BadNets(target=TARGET).apply(bare, np.random.default_rng(0))
    np.testing.assert_array_equal(stamped, poisons)


def test_the_loss_is_raised_as_the_image_is_stored() -> None:
    """Steps that a coarse container turns into a lower loss are not taken."""
    bases, poisons = crafted(lambda image: image // 64 * 64, eps=1.0)
    coarse = under_the_patch(bases, poisons) // 64 * 64
    assert (losses(coarse) >= losses(bases // 64 * 64)).all()


def test_only_the_patch_is_shown_at_test_time() -> None:
    attack = LabelConsistent(target=TARGET, place="3,4", pattern="white")
    shown = attack.apply(images(), np.random.default_rng(0))
    stamp = BadNets(target=TARGET, place="3,4", pattern="white")
    np.testing.assert_array_equal(shown, stamp.apply(images(), np.random.default_rng(0)))
    success = attack.test_labels(labels(), CLASSES)
    np.testing.assert_array_equal(success, np.where(labels() == TARGET, -1, TARGET))


def test_labels_stay_and_the_truth_has_the_loss_and_the_surrogate(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    attack = LabelConsistent(target=TARGET, steps=10)
    copy = poison(dataset, attack, rate=RATE, seed=0, surrogate=SURROGATE)
    np.testing.assert_array_equal(copy.dataset.labels, dataset.labels)
    keys = dataset.keys.to_pylist()
    for record in copy.truth.records:
        assert record.label == record.original_label == TARGET
        stored = decode(copy.dataset[keys.index(record.key)].content)
        assert record.figures["surrogate_loss_after"] == pytest.approx(losses(stored[None])[0], abs=1e-4)
    assert copy.truth.details == {"surrogate": SURROGATE.name, "surrogate_digest": SURROGATE.digest}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"eps": 0.5}, "eps"),
        ({"eps": 256.0}, "eps"),
        ({"size": 0}, "size"),
        ({"place": "somewhere"}, "place"),
    ],
)
def test_senseless_parameters_are_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        LabelConsistent(target=TARGET, **parameters)


def test_it_needs_a_surrogate(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="label-consistent needs a surrogate"):
        poison(parquet_of_png(tmp_path), LabelConsistent(target=TARGET), rate=RATE, seed=0)
