"""Each translated operator against ONNX's own runtime."""

from __future__ import annotations

import numpy as np
import pytest

from bezoar.errors import InputError

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from bezoar.graphs.onnx_ops import OPERATORS  # noqa: E402
from bezoar.graphs.onnx_torch import OnnxModule  # noqa: E402

RNG = np.random.default_rng(0)
CONV = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
EIGHT = np.abs(RNG.normal(size=(8, 8))).astype(np.float32)
FOUR = [RNG.normal(size=3).astype(np.float32) for _ in range(3)]


def model_of(nodes, weights, opset):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def one(operator, *weights, opset=17, **attributes):
    names = {f"w{i}": value for i, value in enumerate(weights) if value is not None}
    inputs = ["x", *(f"w{i}" if value is not None else "" for i, value in enumerate(weights))]
    return model_of([helper.make_node(operator, inputs, ["y"], **attributes)], names, opset)


def chain(*operators, opset=17, left=False, outputs=1, attention_of="", **attributes):
    """Operators one after the other, each with its weights; attributes go to the last."""
    nodes, weights, given = [], {}, "x"
    for i, (operator, *values) in enumerate(operators):
        names = [f"w{i}_{j}" for j in range(len(values))]
        weights |= dict(zip(names, values, strict=True))
        last = i == len(operators) - 1
        made = "y" if last and not attention_of else f"v{i}"
        read = [*names, given] if left else [given, *names]
        further = [f"unused{j}" for j in range(outputs - 1)]
        nodes.append(helper.make_node(operator, read, [made, *further], **(attributes if last else {})))
        given = made
    if attention_of:
        nodes.append(helper.make_node("Attention", [given] * 3, ["y"], q_num_heads=2, kv_num_heads=2))
        opset = 23
    return model_of(nodes, weights, opset)


def attention():
    return model_of([helper.make_node("Attention", ["x", "x", "x"], ["y"], scale=0.3)], {}, 23)


def ints(*values):
    return np.array(values, np.int64)


def number(value):
    return np.array(value, np.float32)


