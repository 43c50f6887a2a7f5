from __future__ import annotations

import numpy as np
import pytest

from bezoar.embed import resolve
from bezoar.errors import InputError, LimitError, UsageError

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def tensor(name, values, kind=np.float32):
    return numpy_helper.from_array(np.asarray(values, kind), name)


def save(
    path, nodes, shape=("n", 3, "h", "w"), outputs=("features",), weights=(), kind=TensorProto.FLOAT, opset=17
):
    image = helper.make_tensor_value_info("image", kind, shape)
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "test", [image], results, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def tiny(path, **options):
    """Convolution, ReLU, mean over the image: N x 4 features, and their softmax."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["features"]),
        helper.make_node("Softmax", ["features"], ["other"]),
    ]
    weights = [tensor("w", rng.normal(size=(4, 3, 3, 3))), tensor("b", rng.normal(size=4))]
    return save(path, nodes, weights=weights, **{"outputs": ("features", "other"), **options})


def test_features_and_size(tmp_path, blobs):
    encoder = resolve(f"onnx:{tiny(tmp_path / 'm.onnx')}")
    assert (encoder.size, encoder.dim, encoder.output) == (128, 4, "features")
    assert resolve(f"onnx:{tmp_path / 'm.onnx'}?size=32").size == 32
    small = resolve(f"onnx:{tmp_path / 'm.onnx'}?output=other&size=32")
    features = small.encode(blobs(70))
    np.testing.assert_allclose(features.sum(1), 1, rtol=1e-5)
    assert small.fit(blobs(2), 0) is small
    assert small.digest != encoder.digest


def test_the_digest_follows_the_weights(tmp_path):
    first = resolve(f"onnx:{tiny(tmp_path / 'a.onnx')}").digest
    assert resolve(f"onnx:{tiny(tmp_path / 'b.onnx')}").digest == first
    assert resolve(f"onnx:{tiny(tmp_path / 'c.onnx', opset=18)}").digest != first


def test_a_fixed_batch_is_filled(tmp_path, blobs):
    free = resolve(f"onnx:{tiny(tmp_path / 'free.onnx')}?size=32")
    fixed = resolve(f"onnx:{tiny(tmp_path / 'fixed.onnx', shape=(32, 3, 32, 32))}")
    images = blobs(37)
    np.testing.assert_allclose(fixed.encode(images), free.encode(images), atol=1e-6)


def test_channels_last(tmp_path, blobs):
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["features"], axes=[1, 2], keepdims=0),
    ]
    encoder = resolve(f"onnx:{save(tmp_path / 'm.onnx', nodes, shape=('n', 32, 32, 3))}")
    images = blobs(5)
    expected = images.reshape(5, -1, 3).mean(1) / 255
    np.testing.assert_allclose(encoder.encode(images), expected, atol=1e-5)
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    given = torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255
    np.testing.assert_allclose(encoder.torch_module()(given).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"\x08\x08", b"\x80\x04pickle.", bytes(10_000)])
def test_garbage(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no ONNX model"):
        resolve(f"onnx:{path}")


def test_truncated(tmp_path):
    path = tiny(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError):
        resolve(f"onnx:{path}")


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        resolve(f"onnx:{tmp_path}")


def test_an_oversized_file(tmp_path, monkeypatch):
    monkeypatch.setattr("bezoar.graphs.onnx_file.MAX_MODEL_BYTES", 100)
    with pytest.raises(LimitError, match="larger than"):
        resolve(f"onnx:{tiny(tmp_path / 'm.onnx')}")


@pytest.mark.parametrize("where", ["initializer", "constant"])
def test_weights_in_another_file_are_refused(tmp_path, where):
    stolen = tensor("w", np.zeros((4, 3, 3, 3)))
    stolen.ClearField("raw_data")
    stolen.data_location = TensorProto.EXTERNAL
    stolen.external_data.add(key="location", value="../../../etc/passwd")
    nodes = [helper.make_node("Conv", ["image", "w"], ["features"])]
    weights = [stolen]
    if where == "constant":
        nodes = [helper.make_node("Constant", [], ["w"], value=stolen), *nodes]
        weights = []
    with pytest.raises(InputError, match="another file"):
        resolve(f"onnx:{save(tmp_path / 'm.onnx', nodes, weights=weights)}")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shape": ("n", 1, "h", "w")}, "3 colour channels"),
        ({"shape": ("n", 3, 32, 64)}, "square"),
        ({"shape": ("n", 3, 5000, 5000)}, "limit"),
        ({"shape": ("n", 3 * 32 * 32)}, "not N x 3 x H x W"),
        ({"kind": TensorProto.DOUBLE}, "not N x 3 x H x W float32|does not accept"),
        ({"shape": (5000, 3, 32, 32)}, "batch of 5000"),
    ],
)
def test_an_input_that_is_no_image(tmp_path, options, says):
    nodes = [helper.make_node("Identity", ["image"], ["features"])]
    with pytest.raises(InputError, match=says):
        resolve(f"onnx:{save(tmp_path / 'm.onnx', nodes, **options)}")


def test_no_feature_output(tmp_path):
    nodes = [helper.make_node("Identity", ["image"], ["features"])]
    with pytest.raises(InputError, match="no output of shape N x D"):
        resolve(f"onnx:{save(tmp_path / 'm.onnx', nodes)}")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("size=0", "1 to"),
        ("size=abc", "1 to"),
        ("size=99999", "1 to"),
        ("output=none", "no float output"),
        ("x=1", "unknown"),
    ],
)
def test_options_that_make_no_sense(tmp_path, query, says):
    with pytest.raises(UsageError, match=says):
        resolve(f"onnx:{tiny(tmp_path / 'm.onnx')}?{query}")


def test_a_fixed_size_is_not_another(tmp_path):
    with pytest.raises(UsageError, match="fixed at 32"):
        resolve(f"onnx:{tiny(tmp_path / 'm.onnx', shape=('n', 3, 32, 32))}?size=64")


def test_a_model_that_fails_on_images(tmp_path):
    nodes = [
        helper.make_node("Reshape", ["image", "s"], ["features"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, weights=[tensor("s", [7, 11], np.int64)])
    with pytest.raises(InputError, match="fails on images"):
        resolve(f"onnx:{path}")


@pytest.mark.real
def test_mobilenet_agrees_in_torch(packs, blobs):
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    encoder = resolve(f"onnx:{packs / 'encoders' / 'mobilenet_v2_imagenet.onnx'}")
    assert (encoder.size, encoder.dim, encoder.output) == (128, 1280, "features")
    images = blobs(4).repeat(4, axis=1).repeat(4, axis=2)
    given = torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255
    given.requires_grad_()
    features = encoder.torch_module()(given)
    np.testing.assert_allclose(features.detach().numpy(), encoder.encode(images), atol=1e-3)
    features.sum().backward()
    assert torch.isfinite(given.grad).all()
    assert given.grad.abs().max() > 0
