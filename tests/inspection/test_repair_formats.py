"""A repaired network goes back into a file of its format, whatever that is."""

from __future__ import annotations

import warnings

import pytest
import torch

from bezoar.inspect.functional.pruning import prune
from bezoar.inspect.functional.unlearning import Lure, answers
from bezoar.inspect.repair import cleanse
from bezoar.models.opening.opening import open_model
from inspection.planted_networks import LABELS, TARGET, blobs, patched, trained
from inspection.test_repair import ALL_TO_ONE, imperfect


def _written(folder, kind):
    network, images = trained("patched"), blobs(2, 0)[0]
    path = folder / f"model.{kind}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match kind:
            case "pt2":
                shapes = ({0: torch.export.Dim("batch", max=4096)},)
                torch.export.save(torch.export.export(network, (images,), dynamic_shapes=shapes), path)
            case "pt":
                torch.jit.script(network).save(str(path))
            case "onnx":
                names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "n"}}}
                torch.onnx.export(network, (images,), str(path), dynamo=False, **names)
    return path


@pytest.mark.parametrize("kind", ["pt2", "pt", "onnx"])
def test_what_is_saved_is_what_was_repaired(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("bezoar.inspect.repair._STEPS", 6)
    monkeypatch.setattr("bezoar.inspect.repair._SEARCH_STEPS", 12)
    model = open_model(_written(tmp_path, kind))
    images, labels = blobs(100, 5)
    lure = Lure(imperfect(), ALL_TO_ONE)
    repaired = cleanse(model.trainable(), images, labels, [lure], titles=[""], seed=0).module
    out = tmp_path / f"repaired.{kind}"
    model.save(repaired, out)
    again = open_model(out)
    assert again.format == model.format
    before, after = answers(model.network(), images), answers(again.network(), images)
    torch.testing.assert_close(after, answers(repaired, images))
    assert (after - before).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["pt2", "pt", "onnx"])
def test_features_are_pruned_in_any_format(kind, tmp_path):
    network = open_model(_written(tmp_path, kind)).trainable()
    images, labels = blobs(200, 5)
    stamped = patched(images[labels != TARGET])
    before = float((answers(network, stamped).argmax(1) == TARGET).float().mean())
    assert prune(network, images, labels, [Lure(imperfect(), ALL_TO_ONE)], lambda: False) == 10
    after = float((answers(network, stamped).argmax(1) == TARGET).float().mean())
    assert after < before - 0.1
    assert answers(network, images).shape == (200, LABELS)
