"""From an ONNX graph to the steps that are left when all that depends on constants alone has been worked out. Imports torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from bezoar.errors import InputError, quoted
from bezoar.graphs.onnx_file import inlined, stored
from bezoar.graphs.onnx_ops import OPERATORS
from bezoar.graphs.onnx_values import (
    MAX_ELEMENTS,
    Attributes,
    NotTranslatedError,
    Operator,
    attributes,
    to_tensor,
)

DOMAINS = ("", "ai.onnx")
ERRORS = (
    RuntimeError,
    IndexError,
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    NotTranslatedError,
)  # what torch raises for a use of an operator that makes no sense
_MAX_FOLDED = 16 * MAX_ELEMENTS  # elements of all that is worked out beforehand
_MAX_NUMBERS = 2**16
SMALL = 4096  # elements of inputs whose result need not be foreseen


@dataclass(slots=True)
class Step:
    """One operator: names of what it reads ("": left out) and makes. `still`: it follows from the input's shape alone."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    options: Attributes
    still: bool = False


@dataclass(slots=True)
class Program:
    """Steps in order; the tensors they read by name: weights, and constants; names that several steps may share."""

    steps: list[Step] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def uses(self) -> Counter[str]:
        """How many steps read each name."""
        return Counter(name for step in self.steps for name in step.inputs)

    def fixed(self, name: str) -> torch.Tensor | None:
        """The weight or constant of this name."""
        return self.weights.get(name, self.constants.get(name))


def compile_graph(model: Any, image: str, outputs: Sequence[str], weights: Collection[str]) -> Program:
    """The program of the part of a graph that `outputs` depend on; InputError names what cannot be translated."""
    model = inlined(model)
    opset = max((entry.version for entry in model.opset_import if entry.domain in DOMAINS), default=1)
    nodes = _needed(model.graph, outputs)
    tensors = dict(stored(model.graph))
    program = Program()
    still: dict[str, bool] = {image: False}  # of what varies: whether it follows from the input's shape alone
    folded = 0
    for name in {name for node in nodes for name in node.input if name in tensors} - {image}:
        (program.weights if name in weights else program.constants)[name] = to_tensor(tensors[name])
    for node in nodes:
        step = _step(node, opset, program)
        if step is None:
            continue
        if absent := [n for n in step.inputs if n and n not in still and program.fixed(n) is None]:
            raise InputError(
                f"ONNX operator {quoted(node.op_type)} reads {quoted(absent[0])}, which nothing produces"
            )
        shape_of_varying = step.operator in ("Shape", "Size") and step.inputs[0] in still
        step.still = shape_of_varying or all(
            still.get(name, name not in program.weights) for name in step.inputs
        )
        if not step.still and step.options.get("training_mode", 0) and step.inputs[0] in still:
            raise failure(step.operator, NotTranslatedError("in training mode; export it in evaluation mode"))
        if shape_of_varying or any(name in still or name in program.weights for name in step.inputs):
            program.steps.append(step)
            still |= dict.fromkeys(step.outputs, step.still)
            continue
        results = fold(step, [program.constants.get(name) for name in step.inputs])
        folded += sum(result.numel() for result in results)
        if folded > _MAX_FOLDED:
            raise InputError("the ONNX graph's constants are too large")
        program.constants |= dict(zip(step.outputs, results, strict=False))
    if absent := [name for name in outputs if program.aliases.get(name, name) not in still]:
        raise InputError(f"the ONNX graph has no output {quoted(absent[0])} that depends on the image")
    read = set(program.uses())
    program.constants = {name: value for name, value in program.constants.items() if name in read}
    return program


def failure(operator: str, error: BaseException) -> InputError:
    """One line on an operator that did not run."""
    reason = " ".join((str(error).splitlines() or [""])[0].split())[:200]
    return InputError(f"ONNX operator {quoted(operator)} cannot be run in torch ({reason})")


def as_numbers(tensor: Any) -> Any:
    """A list of plain numbers; None where an input is left out. InputError where they are more than a shape or axes can be."""
    if tensor is not None and tensor.numel() > _MAX_NUMBERS:
        raise InputError(f"the ONNX graph has a shape of {tensor.numel():,} numbers")
    return None if tensor is None else tensor.reshape(-1).tolist()


def fold(step: Step, inputs: list[Any]) -> tuple[Any, ...]:
    """What a step makes of constants; its size is looked at before it takes any memory."""
    operator = OPERATORS[step.operator]
    given = [as_numbers(x) if i in operator.numbers else x for i, x in enumerate(inputs)]
    try:
        if operator.numbers or sum(x.numel() for x in given if x is not None) > SMALL:
            likely = _run(operator, [x.to("meta") if isinstance(x, torch.Tensor) else x for x in given], step)
            if sum(result.numel() for result in likely) > MAX_ELEMENTS:
                raise NotTranslatedError("its result is too large")
        with torch.inference_mode(False), torch.no_grad():
            return _run(operator, given, step)
    except ERRORS as error:
        raise failure(step.operator, error) from error


def _run(operator: Operator, inputs: list[Any], step: Step) -> tuple[Any, ...]:
    result = operator.run(inputs, step.options)
    return result if isinstance(result, tuple) else (result,)


def _step(node: Any, opset: int, program: Program) -> Step | None:
    """The node as a step; None for one that only gives a known tensor another name."""
    name = node.op_type
    if node.domain not in DOMAINS:
        raise InputError(f"ONNX operator {quoted(f'{node.domain}.{name}')} has no translation to torch")
    if name in ("If", "Loop", "Scan"):
        raise InputError(
            f"ONNX operator {name!r} has no translation to torch: graphs within graphs are not followed"
        )
    if name not in OPERATORS:
        raise InputError(f"ONNX operator {quoted(name)} has no translation to torch")
    _check_arity(node, opset)
    inputs = [program.aliases.get(given, given) for given in node.input]
    if name == "Constant" and node.output and program.fixed(node.output[0]) is not None:
        return None
    if name in ("Identity", "Dropout") and inputs and inputs[0]:
        program.aliases[node.output[0]] = inputs[0]
        return None
    try:
        return Step(name, inputs, list(node.output), attributes(node, opset))
    except ERRORS as error:
        raise failure(name, error) from error


def _check_arity(node: Any, opset: int) -> None:
    """InputError where the operator is not of this version of ONNX, or has too few or too many inputs or outputs."""
    from onnx import defs

    try:
        schema = defs.get_schema(node.op_type, opset, "")
    except defs.SchemaError as error:
        raise InputError(f"ONNX operator {quoted(node.op_type)} is not part of opset {opset}") from error
    if not (
        schema.min_input <= len(node.input) <= schema.max_input
        and schema.min_output <= len(node.output) <= schema.max_output
    ):
        raise InputError(
            f"ONNX operator {quoted(node.op_type)} has {len(node.input)} inputs and {len(node.output)} outputs, "
            "which it cannot have"
        )


def _needed(graph: Any, outputs: Sequence[str]) -> list[Any]:
    """The nodes that the outputs depend on, in the graph's order."""
    wanted = set(outputs)
    nodes = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output) - {""}:
            wanted.update(node.input)
            nodes.append(node)
    return nodes[::-1]
