"""Layers of torch in the place of ONNX operators with fixed weights, where the two are the same. Imports torch.

Hooks, folding and pruning then find `Conv2d`, `BatchNorm2d` and `Linear`, whatever the file's format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bezoar.graphs.onnx_layers import window_pads
from bezoar.graphs.onnx_program import Program, Step


@dataclass(frozen=True, slots=True)
class Part:
    """A layer that does a step's work on its first input.

    `sources` says which tensor of the graph each of the layer's tensors came from; `transposed` that the weight lies the other
    way. `pads`, in ONNX order, come first where the layer cannot do them.
    """

    layer: nn.Module
    sources: dict[str, str]
    transposed: bool = False
    pads: tuple[int, ...] = ()


def part_of(step: Step, program: Program, uses: Counter[str], after_conv: bool) -> Part | None:
    """The layer of a step, None where only the operator will do. `after_conv`: its input comes from a `Conv2d`."""
    tensors = [program.fixed(name) for name in step.inputs[1:]]
    if not tensors or any(t is None and name for t, name in zip(tensors, step.inputs[1:], strict=True)):
        return None
    if program.fixed(step.inputs[0]) is not None:
        return None
    match step.operator:
        case "Conv":
            return _conv(step, tensors)
        case "BatchNormalization" if after_conv and not step.options.get("training_mode", 0):
            return _norm(step, tensors)
        case "Gemm" | "MatMul":
            return _linear(step, tensors, program, uses)
    return None


def fuse_bias(program: Program, kept_names: Collection[str]) -> None:
    """Give products with a matrix the bias that the next step adds: exporters write a dense layer as two operators.

    `kept_names` are asked for themselves, and stay.
    """
    uses = program.uses()
    makers = {step.outputs[0]: step for step in program.steps if step.operator == "MatMul"}
    kept = []
    for step in program.steps:
        for product, bias in (step.inputs, step.inputs[::-1]) if step.operator == "Add" else ():
            maker, offset = makers.get(product), program.fixed(bias)
            weight = program.fixed(maker.inputs[1]) if maker else None
            if (
                maker is not None
                and weight is not None
                and weight.dim() == 2
                and len(maker.inputs) == 2
                and program.fixed(maker.inputs[0]) is None
                and offset is not None
                and offset.shape == weight.shape[1:]
                and uses[product] == 1
                and product not in kept_names
            ):
                maker.inputs.append(bias)
                maker.outputs = list(step.outputs)
                break
        else:
            kept.append(step)
    program.steps = kept


def _conv(step: Step, tensors: list[Any]) -> Part | None:
    weight, bias = tensors[0], tensors[1] if len(tensors) > 1 else None
    options = step.options
    strides, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
    groups = options.get("group", 1)
    same = str(options.get("auto_pad", "NOTSET")).startswith("SAME")
    if weight is None or weight.dim() != 4 or (same and list(strides) != [1, 1]):
        return None  # SAME with strides depends on the image's size
    if groups < 1 or weight.shape[0] % groups or 0 in weight.shape:
        return None
    pads = window_pads(torch.empty(1, 1, 1, 1), list(weight.shape[2:]), strides, dilations, options)
    even = pads[:2] == pads[2:] and min(pads) >= 0
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        tuple(strides),
        tuple(pads[:2]) if even else 0,
        tuple(dilations),
        groups,
        bias is not None,
        device="meta",
    )
    names = dict(zip(("weight", "bias"), step.inputs[1:], strict=False))
    return Part(layer, {k: v for k, v in names.items() if v}, pads=() if even else tuple(pads))


def _norm(step: Step, tensors: list[Any]) -> Part | None:
    if len(tensors) != 4 or any(t is None or t.shape != tensors[0].shape for t in tensors):
        return None
    layer = nn.BatchNorm2d(len(tensors[0]), step.options.get("epsilon", 1e-5), device="meta")
    layer.num_batches_tracked = None
    names = ("weight", "bias", "running_mean", "running_var")
    return Part(layer, dict(zip(names, step.inputs[1:], strict=True)))


def _linear(step: Step, tensors: list[Any], program: Program, uses: Counter[str]) -> Part | None:
    weight, bias = tensors[0], tensors[1] if len(tensors) > 1 else None
    options = step.options
    if weight is None or weight.dim() != 2 or options.get("transA", 0) or options.get("alpha", 1.0) != 1:
        return None
    transposed = not options.get("transB", 0)
    n_out = weight.shape[1] if transposed else weight.shape[0]
    if bias is not None and (options.get("beta", 1.0) != 1 or bias.shape != (n_out,)):
        return None
    if transposed and step.inputs[1] in program.weights and uses[step.inputs[1]] > 1:
        return None  # one weight cannot lie both ways
    n_in = weight.shape[0] if transposed else weight.shape[1]
    layer = nn.Linear(n_in, n_out, bias is not None, device="meta")
    names = dict(zip(("weight", "bias"), step.inputs[1:], strict=False))
    return Part(layer, {k: v for k, v in names.items() if v}, transposed)
