"""Files that were made to harm: each is refused in one line, runs nothing and takes no memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import warnings
import zipfile

import numpy as np
import pytest

from bezoar.errors import BezoarError, InputError, LimitError

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch import nn  # noqa: E402

from bezoar.models.opening import open_model  # noqa: E402

SIZE, K = 8, 3
MODULE = __name__.rpartition(".")[2]


def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, K))


def enormous():
    return nn.Sequential(nn.Flatten(), nn.Linear(100_000, 100_000))  # 40 GB


def constant_nan():
    class Lost(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) * float("nan")

    return Lost()


class Evil:
    """Creates the canary when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch '{self.canary}'",)


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    pickle.loads(pickle.dumps(Evil(path)))  # noqa: S301 - the trap works
    assert path.exists()
    path.unlink()
    yield path
    assert not path.exists()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One honest file of each kind."""
    folder = tmp_path_factory.mktemp("honest")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporters warn of their own future
        torch.manual_seed(0)
        module, x = small().eval(), torch.rand(2, 3, SIZE, SIZE)
        torch.jit.script(module).save(folder / "script.pt")
        torch.jit.freeze(torch.jit.script(module)).save(folder / "frozen.pt")
        program = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("n")},))
        torch.export.save(program, folder / "program.pt2")
        torch.save(module.state_dict(), folder / "weights.pt")
    write_safetensors(folder / "weights.safetensors", module.state_dict())
    return folder


def write_safetensors(path, state, claims=None):
    """By the format's description; `claims` are put in the header instead of what is there."""
    header, content = {}, b""
    for name, tensor in state.items():
        data = tensor.numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        header[name] = {
            "dtype": kind,
            "shape": list(tensor.shape),
            "data_offsets": [len(content), len(content) + len(data)],
        }
        content += data
    header |= claims or {}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def rewritten(source, target, changes, *, compression=zipfile.ZIP_STORED):
    """The archive with other records; a change is bytes, or a function of bytes."""
    left = dict(changes)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content, change = old.read(name), left.pop(name.partition("/")[2], None)
            new.writestr(name, change(content) if callable(change) else content if change is None else change)
        root = old.namelist()[0].partition("/")[0]
        for name, content in left.items():
            new.writestr(f"{root}/{name}", content)
    return target


def refused(path, match, kind=InputError, **options):
    """The one line with which opening ends."""
    with pytest.raises(kind, match=match) as caught:
        open_model(path, preprocessing={"size": SIZE}, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 600
    assert str(path) in message
    return message


def with_weights(path, match, kind=InputError, factory="small"):
    return refused(path, match, kind, trust_code=f"{MODULE}:{factory}")


# Pickles


def test_the_honest_files_open(models):
    for name in ("script.pt", "frozen.pt", "program.pt2"):
        assert open_model(models / name, preprocessing={"size": SIZE}).n_classes == K
    for name in ("weights.pt", "weights.safetensors"):
        model = open_model(models / name, preprocessing={"size": SIZE}, trust_code=f"{MODULE}:small")
        assert model.n_classes == K


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_raw_pickle(tmp_path, canary, protocol):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Evil(canary), protocol))
    refused(tmp_path / "m.pkl", "pickle, which can run any program")


