from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

from bezoar.embed import default_cache, features, fit, resolve
from bezoar.errors import InputError, OutputError


@dataclass
class Means:
    """An encoder that counts what it is asked for, and can be told to fail."""

    name: str = "means"
    size: int = 8
    dim: int = 3
    digest: str = "means 1"
    sample_size: int = 0
    encoded: list[int] = field(default_factory=list)
    fail_after: int | None = None

    def fit(self, sample, seed):
        return self

    def encode(self, images):
        if self.fail_after is not None and len(self.encoded) >= self.fail_after:
            raise KeyboardInterrupt
        self.encoded.append(len(images))
        return images.reshape(len(images), -1, 3).mean(1).astype(np.float32)


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr("bezoar.embed.extract._BATCH", 4)
    monkeypatch.setattr("bezoar.embed.extract._CHECKPOINT", 1)


def test_rows_are_in_order_and_unreadable_ones_are_nan(blobs, folder_of, small_steps):
    images = blobs(14)
    dataset = folder_of(images, [3, 12])
    rows, unreadable = features(dataset, Means(), seed=0)
    assert [index for index, _ in unreadable] == [3, 12]
    assert np.isnan(rows[[3, 12]]).all()
    for index in (0, 5, 13):
        number = int(dataset.key(index).split("/")[1][:4])
        np.testing.assert_allclose(rows[index], images[number].reshape(-1, 3).mean(0), atol=1.5)


def test_a_second_run_reads_the_cache(blobs, folder_of, small_steps, tmp_path):
    dataset = folder_of(blobs(10), [2])
    first, lost = features(dataset, Means(), seed=0, cache=tmp_path / "cache")
    again = Means()
    second, lost_again = features(dataset, again, seed=0, cache=tmp_path / "cache")
    assert again.encoded == []
    assert isinstance(second, np.memmap)
    assert lost == lost_again
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.load(next((tmp_path / "cache").glob("*.npy"))), first)


def test_another_seed_encoder_or_dataset_misses_the_cache(blobs, folder_of, tmp_path):
    dataset = folder_of(blobs(6), [])
    features(dataset, Means(), seed=0, cache=tmp_path / "cache")
    for other, seed, encoder in (
        (dataset, 1, Means()),
        (dataset, 0, Means(digest="means 2")),
        (dataset.with_changes(labels={0: 1}), 0, Means()),
    ):
        features(other, encoder, seed=seed, cache=tmp_path / "cache")
        assert encoder.encoded


def test_an_interrupted_run_goes_on_where_it_stopped(blobs, folder_of, small_steps, tmp_path):
    dataset = folder_of(blobs(20), [1, 17])
    with pytest.raises(KeyboardInterrupt):
        features(dataset, Means(fail_after=3), seed=0, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))
    rest = Means()
    rows, unreadable = features(dataset, rest, seed=0, cache=tmp_path / "cache")
    assert sum(rest.encoded) == 20 - 12 - 1  # three batches of four were done, one of the rest is unreadable
    expected, expected_unreadable = features(dataset, Means(), seed=0)
    np.testing.assert_array_equal(rows, expected)
    assert unreadable == expected_unreadable


@pytest.mark.parametrize("suffix", [".npy", ".npy.partial"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "header", "empty"])
def test_damaged_rows_are_computed_again(blobs, folder_of, small_steps, tmp_path, damage, suffix):
    dataset, cache = folder_of(blobs(12), []), tmp_path / "cache"
    if suffix == ".npy":
        expected = np.array(features(dataset, Means(), seed=0, cache=cache)[0])
    else:
        expected = features(dataset, Means(), seed=0)[0]
        with pytest.raises(KeyboardInterrupt):
            features(dataset, Means(fail_after=2), seed=0, cache=cache)
    (path,) = cache.glob(f"*{suffix}")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1 if suffix == ".npy" else 130] ^= 1
    elif damage == "truncate":
        del content[-5 if suffix == ".npy" else 140 :]
    elif damage == "header":
        content[:6] = b"PICKLE"
    else:
        content.clear()
    path.write_bytes(content)
    encoder = Means()
    rows, _ = features(dataset, encoder, seed=0, cache=cache)
    assert sum(encoder.encoded) == 12
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    "state", [b"", b"[]", b"{", b'{"done": "x"}', b"\xff" * 9, b"[" * 100_000, b'{"unreadable": 7}']
)
def test_a_damaged_progress_file_is_computed_again(blobs, folder_of, tmp_path, state):
    dataset, cache = folder_of(blobs(6), []), tmp_path / "cache"
    expected = np.array(features(dataset, Means(), seed=0, cache=cache)[0])
    next(cache.glob("*.json")).write_bytes(state)
    encoder = Means()
    rows, _ = features(dataset, encoder, seed=0, cache=cache)
    assert encoder.encoded
    np.testing.assert_array_equal(rows, expected)


def test_a_progress_file_of_other_features_is_not_believed(blobs, folder_of, tmp_path):
    dataset, cache = folder_of(blobs(6), []), tmp_path / "cache"
    features(dataset, Means(), seed=0, cache=cache)
    path = next(cache.glob("*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"key": "0" * 64}))
    encoder = Means()
    features(dataset, encoder, seed=0, cache=cache)
    assert encoder.encoded


def test_a_cache_that_cannot_be_written_is_one_line(blobs, folder_of, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="BEZOAR_CACHE"):
        features(folder_of(blobs(4), []), Means(), seed=0, cache=tmp_path / "file" / "cache")


def test_the_default_encoder_through_the_cache(blobs, folder_of, tmp_path):
    dataset = folder_of(blobs(40), [5])
    kept, _ = features(dataset, resolve("default"), seed=0, cache=tmp_path / "cache")
    fresh, _ = features(dataset, resolve("default"), seed=0)
    np.testing.assert_allclose(kept, fresh, atol=1e-5)
    assert np.isnan(kept).any(1).sum() == 1


def test_fit_takes_a_seeded_sample_of_readable_images(blobs, folder_of):
    @dataclass
    class Sampled(Means):
        sample_size: int = 5

        def fit(self, sample, seed):
            return Means(digest=str(sample.shape) + str(sample.sum()))

    dataset = folder_of(blobs(16), [0])
    chosen = {fit(dataset, Sampled(), seed).digest for seed in range(4)}
    assert len(chosen) > 1
    assert fit(dataset, Sampled(), 2).digest == fit(dataset, Sampled(), 2).digest
    assert all(item.startswith(("(5, 8, 8, 3)", "(4, 8, 8, 3)")) for item in chosen)


def test_fit_says_when_nothing_can_be_read(blobs, folder_of):
    with pytest.raises(InputError, match="none of 4 sampled records"):
        fit(folder_of(blobs(4), [0, 1, 2, 3]), resolve("default"), 0)


def test_the_default_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BEZOAR_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("BEZOAR_CACHE")
    assert default_cache().parts[-3:] == (".cache", "bezoar", "features")
