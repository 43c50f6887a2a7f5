"""The clean images, and the check that the model knows them: on networks that learnt real tasks, exported by torch."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from bezoar.data import from_arrays
from bezoar.errors import InputError, UsageError

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("onnx", reason="the extra onnx is not installed")

from bezoar.inspect.clean_images import clean_images  # noqa: E402
from bezoar.models.opening import open_model  # noqa: E402

NAMES = ("red", "green", "blue", "bright")
K = len(NAMES)


def pictures(n, seed, side=16):
    """Noise with a tint that is the label: red, green, blue, or all three."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % K
    pixels = rng.integers(40, 170, (n, side, side, 3))
    tints = np.concatenate([np.eye(3), np.ones((1, 3))]) * 45
    return (pixels + tints[labels][:, None, None, :]).clip(0, 255).astype(np.uint8), labels


def dataset(n=400, seed=1, names=NAMES, order=None, **options):
    images, labels = pictures(n, seed, **options)
    order = np.arange(K) if order is None else np.asarray(order)
    return from_arrays(images, order[labels].astype(np.int32), names)


class Fed(torch.nn.Module):
    """A classifier that wants its images as `(scale * x - mean) / std`, in its own order of channels."""

    def __init__(self, layers, mean, std, scale, order):
        super().__init__()
        self.layers, self.scale, self.order = layers, scale, order
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def prepared(self, x):
        x = x.flip(1) if self.order == "bgr" else x
        return (x * self.scale - self.mean) / self.std

    def forward(self, x):
        return self.layers(x)