def test_an_old_raw_pickle(tmp_path, canary):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Evil(canary), 0))
    refused(tmp_path / "m.pkl", "no model that Bezoar knows")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_with_more_than_tensors(tmp_path, canary, zipped):
    bad = {"w": torch.ones(2, 2), "x": Evil(canary)}
    torch.save(bad, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    message = with_weights(tmp_path / "m.pt", "only tensors are loaded")
    assert ("system" in message) is zipped


def test_a_whole_pickled_module(tmp_path):
    torch.save(small(), tmp_path / "m.pt")
    assert "torch.nn.modules" in with_weights(tmp_path / "m.pt", "only tensors are loaded")


@pytest.mark.parametrize("record", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_torchscript_with_a_pickle_that_calls(tmp_path, canary, models, record, protocol):
    bad = rewritten(models / "script.pt", tmp_path / "m.pt", {record: pickle.dumps(Evil(canary), protocol)})
    refused(bad, "pickle")


def test_torchscript_with_a_class_of_cpp(tmp_path, models):
    change = {"data.pkl": b"\x80\x02c__torch__.torch.classes.evil\nRunner\n)\x81}b."}
    refused(
        rewritten(models / "script.pt", tmp_path / "m.pt", change),
        "calls '__torch__.torch.classes.evil.Runner'",
    )


def test_a_program_with_pickled_weights(tmp_path, canary, models):
    def pickled(content):
        document = json.loads(content)
        document["config"]["0.weight"] |= {"use_pickle": True, "tensor_meta": None}
        return json.dumps(document).encode()

    buffer = io.BytesIO()
    torch.save(Evil(canary), buffer)
    changes = {"data/weights/model_weights_config.json": pickled, "data/weights/weight_0": buffer.getvalue()}
    refused(
        rewritten(models / "program.pt2", tmp_path / "m.pt2", changes), "'0.weight' is stored as a pickle"
    )


def test_a_program_with_a_pickled_object_as_constant(tmp_path, canary, models):
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    changes = {
        "data/constants/model_constants_config.json": json.dumps({"config": {"evil": entry}}).encode(),
        "data/constants/opaque_obj_0": pickle.dumps(Evil(canary)),
    }
    refused(rewritten(models / "program.pt2", tmp_path / "m.pt2", changes), "'evil' is stored as a pickle")


def test_the_sample_inputs_of_a_program_are_never_read_and_not_passed_on(tmp_path, canary, models):
    buffer = io.BytesIO()
    torch.save(Evil(canary), buffer)
    changes = {"data/sample_inputs/model.pt": buffer.getvalue()}
    model = open_model(rewritten(models / "program.pt2", tmp_path / "m.pt2", changes))
    model.save(model.trainable(), tmp_path / "saved.pt2")
    torch.export.load(tmp_path / "saved.pt2")


# Code


CALLS = {
    "torch.from_file('/etc/passwd', False, 8)": "torch.from_file",
    "torch.save(input, 'canary')": "torch.save",
    "torch.rand([2])": "torch.rand",
    "ops.evil.run(input)": "ops.evil.run",
    "getattr(torch, 'from_file')('/etc/passwd', False, 8)": "uses 'torch'",
    "torch.from_file": "torch.from_file",
    "torch.classes.evil.Runner()": "torch.classes",
    "ops.aten.from_file('/etc/passwd', False, 8)": "ops.aten.from_file",
    "print(input)": "print",
    "__import__('os')": "__import__",
    "eval('1')": "eval",
    "input.__class__": "no module",
    "(lambda: input)()": "Lambda",
    "[y for y in input]": "ListComp",
    "torch.mul([0], 1000000000000)": "no number",
    "torch.zeros([1000000, 1000000])": "makes a tensor of",
    "torch.pow(10, 1000000)": "out of range",
    "__torch__.missing.function(input)": "which the archive lacks",
    "self.missing": "which the archive lacks",
    "CONSTANTS.c99": "fails on",
    "(self).forward(input, )": "recursion",
}


@pytest.mark.parametrize("call", CALLS)
def test_torchscript_that_does_more_than_arithmetic(tmp_path, canary, models, call):
    refused(with_code(models, tmp_path, f"    y = {call}"), CALLS[call])


def with_code(models, folder, statements):
    """The scripted module with statements at the start of its forward pass."""

    def changed(content):
        text = content.decode()
        start = text.index("-> Tensor:\n") + len("-> Tensor:\n")
        return (text[:start] + statements + "\n" + text[start:]).encode()

    with zipfile.ZipFile(models / "script.pt") as archive:
        (name,) = (name for name in archive.namelist() if "/container" in name and name.endswith(".py"))
    return rewritten(models / "script.pt", folder / "m.pt", {name.partition("/")[2]: changed})


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ("    while True:\n      pass", "steps"),
        ("    for i in range(1000000000000):\n      pass", "steps"),
        ("    self.training = True", "changes the model while it runs"),
        ("    import os", "Import"),
        ("    y = [1]\n    while True:\n      y = torch.add(y, y)", "no number|list of"),
        ("    y = 2\n    while True:\n      y = torch.mul(y, y)", "64 bits"),
        ("    ops.prim.RaiseException('no\x1b[31m')", "refuses this input"),
        (
            "    pass\n  def __setstate__(self, state: Tensor) -> Tensor:",
            "runs when the model is loaded",
        ),
        ("    y = " + "(" * 5000 + "1" + ")" * 5000, "is no TorchScript"),
        ("    y = \x00", "is no TorchScript"),
    ],
)
def test_torchscript_that_never_ends_or_grows(tmp_path, models, statements, message):
    refused(with_code(models, tmp_path, statements), message)


