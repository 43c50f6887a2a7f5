"""Suspect classifiers in ONNX: real files open, give what ONNX Runtime gives, and are written back; bad ones are refused."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bezoar.errors import BezoarError, InputError, LimitError, OutputError

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from torch import nn  # noqa: E402

from bezoar.models.opening import open_model  # noqa: E402


class Block(nn.Module):
    """Residual, with a projection and GELU."""

    def __init__(self, n, m):
        super().__init__()
        self.a, self.norm = nn.Conv2d(n, m, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(m)
        self.skip = nn.Conv2d(n, m, 1, stride=2)

    def forward(self, x):
        return nn.functional.gelu(self.norm(self.a(x)) + self.skip(x))


class Transformer(nn.Module):
    """A small ViT: patches, a class token, positions, one encoder layer."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 17, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.layer(x)[:, 0])


def residual():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.Hardswish(),
        nn.MaxPool2d(2),
        Block(6, 8),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


def convnet(*end):
    head = [nn.Flatten(), nn.Linear(4 * 16, 8), nn.Tanh(), nn.Linear(8, 5), *end]
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU(), nn.AvgPool2d(4), *head)


def trained(make):
    """Not really, but with running statistics and weights that no initialiser gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = make()
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.data = tensor.data + 0.1 * torch.rand(tensor.shape)
    return network.eval()


def export(network, path, n=2):
    """By torch's exporter that needs no other library; for any number of images, or for one or four."""
    options = {} if n in (1, 4) else {"dynamic_axes": {"x": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.rand(n, 3, 16, 16),)
        torch.onnx.export(network, example, str(path), dynamo=False, input_names=["x"], **options)
    return path


def runtime(path, images):
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level, settings.intra_op_num_threads = 4, 1
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    makers = {"residual": residual, "convnet": convnet, "transformer": Transformer}
    return {
        name: (trained(make), export(trained(make), folder / f"{name}.onnx")) for name, make in makers.items()
    }


VECTORS = Path(__file__).parent.parent / "vectors" / "onnx"
NAMES = ["residual", "convnet", "transformer"]


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_network_is_the_same_and_differentiable(files, name):
    original, path = files[name]
    model = open_model(path)
    assert (model.format, model.n_classes, model.architecture, len(model.digest)) == ("onnx", 5, None, 64)
    assert (model.preprocessing.channels, model.preprocessing.height) == (3, 16)
    assert model.preprocessing.origins["height"] == "model"
    images = torch.rand(7, 3, 16, 16).requires_grad_()
    twin = images.detach().clone().requires_grad_()
    network = model.network()
    logits = network(images)
    torch.testing.assert_close(logits, original(twin), rtol=1e-3, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    (logits**2).sum().backward()
    (original(twin) ** 2).sum().backward()
    torch.testing.assert_close(images.grad, twin.grad, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_trained_and_written_back(files, name, tmp_path):
    original, path = files[name]
    model = open_model(path)
    network = model.trainable()
    n_weights = sum(p.numel() for p in network.parameters() if p.requires_grad)
    rewritten = sum(
        m.weight.numel() for m in original.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)
    )
    assert abs(n_weights - sum(p.numel() for p in original.parameters())) <= 2 * rewritten
    images, labels = torch.rand(20, 3, 16, 16), torch.arange(20) % 5
    before = nn.functional.cross_entropy(network(images), labels)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(5):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    wanted = network(images).detach()
    assert nn.functional.cross_entropy(wanted, labels) < before
    torch.testing.assert_close(
        model.network()(images), original(images), rtol=1e-3, atol=1e-4
    )  # is left alone

    model.save(network, tmp_path / "repaired.onnx")
    np.testing.assert_allclose(
        runtime(tmp_path / "repaired.onnx", images), wanted.numpy(), rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(
        open_model(tmp_path / "repaired.onnx").network()(images), wanted, rtol=1e-3, atol=1e-4
    )
    old, new = onnx.load(path), onnx.load(tmp_path / "repaired.onnx")
    assert [(t.name, tuple(t.dims), t.data_type) for t in old.graph.initializer] == [
        (t.name, tuple(t.dims), t.data_type) for t in new.graph.initializer
    ]
    for some in (old, new):
        del some.graph.initializer[:]
        for node in some.graph.node:
            if node.op_type == "Constant":
                node.ClearField("attribute")
    assert old == new
    with pytest.raises(OutputError, match="exists already"):
        model.save(network, tmp_path / "repaired.onnx")


@pytest.mark.parametrize("name", NAMES)
def test_files_of_the_new_exporter(name, tmp_path):
    path = VECTORS / f"{name}_dynamo.onnx"
    model = open_model(path)
    images = torch.rand(3, 3, 16, 16)
    ones = [images] if name != "convnet" else images.split(1)  # the runtime takes as many as the file says
    wanted = np.concatenate([runtime(path, part) for part in ones])
    np.testing.assert_allclose(model.network()(images).numpy(), wanted, rtol=1e-3, atol=1e-4)
    network = model.trainable()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.9)
    model.save(network, tmp_path / "n.onnx")
    wanted = np.concatenate([runtime(tmp_path / "n.onnx", part) for part in ones])
    np.testing.assert_allclose(network(images).detach().numpy(), wanted, rtol=1e-3, atol=1e-4)


def test_layers_are_torch_layers(files):
    """Hooks, folding and pruning look for these types."""
    kinds = [type(module) for module in open_model(files["residual"][1]).network().modules()]
    assert kinds.count(nn.Conv2d) == 3
    assert kinds.count(nn.Linear) == 1
    names = [name for name, _ in open_model(files["convnet"][1]).trainable().named_parameters()]
    assert [name for name in names if name.endswith("_5.weight")]  # named as in the network it came from


def test_batched_over_labels_and_in_inference_mode(files):
    network = open_model(files["transformer"][1]).network()
    images = torch.rand(3, 4, 3, 16, 16)
    with torch.inference_mode():
        wanted = network(images.flatten(0, 1)).unflatten(0, (3, 4)).clone()
    found = torch.func.vmap(network)(images)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    grads = torch.func.vmap(torch.func.grad(lambda x: network(x).square().sum()))(images)
    copy = images.clone().requires_grad_()
    network(copy.flatten(0, 1)).square().sum().backward()
    torch.testing.assert_close(grads, copy.grad, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_a_softmax_at_the_end_is_left_out(end, tmp_path):
    path = export(trained(lambda: convnet(end)), tmp_path / "m.onnx")
    images = torch.rand(4, 3, 16, 16)
    logits = trained(convnet)(images)
    model = open_model(path)
    assert (model.preprocessing.outputs, model.preprocessing.origins["outputs"]) == ("logits", "model")
    torch.testing.assert_close(model.network()(images), logits, rtol=1e-3, atol=1e-4)
    if isinstance(end, nn.Softmax):
        kept = open_model(path, preprocessing={"outputs": "probabilities"})
        torch.testing.assert_close(kept.network()(images), logits.log_softmax(1), rtol=1e-3, atol=1e-4)


def test_a_single_sigmoid_is_two_labels(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 1), nn.Sigmoid()).eval()
    model = open_model(export(network, tmp_path / "m.onnx"))
    images = torch.rand(4, 3, 16, 16)
    assert model.n_classes == 2
    torch.testing.assert_close(
        model.network()(images).softmax(1)[:, 1:], network(images), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("n", [1, 4])
def test_a_fixed_number_of_images(n, tmp_path):
    network = trained(convnet)
    model = open_model(export(network, tmp_path / "m.onnx", n=n))
    images = torch.rand(10, 3, 16, 16)
    torch.testing.assert_close(model.network()(images), network(images), rtol=1e-3, atol=1e-4)


def graph(nodes, weights=(), shape=("n", 3, 16, 16), kind=TensorProto.FLOAT, outputs=("y",), **options):
    image = [helper.make_tensor_value_info("x", kind, shape)]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(weights).items()]
    built = helper.make_graph(nodes, "g", image, results, tensors)
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, **options)


def saved(model, path):
    path.write_bytes(model.SerializeToString())
    return path


RNG = np.random.default_rng(0)


def dense(width=768, start="x", **options):
    """Flattened, times a matrix: 4 labels."""
    nodes = [
        helper.make_node("Flatten", [start], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    weights = {"w": (RNG.normal(size=(width, 4)) / 30).astype(np.float32), "b": np.ones(4, np.float32)}
    return {"nodes": nodes, "weights": weights, **options}


def test_baked_reshapes_are_freed_or_filled_up(tmp_path):
    """A reshape to a fixed number of images is written by torch's new exporter."""
    parts = dense()
    parts["nodes"][0] = helper.make_node("Reshape", ["x", "s"], ["f"])
    parts["weights"]["s"] = np.array([1, 768])
    freed = open_model(saved(graph(**parts, shape=(1, 3, 16, 16)), tmp_path / "freed.onnx"))
    images = torch.rand(5, 3, 16, 16)
    wanted = images.flatten(1) @ torch.from_numpy(parts["weights"]["w"]) + 1
    torch.testing.assert_close(freed.network()(images), wanted, rtol=1e-3, atol=1e-4)
    sizes = []
    with torch.no_grad():
        network = freed.network()
        network.body.core.register_forward_hook(lambda module, given, result: sizes.append(len(given[0])))
        network(images)
    assert sizes == [5]

    parts["nodes"].append(helper.make_node("ReduceMean", ["x"], ["r"], keepdims=1))  # over the images, too
    parts["nodes"][2] = helper.make_node("Add", ["m", "b"], ["z"])
    parts["nodes"] += [
        helper.make_node("Flatten", ["r"], ["q"]),
        helper.make_node("Add", ["z", "q"], ["y"]),
    ]
    filled = open_model(saved(graph(**parts, shape=(1, 3, 16, 16)), tmp_path / "filled.onnx"))
    wanted = wanted + images.mean((1, 2, 3))[:, None]
    torch.testing.assert_close(filled.network()(images), wanted, rtol=1e-3, atol=1e-4)


def test_channels_last_bytes_and_the_graphs_own_normalisation(tmp_path):
    """As Keras models come out of tf2onnx."""
    parts = dense(start="scaled", shape=("n", 16, 16, 3), kind=TensorProto.UINT8)
    parts["nodes"] = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["c", "mean"], ["d"]),
        helper.make_node("Div", ["d", "std"], ["scaled"]),
        *parts["nodes"],
    ]
    parts["weights"] |= {"mean": np.array([120, 110, 100], np.float32), "std": np.float32(60)}
    path = saved(graph(**parts), tmp_path / "m.onnx")
    model = open_model(path)
    assert (model.preprocessing.scale, model.preprocessing.origins["scale"]) == (255.0, "model")
    assert (model.preprocessing.height, model.preprocessing.channels) == (16, 3)
    pixels = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    images = (pixels / 255.0).requires_grad_()
    found = model.network()(images)
    np.testing.assert_allclose(
        found.detach().numpy(), runtime(path, pixels.permute(0, 2, 3, 1)), rtol=1e-3, atol=1e-4
    )
    found.sum().backward()
    assert images.grad.abs().mean() > 0
    assert (
        len([p for p in model.trainable().parameters() if p.dim() == 2]) == 1
    )  # the constants at the start apart


@pytest.mark.parametrize(
    ("divisor", "scale"), [(np.float32(255), 255.0), (np.array([0.2, 0.3, 0.2], np.float32), 1.0)]
)
def test_the_range_that_a_graph_wants(divisor, scale, tmp_path):
    parts = dense(start="s", shape=("n", 16, 16, 3))
    parts["nodes"].insert(0, helper.make_node("Div", ["x", "d"], ["s"]))
    parts["weights"]["d"] = divisor
    assert open_model(saved(graph(**parts), tmp_path / "m.onnx")).preprocessing.scale == scale


@pytest.mark.parametrize(
    ("shape", "channels", "side"), [(("n", 784), 1, 28), (("n", 28, 28), 1, 28), (("n", 3072), 3, 32)]
)
def test_images_without_axes_of_their_own(shape, channels, side, tmp_path):
    path = saved(graph(**dense(channels * side * side, shape=shape)), tmp_path / "m.onnx")
    model = open_model(path)
    assert (model.preprocessing.channels, model.preprocessing.height) == (channels, side)
    images = torch.rand(3, channels, side, side)
    given = images.reshape(3, *shape[1:])
    np.testing.assert_allclose(model.network()(images).numpy(), runtime(path, given), rtol=1e-3, atol=1e-4)


def test_half_precision_is_computed_in_single_and_stays_half(tmp_path):
    parts = dense(kind=TensorProto.FLOAT16)
    parts["weights"] = {name: value.astype(np.float16) for name, value in parts["weights"].items()}
    model = open_model(saved(graph(**parts), tmp_path / "m.onnx"))
    images = torch.rand(2, 3, 16, 16)
    wanted = images.flatten(1) @ torch.from_numpy(parts["weights"]["w"]).float() + 1
    torch.testing.assert_close(model.network()(images), wanted, rtol=1e-3, atol=1e-3)
    model.save(model.trainable(), tmp_path / "n.onnx")
    assert (tmp_path / "n.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_a_quantised_model_has_a_gradient(tmp_path):
    parts = dense(start="x2")
    whole = np.clip(np.round(parts["weights"]["w"] / 0.001), -128, 127).astype(np.int8)
    parts["weights"] |= {"w8": whole, "s": np.float32(0.001), "t": np.float32(1 / 255), "z": np.uint8(0)}
    del parts["weights"]["w"]
    parts["nodes"] = [
        helper.make_node("QuantizeLinear", ["x", "t", "z"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "t", "z"], ["x2"]),
        helper.make_node("DequantizeLinear", ["w8", "s"], ["w"]),
        *parts["nodes"],
    ]
    path = saved(graph(**parts), tmp_path / "m.onnx")
    images = (torch.rand(3, 3, 16, 16) * 0.9 + 0.05).requires_grad_()
    model = open_model(path)
    found = model.network()(images)
    np.testing.assert_allclose(found.detach().numpy(), runtime(path, images.detach()), rtol=1e-3, atol=1e-3)
    found[:, 0].sum().backward()
    wanted = torch.from_numpy(whole[:, 0] * np.float32(0.001)).view(3, 16, 16)
    torch.testing.assert_close(images.grad[0], wanted, rtol=1e-3, atol=1e-5)
    with pytest.raises(InputError, match="quantised and cannot be trained"):
        model.trainable()


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ('["a", "b", "c", "d"]', ("a", "b", "c", "d")),
        ("{0: 'a', 1: 'b', 2: 'c', 3: 'd'}", ("a", "b", "c", "d")),
        ('{"0": "a", "1": "b", "2": "c", "3": "d"}', ("a", "b", "c", "d")),
        ("a, b,c,d", ("a", "b", "c", "d")),
        ("a,b", None),
        ("[" * 5000, None),
        ('{"0": "a", "7": "b"}', None),
        ("__import__('os').abort()", None),
    ],
)
def test_class_names(value, names, tmp_path):
    model = graph(**dense())
    helper.set_model_props(model, {"names": value})
    assert open_model(saved(model, tmp_path / "m.onnx")).class_names == names


