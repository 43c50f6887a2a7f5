from __future__ import annotations

import pytest

from bezoar.embed import resolve
from bezoar.errors import InputError, UsageError


def test_default():
    assert resolve("default").name == "default"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("clip:big", "unknown encoder 'clip'; known: default, onnx, timm, hf"),
        ("", "unknown encoder ''"),
        ("onnx", "onnx:PATH"),
        ("timm:", "timm:NAME"),
        ("hf:", "hf:NAME"),
        ("default:7", "takes nothing after it"),
    ],
)
def test_a_specification_that_makes_no_sense(spec, says):
    with pytest.raises(UsageError, match=says):
        resolve(spec)


def test_a_missing_model_file(tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    with pytest.raises(InputError, match="cannot be read"):
        resolve(f"onnx:{tmp_path / 'none.onnx'}")
