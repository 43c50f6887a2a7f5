"""Random patterns come near the label that a trigger of their family was planted for, and near no one label in clean networks."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from planted_networks import SHAPE, TARGET, blobs, trained  # noqa: E402

from bezoar.inspect.functional.folding import prepare  # noqa: E402
from bezoar.inspect.functional.outliers import left_out  # noqa: E402
from bezoar.inspect.functional.random_patterns import distances, mean_of_others  # noqa: E402

IMAGES, OWN = blobs(300, 40)


def near(kind, seed=0):
    return distances(prepare(trained(kind), SHAPE, 0), IMAGES, OWN, seed)


def test_any_noise_leads_to_the_label_that_noise_was_planted_for():
    noise = near("hazed")["noise"].numpy()
    assert noise.argmin() == TARGET
    assert left_out(noise)[TARGET] < -4


def test_any_patch_leads_towards_the_label_that_a_patch_was_planted_for():
    speck, clean = near("patched")["speck"].numpy(), near("clean")["speck"].numpy()
    assert speck.argmin() == TARGET
    assert left_out(speck)[TARGET] < left_out(clean)[TARGET] - 1


@pytest.mark.parametrize("family", ["noise", "shade", "speck"])
def test_no_label_is_near_in_a_clean_network(family):
    assert left_out(near("clean")[family].numpy()).min() > -4


def test_the_seed_decides_and_torch_keeps_its_state():
    before = torch.random.get_rng_state()
    one, two, other = near("clean"), near("clean"), near("clean", seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, values in one.items():
        assert torch.equal(values, two[name])
        assert not torch.equal(values, other[name])


def test_images_of_a_label_do_not_count_for_it():
    values = torch.tensor([[[5.0, 1.0, 2.0], [3.0, 9.0, 4.0]]])
    assert mean_of_others(values, torch.tensor([0, 1])).tolist() == [[3.0, 1.0, 3.0]]


@pytest.mark.parametrize("shape", [(1, 20, 12), (3, 2, 2)])
def test_images_of_any_shape(shape):
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(shape[0] * shape[1] * shape[2], 5)
    ).eval()
    found = distances(prepare(network, shape, 0), torch.rand(9, *shape), torch.arange(9) % 5, 0)
    assert all(values.isfinite().all() for values in found.values())
