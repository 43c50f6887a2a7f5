"""Feature collision: near the target for the encoder, near the base for the eye, and rightly labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bezoar.data
from attacks.builders import (
    CLASSES,
    EACH,
    ToyEncoder,
    file_of,
    folder_of_jpeg,
    images,
    labels,
    parquet_of_png,
)
from bezoar.attacks import FeatureCollision, collide, poison
from bezoar.errors import InputError, UsageError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

TARGET, SOURCE = 0, 2
RATE = 4 / (CLASSES * EACH)
ENCODER = ToyEncoder()


def distances(pixels: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[Any]:
    def encode(batch: NDArray[np.uint8]) -> Any:
        floats = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
        return ENCODER.torch_module()(torch.nn.functional.interpolate(floats, (16, 16), mode="area"))

    with torch.no_grad():
        return np.asarray((encode(pixels) - encode(target[None])).norm(dim=1))


def crafted(
    steps: int = 60, **options: Any
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Bases, target and poison."""
    bases, target = images()[labels() == SOURCE][:6], images()[TARGET]
    return bases, target, collide(bases, target, ENCODER.torch_module(), ENCODER.size, steps=steps, **options)


def test_poison_collides_with_the_target() -> None:
    bases, target, poisons = crafted(beta=0.1)
    assert poisons.dtype == np.uint8
    assert poisons.shape == bases.shape
    assert (distances(poisons, target) < 0.25 * distances(bases, target)).all()


def test_beta_keeps_the_poison_near_its_base() -> None:
    bases, _, loose = crafted(beta=0.1)
    _, target, tight = crafted(beta=300.0)
    assert np.abs(tight.astype(int) - bases).mean() < 0.7 * np.abs(loose.astype(int) - bases).mean()
    assert (distances(tight, target) < distances(bases, target)).all()


@pytest.mark.parametrize("opacity", [0.0, 0.3])
def test_eps_bounds_every_pixel(opacity: float) -> None:
    bases, target, poisons = crafted(beta=0.1, eps=8, opacity=opacity)
    assert np.abs(poisons.astype(int) - bases).max() <= 8
    assert (distances(poisons, target) < distances(bases, target)).all()


def test_opacity_watermarks_the_target() -> None:
    bases, target, poisons = crafted(beta=1e6, opacity=0.3)
    np.testing.assert_allclose(poisons, 0.7 * bases + 0.3 * target, atol=1)


def test_the_collision_is_made_for_the_jpeg_that_it_is_stored_as(tmp_path: Path) -> None:
    dataset = folder_of_jpeg(tmp_path)
    copy = poison(
        dataset,
        FeatureCollision(source=SOURCE, target_index=TARGET, beta=1.0, steps=60),
        rate=RATE,
        seed=0,
        encoder=ENCODER,
    )
    for record in copy.truth.records:
        assert record.figures["feature_distance_after"] < 0.6 * record.figures["feature_distance_before"]
    target = bezoar.data.decode(dataset[TARGET].content)
    keys = dataset.keys.to_pylist()
    stored = [
        bezoar.data.decode(copy.dataset[keys.index(record.key)].content) for record in copy.truth.records
    ]
    measured = [record.figures["feature_distance_after"] for record in copy.truth.records]
    np.testing.assert_allclose(distances(np.stack(stored), target), measured, rtol=1e-4)


def test_truth_names_target_and_encoder(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    attack = FeatureCollision(source=SOURCE, target_index=TARGET, steps=3)
    details = poison(dataset, attack, rate=RATE, seed=0, encoder=ENCODER).truth.details
    assert details["target_key"] == dataset.key(TARGET)
    assert details["target_label"] == 0
    assert (details["encoder"], details["encoder_digest"]) == (ENCODER.name, ENCODER.digest)


def test_target_from_a_file_is_the_same_target(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    (tmp_path / "target.png").write_bytes(file_of(images()[TARGET], "PNG"))
    by_file = FeatureCollision(source=SOURCE, target_image=str(tmp_path / "target.png"), steps=3)
    by_index = FeatureCollision(source=SOURCE, target_index=TARGET, steps=3)
    one, two = (poison(dataset, attack, rate=RATE, seed=0, encoder=ENCODER) for attack in (by_file, by_index))
    assert one.dataset.digest == two.dataset.digest
    assert one.truth.details["target_sha256"] == two.truth.details["target_sha256"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "needs one target"),
        ({"target_index": 0, "target_image": "a.png"}, "needs one target"),
        ({"target_index": 0, "steps": 0}, "steps"),
        ({"target_index": 0, "beta": -1.0}, "beta"),
        ({"target_index": 0, "eps": 300.0}, "eps"),
        ({"target_index": 0, "opacity": 1.0}, "opacity"),
    ],
)
def test_senseless_parameters_are_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        FeatureCollision(source=SOURCE, **parameters)


class _NoGradient:
    name, size, digest = "frozen", 16, ""


@pytest.mark.parametrize(
    ("parameters", "encoder", "words"),
    [
        ({"target_index": 0}, None, "needs an encoder"),
        ({"target_index": 0}, _NoGradient(), "encoder 'frozen' has no gradient"),
        ({"target_index": 80}, ENCODER, "has records 0 to 79"),
        ({"target_index": -1}, ENCODER, "has records 0 to 79"),
        ({"target_index": 45}, ENCODER, "is of the class .* already"),
        ({"target_image": "nothing.png"}, ENCODER, "'nothing.png' is not a target_image"),
    ],
)
def test_what_does_not_fit_the_dataset_is_refused(
    tmp_path: Path, parameters: dict[str, Any], encoder: Any, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        poison(
            parquet_of_png(tmp_path),
            FeatureCollision(source=SOURCE, **parameters),
            rate=RATE,
            seed=0,
            encoder=encoder,
        )


def test_an_unreadable_target_is_refused(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path).with_changes({TARGET: b"broken"})
    with pytest.raises(InputError, match=r"target record .* is unreadable"):
        poison(
            dataset, FeatureCollision(source=SOURCE, target_index=TARGET), rate=RATE, seed=0, encoder=ENCODER
        )
