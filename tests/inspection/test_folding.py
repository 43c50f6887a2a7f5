"""Folded networks answer as the originals did, whatever they are made of, and the originals are left alone."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from planted_networks import SHAPE, untrained  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from bezoar.errors import InputError  # noqa: E402
from bezoar.inspect.functional import folding  # noqa: E402
from bezoar.inspect.functional.folding import prepare  # noqa: E402
from bezoar.models.opening import open_model  # noqa: E402

DRAW = torch.Generator().manual_seed(0)


def lived_in(network):
    """With running statistics that are not those of an untrained network."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            module.running_mean = torch.randn(n, generator=DRAW)
            module.running_var = 0.5 + torch.rand(n, generator=DRAW)
            module.weight = nn.Parameter(torch.randn(n, generator=DRAW))
            module.bias = nn.Parameter(torch.randn(n, generator=DRAW))
    if isinstance(network, Pooled):
        network.settle()
    return network.eval().requires_grad_(False)


class Residual(nn.Module):
    """A normalisation whose convolution has two readers must not be folded."""

    def __init__(self, shared):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.head, self.shared = nn.Linear(3 * 16 * 16, 5), shared

    def forward(self, x):
        y = self.first(x)
        z = self.norm(y)
        return self.head((z + (y if self.shared else x)).relu().flatten(1))


class Twice(nn.Module):
    """One convolution that is used twice, normalised differently each time."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])
        self.head = nn.Linear(3 * 16 * 16, 5)

    def forward(self, x):
        for norm in self.norms:
            x = norm(self.conv(x)).relu()
        return self.head(x.flatten(1))


class Attention(nn.Module):
    """Pixels of a row look at each other."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(768, 4)

    def forward(self, x):
        return self.head(nn.functional.scaled_dot_product_attention(x, x.flip(1), x * x).flatten(1))


class Pooled(nn.Module):
    """Between convolution and normalisation stands a max pooling, which a change of sign would turn round."""

    def __init__(self, sign):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.head, self.sign = nn.Linear(3 * 8 * 8, 5), sign

    def settle(self):
        self.norm.weight = nn.Parameter(self.norm.weight.abs() * torch.tensor([1.0, 1.0, self.sign]))

    def forward(self, x):
        return self.head(self.norm(nn.functional.max_pool2d(self.conv(x), 2)).relu().flatten(1))


class Odd(nn.Module):
    """A convolution and a normalisation that are called, or come by their numbers, in an unusual `way`."""

    def __init__(self, way):
        super().__init__()
        self.conv, self.norm, self.way = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), way
        self.head = nn.Linear(768, 5) if way in ("named", "viewed") else nn.Identity()

    def forward(self, x):
        return self.head(getattr(self, self.way.replace(" ", "_"))(x).flatten(1))

    def named(self, x):
        y = nn.functional.conv2d(input=x, weight=self.conv.weight, padding=1)
        y = nn.functional.scaled_dot_product_attention(query=y, key=y, value=y)
        return nn.functional.batch_norm(
            input=y, running_mean=self.norm.running_mean, running_var=self.norm.running_var
        )

    def viewed(self, x):
        return self.norm(self.conv(x)).view(x.size(0), -1)  # of channels that lie last it is none

    def assigned(self, x):
        y = self.conv(x)
        y[:, 0] = 0
        return self.norm(y)

    def computed_anew(self, x):
        return nn.functional.batch_norm(self.conv(x), self.norm.running_mean + 1, self.norm.running_var)


NETWORKS = {
    "named": lambda: Odd("named"),
    "assigned": lambda: Odd("assigned"),
    "computed anew": lambda: Odd("computed anew"),
    "plain": untrained,
    "pooled": lambda: Pooled(1.0),
    "turned": lambda: Pooled(-1.0),
    "tiles": lambda: nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.GELU(), nn.Flatten(), nn.Linear(96, 4)),
    "attention": Attention,
    "residual": lambda: Residual(shared=False),
    "two readers": lambda: Residual(shared=True),
    "used twice": Twice,
    "perceptron": lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 9), nn.ReLU(), nn.Linear(9, 4)),
}


