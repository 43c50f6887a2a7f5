"""What a network wants to be fed: options before the model's files before assumptions, each checked in one line."""

from __future__ import annotations

import dataclasses

import pytest

from bezoar.errors import InputError, UsageError
from bezoar.models.opening.preprocessing import (
    IMAGENET,
    from_hugging_face,
    from_timm,
    resolve_preprocessing,
)

torch = pytest.importorskip("torch", reason="the extra torch is not installed")


def test_an_option_goes_before_the_file_and_the_file_before_assumptions():
    found = resolve_preprocessing("m", {"mean": "0.5", "size": None}, {"mean": (0.1, 0.2, 0.3), "size": 32})
    assert (found.mean, found.std, found.height, found.scale) == ((0.5,) * 3, (1.0,) * 3, 32, 1.0)
    assert found.origins == {
        "channels": "assumed",
        "mean": "option",
        "std": "assumed",
        "scale": "assumed",
        "order": "assumed",
        "outputs": "assumed",
        "height": "model",
        "width": "model",
    }


def test_options_as_they_are_typed():
    options = {
        "size": "28x32",
        "channels": "1",
        "mean": " 0.1",
        "std": 0.5,
        "scale": "255",
        "outputs": "Probabilities",
    }
    found = resolve_preprocessing("m", options, {})
    assert (found.height, found.width, found.channels, found.mean, found.std, found.scale, found.outputs) == (
        28,
        32,
        1,
        (0.1,),
        (0.5,),
        255.0,
        "probabilities",
    )
    assert set(found.origins) == {f.name for f in dataclasses.fields(found)} - {"origins"}


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"size": "0"}, "--size must be pixels"),
        ({"size": "32x"}, "--size must be pixels"),
        ({"size": "3x3x3"}, "--size must be pixels"),
        ({"size": "1e9"}, "--size must be pixels"),
        ({"size": 32.5}, "--size must be pixels"),
        ({"channels": "4"}, "--channels must be 1 or 3"),
        ({"channels": True}, "--channels must be 1 or 3"),
        ({"mean": "a,b"}, "--mean must be a number"),
        ({"mean": "nan"}, "--mean must be a number"),
        ({"mean": "0,0"}, "--mean has 2 numbers for 3 channels"),
        ({"std": "0"}, "--std must be a positive number"),
        ({"std": "inf"}, "--std must be a positive number"),
        ({"scale": "-1"}, "--scale must be a positive number"),
        ({"order": "grb"}, "--order must be rgb or bgr"),
        ({"outputs": "scores"}, "--outputs must be logits or probabilities"),
        ({"colour": "1"}, "unknown preprocessing option 'colour'"),
    ],
)
def test_an_option_that_makes_no_sense(option, says):
    with pytest.raises(UsageError, match=says):
        resolve_preprocessing("m", option, {})


@pytest.mark.parametrize(
    "declared",
    [
        {"mean": "\x1b[31m"},
        {"mean": [[1]]},
        {"std": [0.1, 0.1, 0.0]},
        {"size": {"a": 1}},
        {"size": 10**9},
        {"scale": "x" * 999},
        {"mean": (0.1,) * 3, "channels": 1},
    ],
)
def test_a_declaration_that_makes_no_sense(declared):
    with pytest.raises(InputError, match=r"^m: the preprocessing that the model declares is wrong") as caught:
        resolve_preprocessing("m", {}, declared)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def resolved(declared):
    return resolve_preprocessing("m", {}, declared)


def test_a_hugging_face_vit():
    config = {
        "do_rescale": True,
        "rescale_factor": 0.00392156862745098,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": {"height": 224, "width": 192},
    }
    found = resolved(from_hugging_face(config))
    assert (found.height, found.width, found.mean, found.std) == (224, 192, (0.5,) * 3, (0.5,) * 3)
    assert found.scale == pytest.approx(1)


def test_a_hugging_face_crop_and_no_rescaling():
    config = {
        "do_rescale": False,
        "do_normalize": False,
        "do_center_crop": True,
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "do_flip_channel_order": True,
    }
    found = resolved(from_hugging_face(config))
    assert (found.height, found.scale, found.mean, found.order) == (224, 255.0, (0.0,) * 3, "bgr")
    assert resolved(from_hugging_face({**config, "do_center_crop": False})).height == 256
    assert resolved(from_hugging_face({"size": 96})).height == 96


def test_timm_and_torchvision():
    found = resolved(
        from_timm({"input_size": [3, 160, 160], "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3], "x": 0})
    )
    assert (found.height, found.channels, found.mean, found.std) == (160, 3, (0.1, 0.2, 0.3), (1, 2, 3))
    assert resolved(IMAGENET).mean == (0.485, 0.456, 0.406)


def test_the_network_is_fed_as_declared():
    from bezoar.models.opening.normalised import Normalised

    declared = {"mean": (10, 20, 30), "std": (2, 4, 5), "scale": 255, "order": "bgr", "size": 2}
    images = torch.rand(3, 3, 2, 2)
    found = Normalised(torch.nn.Identity(), resolved(declared))(images)
    wanted = (255 * images.flip(1) - torch.tensor([10.0, 20, 30]).view(3, 1, 1)) / torch.tensor(
        [2.0, 4, 5]
    ).view(3, 1, 1)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)
    given = torch.tensor([[0.25, 0.75], [0.0, 1.0]])
    logits = Normalised(torch.nn.Flatten(), resolved({"outputs": "probabilities", "channels": 1, "size": 1}))(
        given
    )
    torch.testing.assert_close(logits[0], given[0].log())
    assert torch.isfinite(logits).all()