def edited(models, folder, edit):
    """The program with another document."""

    def changed(content):
        document = json.loads(content)
        edit(document)
        return json.dumps(document).encode()

    return rewritten(models / "program.pt2", folder / "m.pt2", {"models/model.json": changed})


def nodes(document):
    return document["graph_module"]["graph"]["nodes"]


@pytest.mark.parametrize(
    "target",
    ["torch.load", "torch.hub.load", "torch.ops.aten.from_file.default", "torch.ops.evil.run.default", "os.system",
     "_operator.methodcaller", "torch.ops.higher_order.cond", "math.factorial", "torch.ops.aten.add.out", "#ext:x"],
)  # fmt: skip
def test_a_program_that_calls_more_than_arithmetic(tmp_path, models, target):
    bad = edited(models, tmp_path, lambda document: nodes(document)[0].update(target=target))
    refused(bad, "no plain arithmetic")


@pytest.mark.parametrize(
    "expression",
    ["__import__('os').system('touch {canary}')", "Symbol('s0').__class__", "eval('1')", "Symbol('os.system')",
     "[x for x in ()]", "lambda: 0", "Integer(1)(2)", 5],
)  # fmt: skip
def test_a_program_with_an_expression_that_calls(tmp_path, canary, models, expression):
    text = expression.format(canary=canary) if isinstance(expression, str) else expression

    def edit(document):
        document["graph_module"]["graph"]["tensor_values"]["input"]["sizes"][0]["as_expr"]["expr_str"] = text

    refused(edited(models, tmp_path, edit), "no arithmetic")


def test_a_program_with_a_graph_as_argument(tmp_path, models):
    def edit(document):
        nodes(document)[0]["inputs"][0]["arg"] = {"as_graph": {"name": "x", "graph": {}}}

    refused(edited(models, tmp_path, edit), "'as_graph'")


def test_a_program_that_reads_what_nothing_produces(tmp_path, models):
    def edit(document):
        nodes(document)[0]["inputs"][0]["arg"]["as_tensor"]["name"] = "nothing"

    refused(edited(models, tmp_path, edit), "'nothing', which nothing produces")


def test_compiled_code_in_an_archive(tmp_path, models):
    refused(
        rewritten(models / "program.pt2", tmp_path / "m.pt2", {"data/aotinductor/model/a.so": b"\x7fELF"}),
        "compiled code",
    )


def test_documents_that_are_too_deep_or_none(tmp_path, models):
    for content in (b"[" * 200_000, b'{"a":' * 100_000, b"[]", b"\xff", b""):
        bad = rewritten(models / "program.pt2", tmp_path / "m.pt2", {"models/model.json": content})
        refused(bad, "JSON")


# Sizes


def test_a_safetensors_header_that_claims_40_gb(tmp_path):
    claim = {"w": {"dtype": "F32", "shape": [100_000, 100_000], "data_offsets": [0, 40_000_000_000]}}
    write_safetensors(tmp_path / "m", {}, claim)
    with_weights(tmp_path / "m", "promises 40,000,000,000")
    (tmp_path / "m").write_bytes(struct.pack("<Q", 40_000_000_000) + b'{"w"')
    with_weights(tmp_path / "m", "header would have 40,000,000,000 bytes", LimitError)


def test_a_sparse_file_of_40_gb(tmp_path):
    claim = {"w": {"dtype": "F32", "shape": [100_000, 100_000], "data_offsets": [0, 40_000_000_000]}}
    write_safetensors(tmp_path / "m", {}, claim)
    with (tmp_path / "m").open("r+b") as file:
        file.truncate((tmp_path / "m").stat().st_size + 40_000_000_000)
    with_weights(tmp_path / "m", r"needs about 120\.0 GB of memory", LimitError)


def test_an_architecture_that_needs_40_gb(tmp_path, models):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with_weights(models / "weights.safetensors", r"needs about 120\.0 GB of memory", LimitError, "enormous")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes


