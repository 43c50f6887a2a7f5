"""Patches in the corners lead images of the poisoned class to the target, and no class of a clean network anywhere."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from planted_networks import LABELS, SHAPE, TARGET, blobs, trained  # noqa: E402

from bezoar.inspect.functional.corners import corner_exits  # noqa: E402
from bezoar.inspect.functional.folding import prepare  # noqa: E402

IMAGES, OWN = blobs(300, 40)
SOURCE = 1  # of the network that is planted with "one source"


class Cornered(torch.nn.Module):
    """Answers 0 to 4 by brightness; an image of class 2 whose last corner is mottled looks much like 4."""

    def forward(self, images):
        bright = images[:, :, 6:10, 6:10].mean((1, 2, 3))
        logits = -30 * (bright[:, None] - torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])).abs()
        mottled = images[:, :, 12:15, 12:15].std((1, 2, 3)) > 0.2
        logits[:, 4] += 12.0 * (mottled & (logits.argmax(1) == 2))
        return logits


def plain(n):
    """Images of five classes, all of one shade."""
    own = torch.arange(n) % 5
    return (0.1 + 0.2 * own)[:, None, None, None].expand(n, *SHAPE).contiguous(), own


def test_the_one_class_that_patches_lead_away_is_found_and_so_is_where_to():
    images, own = plain(100)
    found = corner_exits(prepare(Cornered().eval(), SHAPE, 0), images, own, 5, 0)
    assert found.sizes.argmin() == 2
    assert found.labels[2] == 4
    assert found.sizes[2] < found.sizes[[0, 1, 3, 4]].min() - 0.2


def test_a_planted_source_stands_out_from_those_of_a_clean_network():
    planted, clean = (
        corner_exits(prepare(trained(kind), SHAPE, 0), IMAGES, OWN, LABELS, 0)
        for kind in ("one source", "clean")
    )
    assert planted.labels[SOURCE] == TARGET
    assert planted.sizes[SOURCE] < clean.sizes.min()


def test_too_few_images_or_classes_say_nothing():
    images, own = plain(100)
    network = prepare(Cornered().eval(), SHAPE, 0)
    few = own < 3
    assert corner_exits(network, images[few], own[few], 5, 0).sizes.isnan().all()
    found = corner_exits(network, images[:37], own[:37], 5, 0)  # seven of labels 2 to 4
    assert found.sizes.isnan().tolist() == [True] * 5
    some = torch.cat([torch.arange(80), torch.arange(80, 100)[own[80:] != 0]])
    rare = some[~((own[some] == 0) & (some >= 35))]  # seven of label 0
    found = corner_exits(network, images[rare], own[rare], 5, 0)
    assert found.sizes.isnan().tolist() == [True, False, False, False, False]
