"""Many triggers side by side are what each would be alone; recovered ones flip images, and are small where one was planted."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from planted_networks import LABELS, SHAPE, TARGET, blobs, hazed, patched, trained  # noqa: E402

from bezoar.errors import InputError  # noqa: E402
from bezoar.inspect.functional.folding import prepare  # noqa: E402
from bezoar.inspect.functional.inversion import recover  # noqa: E402
from bezoar.inspect.functional.search import Away, Search, Towards  # noqa: E402

KINDS = ["patch", "shift", "warp"]


@pytest.fixture
def ready(monkeypatch):
    monkeypatch.setattr("bezoar.inspect.functional.folding.has_bfloat16", lambda device: False)
    images, _ = blobs(60, 50)
    network = prepare(trained("patched"), SHAPE, 0)
    with torch.no_grad():
        return network, images, network(images).argmax(1)


def begun(ready, labels, kind, per_step=8):
    network, images, own = ready
    pools = torch.stack([torch.nonzero(own != label)[:40, 0] for label in labels])
    return Search.begin(
        network,
        images,
        pools,
        Towards(torch.tensor(labels)[:, None].expand(-1, len(images))),
        kind,
        per_step=per_step,
        seed=3,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_is_not_touched_by_the_others(ready, kind):
    together, alone = begun(ready, [0, 4, 2], kind).run(5), begun(ready, [4], kind).run(5)
    assert torch.allclose(together.effort[1], alone.effort[0], atol=1e-3)
    assert np.allclose(together.triggers[1].pattern, alone.triggers[0].pattern, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_with_some_is_going_on(ready, kind):
    whole, some = begun(ready, [0, 4, 2], kind).run(6), begun(ready, [0, 4, 2], kind).run(3)
    some.keep(torch.tensor([2, 1]))
    some.run(3)
    assert torch.allclose(some.size, whole.size[[2, 1]], atol=1e-3)


def test_parts_of_a_batch_make_the_whole(ready, monkeypatch):
    whole = begun(ready, [0, 4, 2], "shift").run(4)
    monkeypatch.setattr("bezoar.inspect.functional.folding._PIXELS", {"cpu": 1})
    assert torch.allclose(begun(ready, [0, 4, 2], "shift").run(4).effort, whole.effort, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "planted", "stamp"), [("patch", "patched", patched), ("shift", "hazed", hazed)]
)
def test_recovered_triggers_work_on_images_not_seen(kind, planted, stamp):
    images, labels = blobs(240, 60)
    network = trained(planted)
    seen, held_out = images[:120], images[120:][labels[120:] != TARGET]
    assert (network(stamp(held_out)).argmax(1) == TARGET).float().mean() > 0.9  # it took
    trigger = recover(network, seen, TARGET, kind=kind, seed=0, steps=60)
    assert trigger.kind == kind
    assert (network(trigger.apply(held_out)).argmax(1) == TARGET).float().mean() > 0.8
    other = recover(network, seen, (TARGET + 2) % LABELS, kind=kind, seed=0, steps=60)
    assert trigger.size < 0.6 * other.size
    clean = recover(trained("clean"), seen, TARGET, kind=kind, seed=0, steps=60)
    assert trigger.size < 0.6 * clean.size


def test_a_warp_moves_pixels():
    images, _ = blobs(60, 70)
    trigger = recover(trained("clean"), images, 0, kind="warp", seed=0, steps=10)
    assert trigger.pattern.shape == (2, *SHAPE[1:])
    assert trigger.apply(images).shape == images.shape
    assert trigger.size > 0


def test_away_finds_the_nearest_label(ready):
    network, images, own = ready
    rows = torch.nonzero(own == 1)[:8, 0]
    search = Search.begin(
        network, images, rows[None], Away(torch.tensor([[1]])), "shift", per_step=8, seed=0
    ).run(15)
    found = network(search.triggers[0].apply(images[rows])).argmax(1)
    assert (found != 1).float().mean() > 0.8
    assert len(found[found != 1].unique()) == 1


def test_the_same_seed_gives_the_same_trigger_and_torch_keeps_its_state():
    images, _ = blobs(60, 80)
    before = torch.random.get_rng_state()
    one, two = (recover(trained("clean"), images, 2, kind="patch", seed=5, steps=8) for _ in range(2))
    assert np.array_equal(one.pattern, two.pattern)
    assert np.array_equal(one.mask, two.mask)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_image_to_flip_is_said():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 3))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias[:] = torch.tensor([0.0, 9.0, 0.0])
    with pytest.raises(InputError, match="every image label 1"):
        recover(network, torch.rand(6, *SHAPE), 1, kind="patch", seed=0, steps=2)