def test_a_decompression_bomb(tmp_path, models):
    zeros = bytes(8 * 2**20)
    for name, record in (
        ("weights.pt", "data/0"),
        ("script.pt", "data/0"),
        ("program.pt2", "data/weights/weight_0"),
    ):
        bad = rewritten(models / name, tmp_path / name, {record: zeros}, compression=zipfile.ZIP_DEFLATED)
        refused(bad, "decompression bomb", LimitError)


def test_records_that_overlap(tmp_path, models):
    """Every record's entry points at the same bytes: a small file with gigabytes in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", bytes(2000))
        for i in range(50):
            info = zipfile.ZipInfo(f"m/data/{i}")
            first = archive.infolist()[0]
            info.header_offset, info.file_size, info.compress_size, info.CRC = 0, 2000, 2000, first.CRC
            archive.filelist.append(info)
    (tmp_path / "m.pt").write_bytes(buffer.getvalue())
    refused(tmp_path / "m.pt", "overlap|damaged", InputError)


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "a\\b", "m//x", "m/\x1b[31m", "m/./x"])
def test_names_that_lead_out_of_an_archive(tmp_path, models, name):
    (tmp_path / "m.pt").write_bytes((models / "script.pt").read_bytes())
    with zipfile.ZipFile(tmp_path / "m.pt", "a") as archive:
        archive.writestr(name, "x")
    refused(tmp_path / "m.pt", "which no exporter writes")


def test_two_records_of_one_name(tmp_path, models):
    (tmp_path / "m.pt").write_bytes((models / "script.pt").read_bytes())
    with zipfile.ZipFile(tmp_path / "m.pt", "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("script/data.pkl", "x")
    refused(tmp_path / "m.pt", "two records")


def test_too_many_records(tmp_path, models, monkeypatch):
    monkeypatch.setattr("bezoar.models.opening.archive._MAX_RECORDS", 5)
    refused(models / "script.pt", "records; at most 5", LimitError)


# Damage


FILES = ("script.pt", "frozen.pt", "program.pt2", "weights.pt", "weights.safetensors")


def tried(path):
    """Opened, or refused in one line; anything else is the test's failure."""
    options = {"trust_code": f"{MODULE}:small"} if path.name.startswith("weights") else {}
    try:
        return open_model(path, preprocessing={"size": SIZE}, **options)
    except BezoarError as error:
        message = str(error)
    assert message.isprintable()
    assert len(message) < 600
    return None


