"""A torch module that runs an ONNX graph, so that attacks can follow its gradient.

The graph is interpreted operator by operator (see `onnx_ops`); nothing in the file is executed. Imports
torch: import this module inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bezoar.errors import InputError
from bezoar.graphs.onnx_ops import OPERATORS, NotTranslatedError, attributes, to_tensor

_DOMAINS = ("", "ai.onnx")


class OnnxModule(torch.nn.Module):  # type: ignore[misc]
    """An ONNX graph with one varying input. `forward(x)` gives the outputs asked for, as a tuple.

    Weights are buffers: they move with `.to(device)` and are not trained. InputError names an operator, or
    a use of one, that has no translation.
    """

    def __init__(self, model: Any, image: str, outputs: Sequence[str]) -> None:
        super().__init__()
        opset = max((entry.version for entry in model.opset_import if entry.domain in _DOMAINS), default=1)
        self._image, self._outputs = image, tuple(outputs)
        self._weights: dict[str, str] = {}  # ONNX names may hold dots, buffer names may not
        for tensor in model.graph.initializer:
            self._weights[tensor.name] = f"weight_{len(self._weights)}"
            self.register_buffer(self._weights[tensor.name], to_tensor(tensor))
        produced = {image, "", *self._weights}
        self._steps = []
        for node in model.graph.node:
            if node.domain not in _DOMAINS or node.op_type not in OPERATORS:
                raise InputError(f"ONNX operator {node.op_type!r} has no translation to torch")
            if absent := set(node.input) - produced:
                raise InputError(
                    f"ONNX operator {node.op_type!r} reads {min(absent)!r}, which nothing produces"
                )
            produced |= set(node.output)
            self._steps.append((node.op_type, list(node.input), list(node.output), attributes(node, opset)))
        if absent := set(outputs) - produced:
            raise InputError(f"the ONNX graph has no output {min(absent)!r}")

    def forward(self, images: Any) -> tuple[Any, ...]:
        """Outputs for one batch, as the graph's input wants it."""
        values = {name: getattr(self, buffer) for name, buffer in self._weights.items()}
        values[self._image] = images
        values[""] = None  # an optional input that is left out
        for operator, inputs, outputs, options in self._steps:
            try:
                result = OPERATORS[operator]([values[name] for name in inputs], options)
            except (RuntimeError, IndexError, TypeError, ValueError, KeyError, NotTranslatedError) as error:
                reason = (str(error).splitlines() or [""])[0][:200]
                raise InputError(f"ONNX operator {operator!r} cannot be run in torch ({reason})") from error
            several = result if isinstance(result, tuple) else (result,)
            values.update(zip(outputs, several, strict=False))
        return tuple(values[name] for name in self._outputs)


class _ImageModule(torch.nn.Module):  # type: ignore[misc]
    """Images (N, 3, H, W) to features (N, D)."""

    def __init__(self, graph: OnnxModule, channels_last: bool) -> None:
        super().__init__()
        self.graph, self._channels_last = graph, channels_last

    def forward(self, images: Any) -> Any:
        (features,) = self.graph(images.permute(0, 2, 3, 1) if self._channels_last else images)
        return features.flatten(1)


def image_module(model: Any, image: str, output: str, channels_last: bool) -> Any:
    """A module from images (N, 3, H, W) in [0, 1] to one output, (N, D), in evaluation mode."""
    return _ImageModule(OnnxModule(model, image, [output]), channels_last).eval()