def learnt(mean=(0.0,) * 3, std=(1.0,) * 3, scale=1.0, order="rgb"):
    """Trained in a second on images prepared in this way."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(8, K),
        )
    network = Fed(layers, mean, std, scale, order)
    images, labels = pictures(300, seed=0)
    x = network.prepared(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    unit = x.std()  # learning is easier near 1, whatever the network wants in the end
    optimiser = torch.optim.Adam(layers.parameters(), 0.03)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layers(x / unit), torch.from_numpy(labels)).backward()
        optimiser.step()
    with torch.no_grad():
        layers[0].weight /= unit
    return network.eval()


def exported(network, path, channels=3, side=16, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "n", **({} if side else {2: "h", 3: "w"})}}
        example = (torch.rand(2, channels, side or 16, side or 16),)
        torch.onnx.export(network, example, str(path), dynamo=False, input_names=["x"], dynamic_axes=axes)
    return open_model(path, **options)


@pytest.fixture(scope="module")
def networks():
    return {
        "plain": learnt(),
        "imagenet": learnt((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "half": learnt((0.5,) * 3, (0.5,) * 3),
        "bytes": learnt(scale=255.0),
        "caffe": learnt((103.939, 116.779, 123.68), (1.0,) * 3, 255.0, "bgr"),
    }


@pytest.mark.parametrize(
    ("name", "mean", "scale", "order"),
    [
        ("plain", 0.0, 1.0, "rgb"),
        ("imagenet", 0.485, 1.0, "rgb"),
        ("half", 0.5, 1.0, "rgb"),
        ("bytes", 0.0, 255.0, "rgb"),
        ("caffe", 103.939, 255.0, "bgr"),
    ],
)
def test_the_preprocessing_is_inferred(name, mean, scale, order, networks, tmp_path):
    model = exported(networks[name], tmp_path / "m.onnx")
    clean = clean_images(model, dataset(), limit=200, seed=0)
    found = clean.preprocessing
    right = networks[name].prepared(clean.images)
    wanted = (networks[name](right).argmax(1).numpy() == clean.labels).mean()
    assert wanted > 0.9
    assert clean.accuracy > wanted - 0.02
    if name in ("bytes", "caffe"):  # ranges that others cannot be taken for
        assert (found.scale, found.order) == (scale, order)
        assert found.mean[0] == pytest.approx(mean)
        assert found.origins["scale"] == "inferred"
        assert any("inferred from the images" in note for note in clean.notes)
    assert (clean.images.shape, clean.images.dtype) == ((200, 3, 16, 16), torch.float32)
    assert clean.labels.dtype == np.int64
    assert (np.bincount(clean.labels) == 50).all()


def test_what_the_user_says_is_not_replaced(networks, tmp_path):
    options = {"mean": "0", "std": "1", "scale": "1", "order": "rgb"}
    model = exported(networks["caffe"], tmp_path / "m.onnx", preprocessing=options)
    with pytest.raises(InputError, match=r"accuracy on the given clean images is \d+% of 4 classes .*--mean"):
        clean_images(model, dataset(), limit=200, seed=0)


def test_labels_are_matched_by_name_or_by_place(networks, tmp_path):
    model = exported(networks["plain"], tmp_path / "m.onnx")
    order = [2, 0, 3, 1]  # place of each of the model's labels in the dataset
    names = [""] * K
    for label, place in enumerate(order):
        names[place] = NAMES[label].upper() + " "
    turned = dataset(names=tuple(names), order=order)
    by_name = clean_images(model, turned, limit=100, seed=0, classes=NAMES)
    assert by_name.accuracy > 0.9
    named = clean_images(replace(model, class_names=NAMES), turned, limit=100, seed=0)
    np.testing.assert_array_equal(named.labels, by_name.labels)
    stated = {"mean": "0", "std": "1", "scale": "1", "order": "rgb"}
    model = exported(networks["plain"], tmp_path / "stated.onnx", preprocessing=stated)
    with pytest.raises(InputError, match="--classes"):
        clean_images(model, turned, limit=100, seed=0)
    with pytest.raises(UsageError, match="'GREEN ' is not among the names"):
        clean_images(model, turned, limit=100, seed=0, classes=("a", "b", "c", "d"))
    with pytest.raises(UsageError, match="3 names for the model's 4 labels"):
        clean_images(model, turned, limit=100, seed=0, classes=NAMES[:3])
    other_words = clean_images(replace(model, class_names=("a", "b", "c", "d")), dataset(), limit=100, seed=0)
    assert other_words.accuracy > 0.9
    assert "matched by their order" in other_words.notes[0]


def test_labels_that_the_model_does_not_have(networks, tmp_path):
    model = exported(networks["plain"], tmp_path / "m.onnx")
    with pytest.raises(InputError, match="at place 5, but the model has only 4 labels"):
        clean_images(model, dataset(names=tuple("abcdef"), order=[0, 1, 2, 5]), limit=50, seed=0)
    images, _ = pictures(40, 0)
    unlabelled = replace(dataset(40), labels=np.full(40, -1, np.int32))
    with pytest.raises(InputError, match="has no labels"):
        clean_images(model, unlabelled, limit=50, seed=0)
    one = from_arrays(images, np.zeros(40, np.int32), NAMES)
    with pytest.raises(InputError, match="fewer than two"):
        clean_images(model, one, limit=50, seed=0)
    with pytest.raises(InputError, match="4 images are too few"):
        clean_images(model, dataset(), limit=4, seed=0)


def test_a_network_that_knows_nothing_is_refused_at_the_stated_rate(tmp_path):
    """Random networks with a random search over preprocessings: the best of many must not look like knowledge."""
    refused = 0
    for seed in range(12):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, K))
        model = exported(network.eval(), tmp_path / f"{seed}.onnx")
        images = np.random.default_rng(seed).integers(0, 256, (80, 16, 16, 3), dtype=np.uint8)
        noise = from_arrays(images, (np.arange(80) % K).astype(np.int32), NAMES)
        try:
            clean_images(model, noise, limit=80, seed=seed)
        except InputError:
            refused += 1
    assert refused == 12


def test_the_draw_is_balanced_seeded_and_leaves_broken_images_out(networks, tmp_path):
    model = exported(networks["plain"], tmp_path / "m.onnx")
    images, labels = pictures(300, 5)
    rare = (labels != 2) | (np.arange(300) < 20)
    skewed = from_arrays(images, labels.astype(np.int32), NAMES).select(np.flatnonzero(rare))
    first, again, other = (clean_images(model, skewed, limit=60, seed=seed) for seed in (1, 1, 2))
    counts = np.bincount(first.labels)
    assert counts[2] == 5
    assert sorted(counts[[0, 1, 3]]) == [18, 18, 19]
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    broken = skewed.with_changes(content=dict.fromkeys(range(0, len(skewed), 5), b""))
    clean = clean_images(model, broken, limit=len(skewed), seed=0)
    assert len(clean.labels) == len(clean.images) < len(skewed)
    assert any("could not be read" in note for note in clean.notes)


def test_only_the_images_drawn_are_read(networks, tmp_path):
    read = []

    class Reader:
        def __init__(self, inner):
            self.inner = inner

        def read(self, rows):
            read.extend(rows.tolist())
            return self.inner.read(rows)

    some = dataset(400)
    model = exported(networks["plain"], tmp_path / "m.onnx")
    clean_images(model, replace(some, reader=Reader(some.reader)), limit=40, seed=0)
    assert len(read) == 40


def test_grey_models_and_grey_images(tmp_path):
    images, labels = pictures(400, 1)
    labels = (labels == 3).astype(np.int32)
    images = (images + 60 * labels[:, None, None, None]).clip(0, 255).astype(np.uint8)
    names = ("dark", "bright")
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(1, 2))
    with torch.no_grad():
        network[2].weight.copy_(torch.tensor([[-20.0], [20.0]]))
        network[2].bias.copy_(torch.tensor([11.5, -11.5]))
    model = exported(network.eval(), tmp_path / "grey.onnx", channels=1)
    colour = from_arrays(images, labels, names)
    found = clean_images(model, colour, limit=100, seed=0)
    assert found.images.shape == (100, 1, 16, 16)
    assert 0 <= float(found.images.min()) <= float(found.images.max()) <= 1

    grey = from_arrays(images[..., :1], labels, names)
    repeated = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1), *network)
    with torch.no_grad():
        repeated[0].weight.fill_(1 / 3)
        repeated[0].bias.zero_()
    found = clean_images(exported(repeated.eval(), tmp_path / "colour.onnx"), grey, limit=100, seed=0)
    assert found.images.shape == (100, 3, 16, 16)
    assert torch.equal(found.images[:, 0], found.images[:, 2])


def test_a_model_without_a_size_is_fed_the_images_own(networks, tmp_path):
    model = exported(networks["plain"], tmp_path / "m.onnx", side=0)
    assert model.preprocessing.origins["height"] == "assumed"
    clean = clean_images(model, dataset(), limit=100, seed=0)
    assert clean.images.shape[2:] == (16, 16)
    assert clean.preprocessing.origins["height"] == "inferred"
    assert any("size 16x16" in note for note in clean.notes)


@pytest.mark.real
def test_a_trained_sign_classifier(packs, tmp_path):
    """GTSRB's first ten classes; the same network expects swapped channels once its first layer says so."""
    from bezoar.data import load_images
    from bezoar.data import open as open_dataset
    from bezoar.models.train import train_classifier

    train, test = (open_dataset(packs / "gtsrb" / f"{part}32.parquet") for part in ("train", "test"))
    some = train.select(np.flatnonzero(train.labels < 10)[::4])
    images = np.concatenate([batch.pixels for batch in load_images(some, 32)])
    network = train_classifier(images, some.labels, 10, epochs=8, seed=0).module
    with torch.no_grad():
        network[0].weight.copy_(network[0].weight.flip(1))
    signs = test.select(np.flatnonzero(test.labels < 10))
    model = exported(network, tmp_path / "signs.onnx", side=32)
    clean = clean_images(model, signs, limit=300, seed=0)
    assert clean.preprocessing.order == "bgr"
    assert clean.accuracy > 0.5
    kept = exported(network, tmp_path / "kept.onnx", side=32, preprocessing={"order": "rgb"})
    assert clean_images(kept, signs, limit=300, seed=0).accuracy < clean.accuracy - 0.05
