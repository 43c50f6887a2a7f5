"""A torch module that runs an ONNX graph, differentiable in its image and, where asked, in its weights.

The graph is interpreted operator by operator (`onnx_ops`); nothing in the file is executed. What depends on constants alone is
worked out once, shape arithmetic once per input shape, on torch's `meta` device, which also tells how much memory the real run
will take. Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from bezoar.errors import LimitError
from bezoar.graphs.memory import available_bytes, gigabytes
from bezoar.graphs.onnx_ops import OPERATORS
from bezoar.graphs.onnx_parts import Part, fuse_bias, part_of
from bezoar.graphs.onnx_program import ERRORS, SMALL, Program, Step, as_numbers, compile_graph, failure
from bezoar.graphs.onnx_values import MAX_ELEMENTS, Attributes, NotTranslatedError

_PLANS = 8  # input shapes whose arithmetic is kept


@dataclass(slots=True)
class _Call:
    """A step with places in the list of values instead of names; `layer`, if any, does its work on the first input."""

    operator: str
    run: Callable[..., Any]
    options: Attributes
    inputs: list[int]
    outputs: list[int]
    layer: str = ""
    still: bool = False
    last: list[int] = field(default_factory=list)  # places that nothing reads after this


class OnnxModule(nn.Module):  # type: ignore[misc]
    """An ONNX graph with one varying input. `forward(x)` gives the outputs asked for, as a tuple.

    Convolutions, batch normalisations after them and products with a matrix are torch's own layers, in `layers`, where hooks and
    folding find them. The initializers named in `weights` are parameters, the others constants. InputError names an operator, or
    a use of one, that has no translation; LimitError says that memory does not suffice.
    """

    def __init__(self, model: Any, image: str, outputs: Sequence[str], weights: Collection[str] = ()) -> None:
        super().__init__()
        program = compile_graph(model, image, outputs, weights)
        fuse_bias(program, outputs)
        self.layers, self.weights, self.constants = nn.Module(), nn.Module(), nn.Module()
        self._parameters_by_name = {name: nn.Parameter(value) for name, value in program.weights.items()}
        self._sources: dict[str, tuple[str, bool]] = {}
        self._template: list[Any] = [None]  # what is known before the image is: plain numbers
        self._places: dict[str, int] = {"": 0}
        self._numbers: dict[str, int] = {"": 0}  # the same values, as lists of numbers
        self._stored: list[tuple[int, nn.Module, str]] = []  # places filled from parameters and buffers
        self._plans: dict[tuple[int, ...], list[Any]] = {}
        self._image = self._place(image)
        self._still = {name for step in program.steps if step.still for name in step.outputs}
        self._calls = self._build(program)
        self._number_of = {
            self._places[name]: place for name, place in self._numbers.items() if name in self._still
        }
        self._results = [self._places[program.aliases.get(name, name)] for name in outputs]
        self._find_last_reads()
        self._moving = [call for call in self._calls if not call.still]
        del self._parameters_by_name

    def forward(self, images: Any) -> tuple[Any, ...]:
        """Outputs for one batch, as the graph's input wants it."""
        shape = tuple(images.shape)
        values = list(self._plans[shape] if shape in self._plans else self._plan(shape))
        values[self._image] = images
        for place, module, name in self._stored:
            values[place] = getattr(module, name)
        layers = self.layers._modules
        for call in self._moving:
            try:
                if call.layer:
                    result = layers[call.layer](values[call.inputs[0]])
                else:
                    result = call.run([values[i] for i in call.inputs], call.options)
            except ERRORS as error:
                raise failure(call.operator, error) from error
            if len(call.outputs) == 1 and not isinstance(result, tuple):
                values[call.outputs[0]] = result
            else:
                for place, part in zip(call.outputs, _several(result), strict=False):
                    values[place] = part
            for place in call.last:
                values[place] = None
        return tuple(values[place] for place in self._results)

    def output_shapes(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Shapes of the outputs for an input of `shape`; nothing is run. LimitError where memory would not suffice."""
        self._plan(tuple(shape))
        return self._shapes

    @property
    def sources(self) -> dict[str, tuple[str, bool]]:
        """Names of the graph's weights, and of running statistics, to where `state_dict` has them, and whether transposed."""
        return dict(self._sources)

    def _build(self, program: Program) -> list[_Call]:
        calls: list[_Call] = []
        uses = program.uses()
        from_conv: set[str] = set()
        for step in program.steps:
            try:
                part = None if step.still else part_of(step, program, uses, step.inputs[0] in from_conv)
            except ERRORS as error:
                raise failure(step.operator, error) from error
            if part is None:
                operator = OPERATORS[step.operator]
                inputs = [
                    self._number_place(name, program, step)
                    if i in operator.numbers
                    else self._place(name, program)
                    for i, name in enumerate(step.inputs)
                ]
                outputs = [self._place(name) for name in step.outputs]
                calls.append(
                    _Call(step.operator, operator.run, step.options, inputs, outputs, still=step.still)
                )
                continue
            source = self._place(step.inputs[0])
            if part.pads:
                places = [source, self._new([0, 0, *part.pads[:2], 0, 0, *part.pads[2:]])]
                source = self._new(None)
                calls.append(_Call("Pad", OPERATORS["Pad"].run, {}, places, [source]))
            layer = self._add_layer(part, program, f"{len(calls)}_{_plain(step)}")
            outputs = [self._place(name) for name in step.outputs]
            calls.append(_Call(step.operator, _no_run, {}, [source], outputs, layer))
            if isinstance(part.layer, nn.Conv2d):
                from_conv.add(step.outputs[0])
        return calls

    def _add_layer(self, part: Part, program: Program, name: str) -> str:
        for attribute, source in part.sources.items():
            turned = part.transposed and attribute == "weight"
            weight = self._parameters_by_name.get(source)
            if weight is not None:
                setattr(part.layer, attribute, nn.Parameter(weight.detach().T) if turned else weight)
            else:
                constant = program.constants[source].to(torch.float32)
                measured = attribute in part.layer._buffers  # running statistics, which belong to the file
                delattr(part.layer, attribute)
                part.layer.register_buffer(attribute, constant.T if turned else constant, persistent=measured)
                if not measured:
                    continue
            self._sources[source] = (f"layers.{name}.{attribute}", turned)
        self.layers.add_module(name, part.layer.eval())
        return name

    def _new(self, value: Any) -> int:
        self._template.append(value)
        return len(self._template) - 1

    def _place(self, name: str, program: Program | None = None) -> int:
        """Where the value of a name stands; that of a weight or constant is stored on first use."""
        if name not in self._places:
            place = self._places[name] = self._new(None)
            key = f"{place}_{_word(name)}"
            if (parameter := self._parameters_by_name.get(name)) is not None:
                self.weights.register_parameter(key, parameter)
                self._sources[name] = (f"weights.{key}", False)
                self._stored.append((place, self.weights, key))
            elif program is not None and (constant := program.constants.get(name)) is not None:
                self.constants.register_buffer(key, constant, persistent=False)
                self._stored.append((place, self.constants, key))
        return self._places[name]

    def _number_place(self, name: str, program: Program, step: Step) -> int:
        if name not in self._numbers:
            known = program.fixed(name)
            if known is None and name not in self._still:
                raise failure(
                    step.operator, NotTranslatedError("a shape or index that depends on the pixels")
                )
            self._numbers[name] = self._new(as_numbers(known))
        return self._numbers[name]

    def _find_last_reads(self) -> None:
        kept = {0, *self._results}
        for call in reversed(self._calls):
            call.last = sorted(set(call.inputs) - kept)
            kept.update(call.inputs)

    def _plan(self, shape: tuple[int, ...]) -> list[Any]:
        """The values that follow from the input's shape; every operator is tried on tensors without contents."""
        with torch.inference_mode(False), torch.no_grad():
            values = list(self._template)
            ghosts: list[Any] = [None] * len(values)
            ghosts[self._image] = torch.empty(shape, device="meta")
            for place, module, name in self._stored:
                values[place] = getattr(module, name).detach()
                ghosts[place] = values[place].to("meta")
            self._known = 0
            sizes = [self._try(call, values, ghosts) for call in self._calls]
        free = available_bytes()
        needed = sum(sizes) if shape[0] == 1 else max(sizes, default=0)
        if needed > free:
            raise LimitError(
                f"the model needs {gigabytes(needed)} of memory for {shape[0]} images of shape {list(shape[1:])}; "
                f"this machine has {gigabytes(free)} free"
            )
        for place, _, _ in self._stored:
            values[place] = None
        self._shapes = [tuple(ghosts[place].shape) for place in self._results]
        if len(self._plans) >= _PLANS:
            self._plans.pop(next(iter(self._plans)))
        self._plans[shape] = values
        return values

    def _try(self, call: _Call, values: list[Any], ghosts: list[Any]) -> int:
        """Bytes of a call's results, which are put among the ghosts and, where they follow from the shape, the values."""
        try:
            if call.layer:
                layer = self.layers.get_submodule(call.layer)
                state = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
                ghost = {name: tensor.detach().to("meta") for name, tensor in state.items()}
                result = torch.func.functional_call(layer, ghost, (ghosts[call.inputs[0]],))
            else:
                sources = (values, ghosts) if call.still else (ghosts, values)
                given = [a if (a := sources[0][i]) is not None else sources[1][i] for i in call.inputs]
                if call.still:
                    self._foresee(call, given)
                result = call.run(given, call.options)
            results = _several(result)
            for place, part in zip(call.outputs, results, strict=False):
                ghosts[place] = part.to("meta")
                if call.still:
                    values[place] = part
                    if place in self._number_of:
                        values[self._number_of[place]] = as_numbers(part)
        except ERRORS as error:
            raise failure(call.operator, error) from error
        return sum(part.numel() * part.element_size() for part in results)

    def _foresee(self, call: _Call, given: list[Any]) -> None:
        """NotTranslatedError before arithmetic on shapes takes memory: all of it together is to be small."""
        tensors = [x for x in given if isinstance(x, torch.Tensor)]
        if OPERATORS[call.operator].numbers or sum(x.numel() for x in tensors) > SMALL:
            ghosts = [x.to("meta") if isinstance(x, torch.Tensor) else x for x in given]
            self._known += sum(part.numel() for part in _several(call.run(ghosts, call.options)))
            if self._known > MAX_ELEMENTS:
                raise NotTranslatedError("its result is too large")


def _several(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _no_run(inputs: list[Any], options: Attributes) -> Any:
    raise NotTranslatedError("it is a layer")


def _plain(step: Step) -> str:
    """A name for a step's layer: that of its weight, without the part that says that it is one."""
    return _word(step.inputs[1].removesuffix(".weight").removesuffix("/kernel") or step.operator)


def _word(name: str) -> str:
    """At most 60 letters, digits and underscores."""
    return re.sub(r"[^0-9A-Za-z]+", "_", name)[:60].strip("_")


class _ImageModule(nn.Module):  # type: ignore[misc]
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
