from __future__ import annotations

import numpy as np
import pytest

from bezoar.embed.default import DefaultEncoder, pooling
from bezoar.errors import UsageError


@pytest.fixture(scope="module")
def fitted() -> DefaultEncoder:
    rng = np.random.default_rng(0)
    return DefaultEncoder().fit(rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), seed=1)


def test_features_have_the_declared_shape_and_unit_length(fitted, blobs):
    features = fitted.encode(blobs(7))
    assert features.shape == (7, fitted.dim)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3)


def test_flat_images_have_finite_features(fitted):
    flat = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (0, 128, 255)])
    assert np.isfinite(fitted.encode(flat)).all()


def test_features_do_not_depend_on_the_batch(fitted, blobs):
    images = blobs(150)
    one_by_one = np.concatenate([fitted.encode(images[i : i + 1]) for i in (0, 127, 128, 149)])
    np.testing.assert_allclose(fitted.encode(images)[[0, 127, 128, 149]], one_by_one, atol=1e-5)


def test_no_images_give_no_features(fitted):
    assert fitted.encode(np.empty((0, 32, 32, 3), np.uint8)).shape == (0, fitted.dim)


def test_the_same_sample_and_seed_give_the_same_encoder(blobs):
    sample = blobs(40)
    assert DefaultEncoder().fit(sample, 3).digest == DefaultEncoder().fit(sample, 3).digest
    assert DefaultEncoder().fit(sample, 3).digest != DefaultEncoder().fit(sample, 4).digest


def test_an_adapted_encoder_stays_as_it_is(fitted, blobs):
    assert fitted.fit(blobs(5), 9) is fitted


def test_it_must_be_adapted_before_use(blobs):
    with pytest.raises(UsageError, match="adapted first"):
        DefaultEncoder().encode(blobs(1))


def test_a_small_shift_moves_features_less_than_another_image(fitted, blobs):
    images = blobs(30)
    features, shifted = fitted.encode(images), fitted.encode(np.roll(images, 1, axis=2))
    similarity = features @ shifted.T
    assert (similarity.argmax(1) == np.arange(30)).mean() > 0.9


def test_torch_gives_the_same_features_and_a_gradient(fitted, blobs):
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    images = blobs(9)
    given = torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255
    given.requires_grad_()
    features = fitted.torch_module()(given)
    np.testing.assert_allclose(features.detach().numpy(), fitted.encode(images), atol=1e-3)
    features[:, 0].sum().backward()
    assert torch.isfinite(given.grad).all()
    assert given.grad.abs().max() > 0


def test_pooling_averages_every_position():
    matrix = pooling(14, 3)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    assert (matrix.sum(0) > 0).all()