class Calls(TorchDispatchMode):
    """What is called in the end, whoever asked for it."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def calls(network, images, part):
    with Calls() as seen:
        network(images)
    return sum(part in name for name in seen.names)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("form", ["eager", "exported", "torchscript"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_answers_stay_the_same(name, form):
    network = lived_in(NETWORKS[name]())
    images = torch.rand((5, *SHAPE), generator=DRAW)
    wanted = network(images)
    if form == "exported":
        batch = {0: torch.export.Dim("batch", max=1000)}
        network = torch.export.export(network, (images,), dynamic_shapes=(batch,)).module()
    if form == "torchscript":
        network = torch.jit.trace(network, images)
    fast = prepare(network, SHAPE, 0)
    last = images.contiguous(memory_format=torch.channels_last)
    for given in (images, last):
        assert torch.allclose(fast.network(given), wanted, atol=1e-4, rtol=1e-3)
    assert torch.allclose(network(images), wanted, atol=1e-6)


@pytest.mark.parametrize("form", ["pt2", "pt"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_views_are_no_hindrance_to_channels_that_lie_last(form, tmp_path):
    network, images = lived_in(Odd("viewed")), torch.rand((4, *SHAPE), generator=DRAW)
    path = tmp_path / f"a.{form}"
    if form == "pt2":
        torch.export.save(torch.export.export(network, (images,)), path)
    else:
        torch.jit.trace(network, images).save(path)
    opened = open_model(path, preprocessing={"mean": 0.0, "std": 1.0, "size": SHAPE[1:]}).network()
    fast = prepare(opened, SHAPE, 0)
    assert torch.allclose(fast(images), network(images), atol=0.1)


FOLDED = {"plain": 0, "pooled": 0, "turned": 1, "residual": 0, "two readers": 1, "used twice": 2, "tiles": 0}


@pytest.mark.parametrize("name", FOLDED)
@pytest.mark.parametrize("form", ["eager", "exported", "file"])
def test_folds_what_can_be_folded(name, form, tmp_path):
    network = lived_in(NETWORKS[name]())
    before = copy.deepcopy(network.state_dict())
    images = torch.rand((4, *SHAPE), generator=DRAW)
    asked = network
    if form != "eager":
        program = torch.export.export(network, (images,))
        asked = program.module()
    if form == "file":
        torch.export.save(program, tmp_path / "a.pt2")
        asked = open_model(tmp_path / "a.pt2", preprocessing={"mean": 0.0, "std": 1.0}).network()
    assert calls(prepare(asked, SHAPE, 0).network, images, "batch_norm") == FOLDED[name]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_windows_side_by_side_and_attention_are_products():
    images = torch.rand((4, *SHAPE), generator=DRAW)
    assert calls(prepare(NETWORKS["tiles"](), SHAPE, 0).network, images, "convolution") == 0
    attention = NETWORKS["attention"]()
    assert calls(attention, images, "flash") == 1
    assert calls(prepare(attention, SHAPE, 0).network, images, "flash") == 0


def test_bfloat16_is_given_up_where_it_changes_the_answers(monkeypatch):
    monkeypatch.setattr(folding, "has_bfloat16", lambda device: True)
    delicate = nn.Sequential(nn.Flatten(), nn.Linear(768, 3, bias=False))
    with torch.no_grad():
        delicate[1].weight[:] = (
            1000 + torch.arange(3)[:, None] * 0.01
        )  # differences that eight bits cannot hold
    images = torch.rand((5, *SHAPE), generator=DRAW)
    wanted = delicate(images)
    got = prepare(delicate, SHAPE, 0)(images)
    assert torch.equal(got.argmax(1), wanted.argmax(1))


def test_bfloat16_is_given_up_where_an_operator_does_not_take_it(monkeypatch):
    monkeypatch.setattr(folding, "has_bfloat16", lambda device: True)
    strict = nn.Bilinear(8, 8, 4)

    class Strict(nn.Module):
        def forward(self, x):
            few = nn.functional.linear(x.flatten(1)[:, :8], torch.eye(8))
            try:
                return strict(few, few)
            except RuntimeError as failure:
                raise InputError("it fails") from failure  # as an opened model does

    images = torch.rand((5, *SHAPE), generator=DRAW)
    fast = prepare(Strict().eval(), SHAPE, 0)
    assert not fast.half
    assert fast(images).shape == (5, 4)


def test_gradients_reach_the_images_and_nothing_else():
    fast = prepare(lived_in(untrained()), SHAPE, 0)
    images = torch.rand((2, *SHAPE), generator=DRAW).requires_grad_(True)
    fast(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in fast.parameters())
