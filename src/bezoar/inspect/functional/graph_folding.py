"""Folding batch normalisation in a graph of ATen operators, as `torch.export` writes it. Imports torch."""

from __future__ import annotations

import torch
from torch import fx, nn

_CONV = {torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding}
_NORM = {
    torch.ops.aten.batch_norm.default: (1, 2, 3, 4, 7),  # where weight, bias, mean, variance, epsilon stand
    torch.ops.aten._native_batch_norm_legit_no_training.default: (1, 2, 3, 4, 6),
}


def fold_graph(module: fx.GraphModule) -> None:
    """Fold, in place, every normalisation that is the only reader of a convolution's output."""
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.target in _NORM:
            conv = node.args[0]
            if isinstance(conv, fx.Node) and conv.target in _CONV and len(conv.users) == 1:
                _fold(module, conv, node)
    module.graph.eliminate_dead_code()
    module.recompile()


def _fold(module: fx.GraphModule, conv: fx.Node, norm: fx.Node) -> None:
    places = _NORM[norm.target]
    weight, bias, mean, variance = (_tensor(module, norm.args[place]) for place in places[:4])
    kernel = _tensor(module, conv.args[1])
    offset = _tensor(module, conv.args[2]) if len(conv.args) > 2 else None
    if kernel is None or mean is None or variance is None:
        return
    fused = nn.utils.fusion.fuse_conv_bn_weights(
        kernel, offset, mean, variance, norm.args[places[4]], weight, bias
    )
    names = [f"_folded_{conv.name}_{part}" for part in ("weight", "bias")]
    with module.graph.inserting_before(conv):
        attributes = []
        for name, tensor in zip(names, fused, strict=True):
            module.register_buffer(name, tensor.detach())
            attributes.append(module.graph.get_attr(name))
    conv.args = (conv.args[0], *attributes, *conv.args[3:])
    if norm.target is torch.ops.aten.batch_norm.default:
        norm.replace_all_uses_with(conv)
        return
    for user in list(norm.users):  # it gives a tuple, whose first item is the output
        if user.target.__name__ == "getitem" and user.args[1] == 0:
            user.replace_all_uses_with(conv)


def _tensor(module: fx.GraphModule, node: object) -> torch.Tensor | None:
    """The constant behind an attribute node."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: object = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value if isinstance(value, torch.Tensor) else None