CASES = {
    "conv same upper": one("Conv", CONV, auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv same lower": one("Conv", CONV, auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv valid": one("Conv", CONV, auto_pad="VALID"),
    "conv uneven pads": one("Conv", CONV, pads=[0, 1, 2, 1], dilations=[2, 1]),
    "conv depthwise": one("Conv", CONV[:3, :1], number([1, 2, 3]), group=3),
    "max pool": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max pool uneven": one("MaxPool", kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
    "average pool": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "average pool with pad": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "batch norm": one("BatchNormalization", *FOUR, number([1, 2, 3]), epsilon=0.01),
    "layer norm": one("LayerNormalization", RNG.normal(size=8).astype(np.float32)),
    "clip inputs": one("Clip", number(-0.5), number(0.5)),
    "clip one side": one("Clip", None, number(0.5)),
    "clip attributes": one("Clip", min=-0.5, max=0.2, opset=6),
    "pad constant": one("Pad", ints(0, 0, 1, 2, 0, 0, 3, 0), number(7)),
    "pad crop": one("Pad", ints(0, 0, -1, 0, 0, 0, 0, -2)),
    "pad edge": one("Pad", ints(0, 0, 1, 2, 0, 0, 3, 0), mode="edge"),
    "pad reflect": one("Pad", ints(0, 0, 1, 2, 0, 0, 3, 0), mode="reflect"),
    "pad axes": one("Pad", ints(1, 2), None, ints(-1), opset=18),
    "softmax": one("Softmax", axis=1),
    "softmax of old": one("Softmax", opset=11),
    "reduce mean": one("ReduceMean", axes=[2, 3], keepdims=0),
    "reduce mean of new": one("ReduceMean", ints(2, 3), opset=18),
    "reduce all": one("ReduceSum"),
    "reduce max": one("ReduceMax", axes=[-1]),
    "reshape": one("Reshape", ints(0, -1, 4)),
    "flatten": one("Flatten", axis=2),
    "flatten from 0": one("Flatten", axis=0),
    "transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "transpose all": one("Transpose"),
    "unsqueeze": one("Unsqueeze", ints(0, -1)),
    "slice": one("Slice", ints(1, -3), ints(99, -1), ints(2, 3), ints(2, 1)),
    "slice backwards": one("Slice", ints(-1), ints(-(2**62)), ints(3), ints(-1)),
    "gather": one("Gather", ints(0, -1), axis=3),
    "hard sigmoid": one("HardSigmoid", alpha=0.3),
    "leaky": one("LeakyRelu", alpha=0.1),
    "elu": one("Elu"),
    "prelu": one("PRelu", number([[[0.1]], [[0.2]], [[0.3]]])),
    "global max": one("GlobalMaxPool"),
    "expand": one("Expand", ints(2, 2, 3, 8, 8)),
    "power": one("Pow", number(2)),
    "divide": one("Div", number(3)),
    "matrix": one("MatMul", RNG.normal(size=(8, 5)).astype(np.float32)),
    "conv of one axis": chain(("Reshape", ints(2, 3, 64)), ("Conv", CONV[:, :, 0])),
    "conv transposed": one("ConvTranspose", CONV.transpose(1, 0, 2, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    "max pool ceil": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "max pool same": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    "max pool wide pads": one("MaxPool", kernel_shape=[3, 3], pads=[2, 2, 2, 2]),
    "average pool uneven": one("AveragePool", kernel_shape=[3, 3], pads=[0, 0, 1, 1]),
    "average pool same": one("AveragePool", kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
    "average pool ceil": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "batch norm after conv": chain(("Conv", CONV), ("BatchNormalization", *EIGHT[:4, :4])),
    "instance norm": one("InstanceNormalization", *FOUR[:2]),
    "group norm": one("GroupNormalization", *FOUR[:2], num_groups=3, opset=21),
    "group norm of groups": one("GroupNormalization", number([2]), number([1]), num_groups=1, opset=18),
    "layer norm with bias": one("LayerNormalization", *EIGHT[:2], axis=3),
    "layer norm over two": one("LayerNormalization", RNG.normal(size=(8, 8)).astype(np.float32), axis=2),
    "lrn": one("LRN", size=3, alpha=0.1),
    "lp norm": one("LpNormalization", axis=1),
    "log softmax": one("LogSoftmax", axis=1),
    "matrix and bias": chain(("MatMul", EIGHT), ("Add", EIGHT[0])),
    "matrix on the left": chain(("MatMul", EIGHT), left=True),
    "einsum": one("Einsum", EIGHT, equation="nchw,wk -> nchk"),
    "attention": attention(),
    "attention of three axes": chain(("Reshape", ints(2, 24, 8)), attention_of="heads"),
    "gelu": one("Gelu", opset=20),
    "gelu tanh": one("Gelu", approximate="tanh", opset=20),
    "cast like": chain(("CastLike", ints(1)), ("Cast",), to=TensorProto.FLOAT),
    "celu": one("Celu", alpha=0.7),
    "cumulative sum": one("CumSum", np.array(2)),
    "cumulative sum backwards": one("CumSum", np.array(2), reverse=1, exclusive=1),
    "depth to space": chain(("Reshape", ints(2, 12, 4, 4)), ("DepthToSpace",), blocksize=2),
    "depth to space crd": chain(("Reshape", ints(2, 12, 4, 4)), ("DepthToSpace",), blocksize=2, mode="CRD"),
    "space to depth": one("SpaceToDepth", blocksize=2),
    "gather elements": one("GatherElements", np.zeros((2, 3, 8, 2), np.int64) - 1, axis=3),
    "gather nd": one("GatherND", np.array([[0, 1], [-1, 2]])),
    "split evenly": chain(("Split",), axis=3, num_outputs=2, opset=18, outputs=2),
    "squeeze": chain(("Unsqueeze", ints(1)), ("Squeeze", ints(1))),
    "tile": one("Tile", ints(1, 2, 1, 3)),
    "upper triangle": one("Trilu", np.array(1)),
    "lower triangle": one("Trilu", upper=0),
    "pow": one("Pow", number(2)),
    "max": one("Max", number(0.1), number([0.2] * 8)),
    "min": one("Min", number(0.1)),
    "mean of two": one("Mean", number(0.1)),
    "sum of two": one("Sum", number(0.1)),
    "modulo": one("Mod", number(0.3), fmod=1),
    "add": one("Add", number(1)),
    "sub": one("Sub", number(1)),
    "mul": one("Mul", number(2)),
    "where": chain(("Greater", number(0)), ("Where", number(1), number([2] * 8))),
    "thresholded": one("ThresholdedRelu", alpha=0.3),
    "reduce sum square": one("ReduceSumSquare", axes=[2]),
    "reduce log sum exp": one("ReduceLogSumExp", axes=[2]),
    "reduce l1": one("ReduceL1", axes=[2]),
    "reduce l2": one("ReduceL2", axes=[2], keepdims=0),
    "reduce min": one("ReduceMin", axes=[2]),
    "reduce product": one("ReduceProd", axes=[2, 3]),
    "quantise": chain(
        ("QuantizeLinear", number(0.1), np.int8(3)), ("DequantizeLinear", number(0.1), np.int8(3))
    ),
    "quantise unsigned": chain(("QuantizeLinear", number(0.1)), ("DequantizeLinear", number(0.1))),
    "quantise channels": chain(
        ("QuantizeLinear", number([0.1, 0.2, 0.3]), np.array([1, 2, 3], np.uint8)),
        ("DequantizeLinear", number([0.1, 0.2, 0.3]), np.array([1, 2, 3], np.uint8)),
    ),
    "upsample": one("Upsample", number([1, 1, 2, 3]), opset=9),
    "resize linear": one("Resize", None, number([1, 1, 2, 1.5]), mode="linear"),
    "resize smaller": one("Resize", None, None, ints(2, 3, 5, 3), mode="linear"),
    "resize aligned": one(
        "Resize", None, None, ints(2, 3, 13, 5), mode="linear", coordinate_transformation_mode="align_corners"
    ),
    "resize nearest": one("Resize", None, number([1, 1, 2.5, 0.6])),
    "resize asymmetric": one(
        "Resize",
        None,
        number([1, 1, 2, 2]),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "resize cubic": one("Resize", None, number([1, 1, 2, 2]), mode="cubic"),
    "resize as torch does": one(
        "Resize",
        None,
        None,
        ints(2, 3, 11, 1),
        mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
    ),
}
CASES |= {
    name: one(name)
    for name in (
        *("Abs", "Ceil", "Cos", "Dropout", "Erf", "Exp", "Floor", "GlobalAveragePool", "HardSwish"),
        *("Identity", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin"),
        *("Softplus", "Softsign", "Tanh"),
    )
}
CASES["Mish"] = one("Mish", opset=18)
CASES |= {name: chain(("Abs",), (name,)) for name in ("Log", "Sqrt")}
CASES |= {  # comparisons, made into numbers
    name: chain((name, number(0.5)), ("Cast",), to=TensorProto.FLOAT)
    for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
}
CASES |= {
    name: chain(("Greater", number(0)), (name, np.array([True, False] * 4)), ("Cast",), to=TensorProto.FLOAT)
    for name in ("And", "Or", "Xor")
}
CASES["Not"] = chain(("Greater", number(0)), ("Not",), ("Cast",), to=TensorProto.FLOAT)


@pytest.mark.parametrize("name", CASES)
def test_operator(name):
    check(CASES[name])


def test_every_operator_is_tested():
    here = {node.op_type for model in CASES.values() for node in model.graph.node}
    elsewhere = {"Concat", "Constant", "ConstantOfShape", "Div", "Gemm", "Range", "Shape", "Size"}  # below
    newer_than_the_runtime = {"RMSNormalization", "Swish"}
    assert set(OPERATORS) - here - elsewhere - newer_than_the_runtime == set()


def test_gemm():
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1, alpha=0.5, beta=2.0),
    ]
    weights = {"w": RNG.normal(size=(5, 192)).astype(np.float32), "b": number([1, 2, 3, 4, 5])}
    check(model_of(nodes, weights, 17))


def test_shape_arithmetic():
    """Half of the channels, by a size computed from the shape, as exporters write it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "three"], ["h"]),
        helper.make_node("Div", ["h", "two"], ["half"]),
        helper.make_node("Cast", ["half"], ["half2"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["half2", "zero"], ["end"]),
        helper.make_node(
            "ConstantOfShape", ["one"], ["start"], value=helper.make_tensor("v", TensorProto.INT64, [1], [0])
        ),
        helper.make_node("Concat", ["start", "start"], ["starts"], axis=0),
        helper.make_node("Concat", ["end", "end"], ["ends"], axis=0),
        helper.make_node("Slice", ["x", "starts", "ends", "axes"], ["y"]),
    ]
    weights = {"three": np.array(3), "two": np.array(2), "zero": ints(0), "one": ints(1), "axes": ints(2, 3)}
    check(model_of(nodes, weights, 17))


def test_several_outputs_of_one_operator():
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=1),
        helper.make_node("Concat", ["b", "a"], ["y"], axis=1),
    ]
    check(model_of(nodes, {"sizes": ints(1, 2)}, 17))


def check(model):
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(["y"], {"x": x})
    (found,) = OnnxModule(model, "x", ["y"])(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4, rtol=1e-4)


def test_an_operator_without_translation_is_named():
    with pytest.raises(InputError, match="'Det' has no translation"):
        OnnxModule(one("Det"), "x", ["y"])
    assert "Loop" not in OPERATORS


def test_a_foreign_domain_is_not_run():
    model = one("Relu")
    model.graph.node[0].domain = "evil"
    with pytest.raises(InputError, match="no translation"):
        OnnxModule(model, "x", ["y"])


def test_a_use_without_translation_is_one_line():
    with pytest.raises(InputError, match="'AveragePool' cannot be run in torch"):
        OnnxModule(one("AveragePool", kernel_shape=[3, 3], dilations=[2, 2]), "x", ["y"])(
            torch.zeros(2, 3, 8, 8)
        )


def test_a_huge_constant_is_not_made():
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    with pytest.raises(InputError, match="too large"):
        OnnxModule(model_of(nodes, {"s": ints(2**40, 2**20)}, 17), "x", ["y"])(torch.zeros(2, 3, 8, 8))


def test_a_graph_with_a_hole():
    model = one("Relu")
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(InputError, match="'nowhere', which nothing produces"):
        OnnxModule(model, "x", ["y"])
