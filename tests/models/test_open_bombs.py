"""Small files that would take years or all memory, and tensors that cannot be: refused in one line, at once."""

from __future__ import annotations

import json
import pickle
import pickletools
import struct
import zipfile

import pytest

from bezoar.errors import InputError, LimitError

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from test_open_hostile import edited, models, refused, rewritten, with_code, with_weights, write_safetensors  # noqa: E402, F401

from bezoar.models.opening.weights import read_state_dict  # noqa: E402

DOUBLED = b"N" + b"q\x01h\x01\x86" * 60  # a tuple of twice a tuple of twice ...: its hash takes 2^60 steps
HUGE = b"\x8a\x0a" + (2**70).to_bytes(10, "little")
THREE_GB = b"\x8a\x05" + (3 * 10**9).to_bytes(5, "little")


# Pickles


@pytest.mark.parametrize("key", [DOUBLED, b"N" + b"\x85" * 100_000])
@pytest.mark.parametrize("name", ["script.pt", "weights.pt"])
def test_a_key_whose_hash_never_ends_or_overflows_the_stack(tmp_path, models, name, key):  # noqa: F811
    bad = rewritten(models / name, tmp_path / "m.pt", {"data.pkl": b"\x80\x02}" + key + b"Ns."})
    (refused if name == "script.pt" else with_weights)(bad, "pickle")