def test_the_output_with_the_labels_is_found(tmp_path):
    parts = dense(outputs=("f", "m", "y"))
    with pytest.raises(InputError, match="which of its outputs"):
        open_model(saved(graph(**parts), tmp_path / "unclear.onnx"))
    parts = dense(outputs=("f", "logits"))
    parts["nodes"][2] = helper.make_node("Add", ["m", "b"], ["logits"])
    assert open_model(saved(graph(**parts), tmp_path / "m.onnx")).n_classes == 4


def test_functions_of_the_models_own_are_written_out(tmp_path):
    parts = dense()
    body = [helper.make_node("MatMul", ["a", "b"], ["p"]), helper.make_node("Add", ["p", "c"], ["z"])]
    imports = [helper.make_opsetid("", 17)]
    plain = graph(**parts)
    model = graph(
        **{
            **parts,
            "nodes": [parts["nodes"][0], helper.make_node("dense", ["f", "w", "b"], ["y"], domain="own")],
        }
    )
    model.functions.append(helper.make_function("own", "dense", ["a", "b", "c"], ["z"], body, imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    opened = open_model(saved(model, tmp_path / "m.onnx"))
    images = torch.rand(3, 3, 16, 16)
    wanted = open_model(saved(plain, tmp_path / "plain.onnx")).network()(images)
    torch.testing.assert_close(opened.network()(images), wanted)
    opened.save(opened.trainable(), tmp_path / "n.onnx")
    assert (tmp_path / "n.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def function_bomb():
    """Functions that call the one before ten times: 10^12 operators."""
    model = graph(**dense())
    model.graph.node[0].CopyFrom(helper.make_node("f12", ["x"], ["f"], domain="own"))
    names = [f"f{i}" for i in range(13)]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    base = helper.make_function(
        "own", "f0", ["a"], ["z"], [helper.make_node("Flatten", ["a"], ["z"])], imports
    )
    model.functions.append(base)
    for inner, outer in pairwise(names):
        nodes = [
            helper.make_node(inner, ["a"], ["z" if i == 9 else f"z{i}"], domain="own") for i in range(10)
        ]
        model.functions.append(helper.make_function("own", outer, ["a"], ["z"], nodes, imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def self_calling():
    model = graph(**dense())
    model.graph.node[0].CopyFrom(helper.make_node("g", ["x"], ["f"], domain="own"))
    nodes = [helper.make_node("g", ["a"], ["z"], domain="own")]
    model.functions.append(
        helper.make_function("own", "g", ["a"], ["z"], nodes, [helper.make_opsetid("own", 1)])
    )
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def branching():
    inner = [
        helper.make_graph(
            [helper.make_node("Identity", ["x"], [name])],
            name,
            [],
            [helper.make_empty_tensor_value_info(name)],
        )
        for name in ("t", "e")
    ]
    parts = dense(start="i")
    parts["nodes"].insert(0, helper.make_node("If", ["c"], ["i"], then_branch=inner[0], else_branch=inner[1]))
    return graph(**{**parts, "weights": {**parts["weights"], "c": np.array(True)}})


def with_tensor(**fields):
    model = graph(**dense())
    tensor = model.graph.initializer[0]
    for name, value in fields.items():
        if name == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)
        else:
            setattr(tensor, name, value)
    return model


def external():
    model = with_tensor(data_location=TensorProto.EXTERNAL)
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    return model


def two_inputs():
    model = graph(**dense())
    model.graph.input.append(helper.make_tensor_value_info("\x1b[31mmask", TensorProto.FLOAT, [1]))
    return model


def starting(*nodes, **weights):
    parts = dense(start="s")
    return graph(**{**parts, "nodes": [*nodes, *parts["nodes"]], "weights": {**parts["weights"], **weights}})


def node(name, *inputs, **attributes):
    return helper.make_node(name, list(inputs), ["s"], **attributes)


def one_label():
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["z"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["z", "a"], ["y"]),
    ]
    return graph(nodes, {"a": np.array([1])})


def growing():
    """A constant a thousand times as long as the one before, three times."""
    return starting(
        helper.make_node("ConstantOfShape", ["r"], ["k0"]),
        *(helper.make_node("Concat", [f"k{i}"] * 1000, [f"k{i + 1}"], axis=0) for i in range(3)),
        node("Add", "x", "k3"),
        r=np.array([1000]),
    )


def shaped_by_pixels():
    return starting(
        helper.make_node("ReduceSum", ["x"], ["t"], keepdims=0),
        helper.make_node("Cast", ["t"], ["i"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["i", "zero"], ["u"]),
        node("Reshape", "x", "u"),
        zero=np.array([0]),
    )


def without(place):
    """With an operator that has no input, or no output."""
    model = graph(**dense())
    if place == "output":
        model.graph.node.append(helper.make_node("Identity", ["x"], []))
    else:
        model.graph.node[-1].CopyFrom(helper.make_node("Softmax", [], ["y"]))
    return model


def shape_arithmetic(*nodes, **weights):
    """Numbers that follow from the image's shape, as many as the nodes make of them, added to the image."""
    ends = [
        helper.make_node("ReduceMax", ["n"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=1),
    ]
    start = helper.make_node("Shape", ["x"], ["n0"])
    return starting(start, *nodes, *ends, node("Add", "x", "c"), **weights)


def shapes_that_fit_one_by_one():
    parts = [helper.make_node("Tile", ["n0", "r"], [f"n{i}"]) for i in range(1, 31)]
    joined = helper.make_node("Sum", [f"n{i}" for i in range(1, 31)], ["n"])
    return shape_arithmetic(*parts, joined, r=np.array([2**23]))


NAN = np.full((768, 4), np.nan, np.float32).tobytes()
ONES = np.ones(3, np.float32)
REFUSED = {
    "several inputs": (two_inputs, InputError, r"must have one input, the images; it has 2 .*x1b"),
    "no image": (lambda: graph(**dense(10, shape=("n", 10))), InputError, "takes no images"),
    "five channels": (lambda: graph(**dense(shape=("n", 5, 4, 4))), InputError, "takes 5 channels"),
    "text": (lambda: graph(**dense(kind=TensorProto.STRING)), InputError, "neither floating-point"),
    "a map": (lambda: graph([helper.make_node("Relu", ["x"], ["y"])]), InputError, "is no image classifier"),
    "one label": (one_label, InputError, "is no image classifier"),
    "nan": (lambda: with_tensor(raw_data=NAN), InputError, "the tensor 'w' holds NaN"),
    "a wrong shape": (lambda: with_tensor(dims=[10**6, 10**6]), InputError, "the tensor 'w' is damaged"),
    "a negative side": (lambda: with_tensor(dims=[-768, -4]), InputError, "the tensor 'w' is damaged"),
    "an unfitting shape": (lambda: with_tensor(dims=[4, 768]), InputError, "cannot be run in torch"),
    "weights elsewhere": (external, InputError, "another file"),
    "a branch": (branching, InputError, "'If' has no translation to torch: graphs within graphs"),
    "a foreign operator": (
        lambda: starting(node("Evil", "x", domain="com.evil")),
        InputError,
        "'com.evil.Evil' has no translation",
    ),
    "a function bomb": (function_bomb, LimitError, "more than 200,000 operators"),
    "a function of itself": (self_calling, InputError, "'g' calls itself"),
    "98 GB": (
        lambda: starting(node("Tile", "x", "r"), r=np.array([1, 1, 4000, 4000])),
        LimitError,
        "GB; this machine has",
    ),
    "a large constant": (
        lambda: starting(node("Expand", "x", "r"), r=np.array([1, 3, 16, 2**60])),
        InputError,
        "cannot be run in torch",
    ),
    "constants that grow": (growing, InputError, "too large"),
    "arithmetic on shapes that grows": (
        lambda: shape_arithmetic(helper.make_node("Tile", ["n0", "r"], ["n"]), r=np.array([2**32])),
        InputError,
        "its result is too large|makes a tensor of",
    ),
    "much arithmetic on shapes": (shapes_that_fit_one_by_one, InputError, "its result is too large"),
    "a shape of a million numbers": (
        lambda: starting(node("Reshape", "x", "r"), r=np.ones(2**20, np.int64)),
        InputError,
        "a shape of 1,048,576 numbers",
    ),
    "a text among the numbers": (
        lambda: starting(node("Add", "x", "t"), t=np.array(["a", "b", "c"], object)),
        InputError,
        "of type object, which torch lacks",
    ),
    "an operator without input": (lambda: without("input"), InputError, "0 inputs and 1 outputs"),
    "images of 2^80 pixels": (
        lambda: graph(**dense(shape=(1, 3, 2**40, 2**40))),
        InputError,
        "more than 2,048 pixels",
    ),
    "no such tensor": (lambda: starting(node("Log", "nowhere")), InputError, "nothing produces"),
    "too few inputs": (lambda: starting(node("Add", "x")), InputError, "1 inputs and 1 outputs, which it"),
    "too many inputs": (lambda: starting(node("Relu", "x", "x")), InputError, "2 inputs and 1 outputs"),
    "an operator of later": (
        lambda: starting(node("Gelu", "x")),
        InputError,
        "'Gelu' is not part of opset 17",
    ),
    "odd attributes": (
        lambda: starting(node("Conv", "x", "k", strides=[0, 1]), k=np.ones((3, 3, 1, 1), np.float32)),
        InputError,
        "'Conv' cannot be run in torch",
    ),
    "infinity": (lambda: starting(node("Div", "x", "o"), o=np.float32(0)), InputError, "NaN or infinity"),
    "a shape that hangs on pixels": (shaped_by_pixels, InputError, "depends on the pixels"),
    "training mode": (
        lambda: starting(node("BatchNormalization", "x", "o", "o", "o", "o", training_mode=1), o=ONES),
        InputError,
        "in training mode",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, tmp_path):
    make, error, says = REFUSED[case]
    path = saved(make(), tmp_path / "m.onnx")
    with pytest.raises(BezoarError, match=says) as caught:
        open_model(path)
    assert isinstance(caught.value, error)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_an_operator_that_makes_nothing_does_nothing(tmp_path):
    assert open_model(saved(without("output"), tmp_path / "m.onnx")).n_classes == 4


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, files):
    content = files["residual"][1].read_bytes()
    for i, end in enumerate(np.linspace(1, len(content) - 1, 25).astype(int)):
        path = tmp_path / f"{i}.onnx"
        path.write_bytes(content[:end])
        with pytest.raises(InputError):
            open_model(path)


def test_a_file_larger_than_memory_is_not_read(tmp_path, files, monkeypatch):
    monkeypatch.setattr("bezoar.graphs.onnx_file.available_bytes", lambda: 10_000)
    with pytest.raises(LimitError, match="the model needs about"):
        open_model(files["residual"][1])