@pytest.mark.parametrize("name", FILES)
def test_truncated_files(tmp_path, models, name):
    content = (models / name).read_bytes()
    for length in (1, 4, 9, 30, 200, len(content) // 2, len(content) - 100, len(content) - 1):
        (tmp_path / name).write_bytes(content[:length])
        assert tried(tmp_path / name) is None, length


@pytest.mark.parametrize("name", FILES)
def test_files_with_flipped_bytes(tmp_path, models, name):
    content, rng = (models / name).read_bytes(), np.random.default_rng(0)
    for _ in range(25):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            changed[place] ^= 1 << int(rng.integers(8))
        (tmp_path / name).write_bytes(changed)
        tried(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "record"),
    [("script.pt", "data.pkl"), ("frozen.pt", "constants.pkl"), ("program.pt2", "models/model.json")],
)
def test_records_with_flipped_bytes(tmp_path, models, name, record):
    """Behind the checksum, where the readers of this package are alone."""
    rng = np.random.default_rng(1)

    def flipped(content):
        changed = bytearray(content)
        changed[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        return bytes(changed)

    for _ in range(60):
        tried(rewritten(models / name, tmp_path / name, {record: flipped}))


# Weights


def changed_state(edit):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = small().state_dict()
    edit(state)
    return state


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(tmp_path, models, value):
    state = changed_state(lambda s: s["4.weight"].view(-1)[7:8].fill_(value))
    torch.save(state, tmp_path / "m.pt")
    with_weights(tmp_path / "m.pt", r"'4\.weight' hold NaN or infinity")
    write_safetensors(tmp_path / "m.st", state)
    with_weights(tmp_path / "m.st", r"'4\.weight' hold NaN or infinity")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = small()
        module.load_state_dict(state)
        torch.jit.script(module).save(tmp_path / "s.pt")
        torch.export.save(
            torch.export.export(module.eval(), (torch.rand(2, 3, SIZE, SIZE),)), tmp_path / "p.pt2"
        )
    refused(tmp_path / "s.pt", r"'4\.weight' hold NaN or infinity")
    refused(tmp_path / "p.pt2", r"'4\.weight' hold NaN or infinity")


def test_weights_of_another_network(tmp_path):
    for edit, message in (
        (lambda s: s.pop("0.bias"), r"lacks '0\.bias'"),
        (lambda s: s.update(extra=torch.ones(1)), "has 'extra' besides"),
        (lambda s: s.update({"0.bias": torch.ones(5)}), r"'0\.bias' has shape \(5,\), not \(4,\)"),
        (lambda s: s.clear(), "no tensors by name"),
    ):
        torch.save(changed_state(edit), tmp_path / "m.pt")
        with_weights(tmp_path / "m.pt", message)


def test_tensors_that_claim_more_than_the_file_has(tmp_path):
    torch.save(changed_state(lambda s: s.update({"0.bias": torch.ones(1).expand(2**33)})), tmp_path / "m.pt")
    with_weights(tmp_path / "m.pt", "claims more numbers", LimitError)
    torch.save(changed_state(lambda s: s.update({"0.bias": torch.ones(4).to_sparse()})), tmp_path / "m.pt")
    with_weights(tmp_path / "m.pt", "only tensors|sparse")
    torch.save(
        changed_state(lambda s: s.update({"0.bias": torch.ones(2**33, device="meta")})), tmp_path / "m.pt"
    )
    with_weights(tmp_path / "m.pt", "without numbers")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "damaged"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "do not fit its shape"),
        ({"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}, "of type 'F8_E4M3'"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "leave a gap"),
        ({"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}, "do not fit"),
        ([], "damaged"),
    ],
)
def test_a_damaged_safetensors_header(tmp_path, entry, message):
    write_safetensors(tmp_path / "m", {}, {"w": entry})
    (tmp_path / "m").write_bytes((tmp_path / "m").read_bytes() + bytes(4))
    with_weights(tmp_path / "m", message)


def test_outputs_that_are_no_classes(tmp_path):
    class Head(nn.Module):
        def __init__(self, kind: int):
            super().__init__()
            self.kind = kind
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            if self.kind == 0:
                return x * self.weight
            if self.kind == 1:
                return x.mean((1, 2, 3)) * self.weight
            return x.mean((1, 2, 3)).unsqueeze(1) * self.weight

    for kind, message in ((0, "no image classifier"), (1, "no image classifier"), (2, "K >= 2")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.trace(Head(kind), torch.rand(2, 3, SIZE, SIZE)).save(tmp_path / "m.pt")
        refused(tmp_path / "m.pt", message)
    torch.save({"w": torch.ones(1)}, tmp_path / "m.pt")
    with_weights(tmp_path / "m.pt", "has 'w' besides", factory="constant_nan")


# Hugging Face folders


def folder(path, config, **files):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (path / name.replace("__", ".")).write_bytes(content)
    return path


def test_a_folder_with_pickled_weights(tmp_path, canary):
    buffer = io.BytesIO()
    torch.save({"w": Evil(canary)}, buffer)
    bad = folder(tmp_path / "m", {"model_type": "vit"}, pytorch_model__bin=buffer.getvalue())
    refused(bad, r"pytorch_model\.bin")


def test_links_and_shards_outside_a_folder(tmp_path, models):
    bad = folder(tmp_path / "a", {"model_type": "vit"})
    (bad / "model.safetensors").symlink_to(models / "weights.safetensors")
    refused(bad, "no model.safetensors")
    for name in ("../secret.safetensors", "/etc/passwd", "x.bin", "\x1b.safetensors"):
        index = json.dumps({"weight_map": {"w": name}}).encode()
        (bad / "model.safetensors.index.json").write_bytes(index)
        refused(bad, "must be a safetensors file in the folder")
    (bad / "model.safetensors.index.json").write_bytes(b'{"weight_map": {"w": "model.safetensors"}}')
    refused(bad, "or a link")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").symlink_to("/dev/zero")
    refused(tmp_path / "b", "no config.json|links are not followed")


def test_folders_with_documents_that_are_too_deep_or_large(tmp_path):
    bad = folder(tmp_path / "m", {})
    (bad / "config.json").write_bytes(b"[" * 200_000)
    refused(bad, "nested too deeply")
    (bad / "config.json").write_bytes(b'{"a": "' + bytes(2**22) + b'"}')
    with pytest.raises(LimitError, match="larger than"):
        open_model(bad)