@pytest.mark.parametrize(
    ("size", "stride"),
    [
        (b"K\x03\x85", b"K\x01K\x01\x86"),
        (b"K\x01\x85", HUGE + b"\x85"),
        (b"K\x00" + HUGE + b"\x86", b"K\x01K\x01\x86"),
        (b"(" + b"K\x01" * 100 + b"t", b"(" + b"K\x01" * 100 + b"t"),
        (b"](K\x05e", b"](K\x64e"),
    ],
    ids=["ranks differ", "huge stride", "huge and empty", "100 axes", "lists"],
)
def test_a_view_that_torch_cannot_have(tmp_path, models, size, stride):  # noqa: F811
    with zipfile.ZipFile(models / "script.pt") as archive:
        content, record = archive.read("script/data.pkl"), archive.getinfo("script/data/0").file_size
    names = [name for opcode, name, _ in pickletools.genops(content) if opcode.name == "GLOBAL"]
    cls = next(name for name in names if name.startswith("__torch__")).replace(" ", "\n").encode()

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value

    storage = (
        text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + b"K" + bytes([record // 4])
    )
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage + b"tQK\x00" + size + stride
    tensor += b"\x89ccollections\nOrderedDict\n)RtR"
    module = b"\x80\x02c" + cls + b"\n)\x81}(" + text(b"w") + tensor + b"ub."
    refused(
        rewritten(models / "script.pt", tmp_path / "m.pt", {"data.pkl": module}),
        "do not hold a tensor of shape",
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("what", [b"cbuiltins\nbytearray\n", b"ctorch\nTensor\n"])
def test_a_state_dict_that_asks_for_memory(tmp_path, models, monkeypatch, what, legacy):  # noqa: F811
    """`torch.load(weights_only=True)` would give it: gigabytes for a few bytes."""
    bad, body = tmp_path / "m.pt", b"\x80\x02" + what + THREE_GB + b"\x85R."
    if legacy:
        start = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
        bad.write_bytes(start + body + pickle.dumps([], 2))
    else:
        rewritten(models / "weights.pt", bad, {"data.pkl": body})
    asked = []
    monkeypatch.setattr(torch, "load", lambda *_, **__: asked.append(bad))
    with_weights(bad, "only tensors are loaded")
    assert not asked


def test_torch_reads_the_records_that_were_checked(tmp_path):
    """Two archives in one file: torch's reader takes the first one's records, Python's the second one's."""
    for name, value in (("a.pt", 1.0), ("b.pt", 2.0)):
        torch.save({"w": torch.full((3, 3), value)}, tmp_path / name)
        rewritten(tmp_path / name, tmp_path / f"plain_{name}", {})
    (tmp_path / "both.pt").write_bytes(
        (tmp_path / "plain_a.pt").read_bytes() + (tmp_path / "plain_b.pt").read_bytes()
    )
    assert read_state_dict(tmp_path / "both.pt").tensors["w"].max() == 2


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_a_training_run_opens(tmp_path, zipped):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimiser = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    module(torch.rand(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [1, 2])
    document = {"epoch": 3, "state_dict": module.state_dict(), "optimiser": optimiser.state_dict(), "more": (b"x", None, 0.5),
                "schedule": schedule.state_dict(), "parameters": dict(module.named_parameters())}  # fmt: skip
    torch.save(document, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    weights = read_state_dict(tmp_path / "m.pt")
    assert weights.tensors.keys() == module.state_dict().keys()
    weights.write(weights.tensors, tmp_path / "again.pt")
    assert read_state_dict(tmp_path / "again.pt").tensors.keys() == weights.tensors.keys()


# Code


TWICE = "    y = [1]\n" + "    y = [y, y]\n" * 60


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ("    y = torch.list(range(300000000))", "counts over"),
        ("    y = torch.__contains__(range(1000000000000), 0.5)", "counts over"),
        (TWICE + TWICE.replace("y", "z") + "    w = torch.eq(y, z)", "more than 100,000 values"),
        (TWICE.replace("[", "(").replace("]", ",)") + "    d = {}\n    torch._set_item(d, y, 1)", "more than 100,000"),
        ("    y = [1]\n    for i in range(60):\n      z = [2]\n      torch.append(z, y)\n      torch.append(z, y)\n      y = z\n"
         "    w = torch.neg(y)", "more than 100,000"),
        ("    y = [1]\n    torch.append(y, y)", "nests lists"),
        ("    return torch.expand(torch.zeros([2, 1]), [2, 1000000000])", "has 1,000,000,000 outputs"),
        ('    return torch.zeros([2, 3], dtype=6, layout=None, device="meta")', "complex numbers, or none"),
        ("    return torch.complex(torch.zeros([2, 3]), torch.zeros([2, 3]))", "complex numbers, or none"),
    ],
)  # fmt: skip
def test_torchscript_that_would_take_years_or_memory(tmp_path, models, statements, message):  # noqa: F811
    refused(with_code(models, tmp_path, statements), message)


def test_many_tensors_that_fit_one_by_one(tmp_path, models, monkeypatch):  # noqa: F811
    left = iter(range(2**32, 0, -(2**28)))
    monkeypatch.setattr("bezoar.models.opening.opened.available_bytes", lambda: next(left))
    held = (
        "    y = [input]\n    z = torch.expand(torch.ones([1]), [60000000])\n"
        "    for i in range(1000):\n      torch.append(y, torch.empty_like(z))"
    )
    refused(with_code(models, tmp_path, held), "makes a tensor of 0.2 GB", LimitError)


def test_a_list_of_parameters_that_is_none(tmp_path, models):  # noqa: F811
    def changed(content):
        return content.replace(b"__parameters__ = [", b"__parameters__ = [foo, ")

    with zipfile.ZipFile(models / "script.pt") as archive:
        lists = (
            b"__parameters__ = ["  # in code whose name depends on what was scripted before in this process
        )
        name = next(n for n in archive.namelist() if n.endswith(".py") and lists in archive.read(n))
    refused(
        rewritten(models / "script.pt", tmp_path / "m.pt", {name.partition("/")[2]: changed}),
        "lists the parameters",
    )


def test_a_class_that_the_archive_lacks(tmp_path, models):  # noqa: F811
    change = {"data.pkl": b"\x80\x02c__torch__\nNope\n)\x81}b."}
    refused(
        rewritten(models / "script.pt", tmp_path / "m.pt", change),
        "'__torch__.Nope', which the archive lacks",
    )


def test_a_program_whose_lists_double(tmp_path, models):  # noqa: F811
    def edit(document):
        graph = document["graph_module"]["graph"]
        first = {"as_sym_ints": [{"as_tensors": [{"name": "input"}] * 2}]}
        steps = []
        for i in range(60):
            again = first if not i else {"as_sym_ints": [{"as_tensors": [{"name": f"y{i - 1}"}] * 2}]}
            inputs = [{"name": "", "arg": again, "kind": 1}, {"name": "", "arg": {"as_int": 0}, "kind": 1}]
            steps.append(
                {
                    "target": "_operator.getitem",
                    "inputs": inputs,
                    "outputs": [{"as_tensor": {"name": f"y{i}"}}],
                }
            )
        neg = [{"name": "", "arg": {"as_tensor": {"name": "y59"}}, "kind": 1}]
        steps.append(
            {"target": "torch.ops.aten.neg.default", "inputs": neg, "outputs": [{"as_tensor": {"name": "z"}}]}
        )
        graph["nodes"][:0] = steps

    refused(edited(models, tmp_path, edit), "more than 100,000 values")


# Archives and headers


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_compression_that_no_exporter_uses(tmp_path, models, compression):  # noqa: F811
    bad = rewritten(models / "script.pt", tmp_path / "m.pt", {}, compression=compression)
    refused(bad, "compressed as no exporter does it")


@pytest.mark.parametrize("shape", [[0, 2**70], [0, 2**62, 2**62], [1] * 30_000])
def test_shapes_in_a_header_that_torch_cannot_have(tmp_path, shape):
    n = 0 if 0 in shape else 4
    write_safetensors(tmp_path / "m", {}, {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, n]}})
    (tmp_path / "m").write_bytes((tmp_path / "m").read_bytes() + bytes(n))
    with_weights(tmp_path / "m", "do not hold a tensor of shape|axes", InputError)


@pytest.mark.parametrize(
    "change",
    [
        {"strides": [{"as_int": 1}] * 2},
        {"sizes": [{"as_int": 1}], "strides": [{"as_int": 2**70}]},
        {"sizes": [{"as_int": 0}, {"as_int": 2**62}, {"as_int": 2**62}], "strides": [{"as_int": 1}] * 3},
    ],
)
def test_a_program_with_a_view_that_torch_cannot_have(tmp_path, models, change):  # noqa: F811
    def changed(content):
        document = json.loads(content)
        document["config"]["0.bias"]["tensor_meta"] |= change
        return json.dumps(document).encode()

    record = "data/weights/model_weights_config.json"
    refused(
        rewritten(models / "program.pt2", tmp_path / "m.pt2", {record: changed}),
        "do not hold a tensor of shape",
    )
