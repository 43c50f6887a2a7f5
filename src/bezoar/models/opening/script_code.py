"""TorchScript's code, interpreted: a subset of Python whose every operator is looked up in an allow list.

TorchScript serialises methods as Python syntax (https://docs.pytorch.org/docs/stable/jit_language_reference.html).
`torch.jit.load` compiles them, and whatever operator of whatever extension they name; here they are parsed with `ast` and
walked, so that nothing runs but the few kinds of statement below and the operators of `operators`. Imports torch: import this
module inside the function that needs it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from bezoar.errors import InputError, quoted
from bezoar.models.opening.limits import first_line
from bezoar.models.opening.operators import ATEN, SCALAR, aten, checked
from bezoar.models.opening.pickles import Object
from bezoar.models.opening.script_builtins import BUILTINS, LISTS, PRIMITIVES, PYTHON

_MAX_STEPS = 300_000  # statements in one forward pass
_FAST_PATH = "__torch__.torch.backends.mha.get_fastpath_enabled"  # leads to kernels that have no gradient

_IGNORED = {"device", "warn", "bernoulli_", "empty"}  # seen to elsewhere, or in branches that are not taken
_KNOWN = {f"torch.{name}" for name in ATEN | LISTS.keys() | PYTHON.keys() | _IGNORED} | {
    "ops.prim",
    *PRIMITIVES,
}
_CALLABLE = {"annotate", "unchecked_cast", "uninitialized", "getattr", *BUILTINS}

Sources = dict[str, str]


class Code:
    """The classes and functions of an archive's sources, by qualified name; every call in them is checked, nothing is run.

    `sources` maps file names such as "__torch__/torch/nn/modules/conv.py" to their text. InputError names what is refused.
    """

    def __init__(self, sources: Sources) -> None:
        self._definitions: dict[str, ast.ClassDef | ast.FunctionDef] = {}
        self._methods: dict[str, dict[str, ast.FunctionDef]] = {}
        for file, text in sources.items():
            try:
                tree = ast.parse(text)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise InputError(
                    f"its code {quoted(file)} is no TorchScript ({first_line(error)})"
                ) from error
            _check(tree, file)
            module = file.removesuffix(".py").replace("/", ".")
            for definition in tree.body:
                if isinstance(definition, ast.ClassDef | ast.FunctionDef):
                    self._definitions[f"{module}.{definition.name}"] = definition

    def __deepcopy__(self, memo: dict[int, Any]) -> Code:
        return self  # never changes

    def definition(self, name: str) -> ast.ClassDef | ast.FunctionDef:
        """A class or function by its qualified name; InputError when the archive has none."""
        try:
            return self._definitions[name]
        except KeyError:
            raise InputError(f"its code refers to {quoted(name)}, which the archive lacks") from None

    def method(self, owner: str, name: str) -> ast.FunctionDef:
        """A method of the class `owner`."""
        if owner not in self._methods:
            body = getattr(self.definition(owner), "body", [])
            self._methods[owner] = {item.name: item for item in body if isinstance(item, ast.FunctionDef)}
        try:
            return self._methods[owner][name]
        except KeyError:
            raise InputError(
                f"its code calls {quoted(owner)}.{quoted(name)}, which the archive lacks"
            ) from None

    def constant(self, owner: str, name: str) -> ast.expr:
        """What the class `owner` gives its attribute `name`."""
        for item in getattr(self.definition(owner), "body", []):
            if isinstance(item, ast.AnnAssign) and item.value and _dotted(item.target) == name:
                return item.value
        raise InputError(f"its code reads {quoted(name)} of {quoted(owner)}, which the archive lacks")

    def global_value(self, owner: str, name: str) -> Any:
        """A function of the module `owner`, or a member of the enumeration `owner`, which is its value."""
        enumeration = self._definitions.get(owner)
        if not isinstance(enumeration, ast.ClassDef):
            return _Function(f"{owner}.{name}")
        for item in enumeration.body:
            if isinstance(item, ast.Assign) and _dotted(item.targets[0]) == name:
                return ast.literal_eval(item.value)
        raise InputError(f"its code reads {quoted(name)} of {quoted(owner)}, which the archive lacks")

    def parameters(self, owner: str) -> set[str]:
        """Names of the tensors of class `owner` that training changes."""
        for item in getattr(self.definition(owner), "body", []):
            if isinstance(item, ast.Assign) and _dotted(item.targets[0]) == "__parameters__":
                try:
                    return {str(name) for name in ast.literal_eval(item.value)}
                except (ValueError, TypeError, RecursionError) as error:
                    raise InputError(f"its code lists the parameters of {quoted(owner)} wrongly") from error
        return set()


class Interpreter:
    """One forward pass on `device`, whatever device the file names.

    `tensor` gives what stands for a stored tensor, `constants` is the archive's table.
    """

    def __init__(
        self, code: Code, constants: list[Any], tensor: Callable[[Any], Any], device: torch.device
    ) -> None:
        self._code, self._constants, self._tensor, self._device = code, constants, tensor, device
        self._steps = 0

    def call_method(self, target: Object, name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
        """What the method `name` of `target` returns."""
        return self._call(self._code.method(target.name, name), [target, *arguments], options)

    def _call(self, function: ast.FunctionDef, arguments: list[Any], options: dict[str, Any]) -> Any:
        parameters = function.args.args
        defaults = function.args.defaults
        names = [parameter.arg for parameter in parameters]
        if len(arguments) > len(names) or not options.keys() <= set(names):
            raise InputError(f"its code calls {quoted(function.name)} with the wrong arguments")
        values = {
            name: self._evaluate(value, {})
            for name, value in zip(names[len(names) - len(defaults) :], defaults, strict=True)
        }
        values |= dict(zip(names, arguments, strict=False)) | options
        return next(self._run(function.body, values), None)

    def _run(self, statements: list[ast.stmt], names: dict[str, Any]) -> Iterator[Any]:
        """Run statements; what they return is yielded, and ends the caller."""
        for statement in statements:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise InputError(f"its code takes more than {_MAX_STEPS:,} steps for one batch")
            match statement:
                case ast.Assign(targets=[target], value=value):
                    _bind(target, self._evaluate(value, names), names)
                case ast.AnnAssign(target=target, value=value) if value is not None:
                    _bind(target, self._evaluate(value, names), names)
                case ast.Return(value=value):
                    yield None if value is None else self._evaluate(value, names)
                    return
                case ast.If(test=test, body=body, orelse=otherwise):
                    for result in self._run(body if self._truth(test, names) else otherwise, names):
                        yield result
                        return
                case ast.For(target=target, iter=items, body=body):
                    for item in self._evaluate(items, names):
                        _bind(target, item, names)
                        for result in self._run(body, names):
                            yield result
                            return
                case ast.While(test=test, body=body):
                    while self._truth(test, names):
                        for result in self._run(body, names):
                            yield result
                            return
                        self._steps += 1
                case ast.Expr(value=value):
                    self._evaluate(value, names)
                case ast.Pass() | ast.AnnAssign():
                    pass
                case _:
                    raise _unknown(statement)

    def _truth(self, test: ast.expr, names: dict[str, Any]) -> bool:
        return bool(self._evaluate(test, names))

    def _evaluate(self, expression: ast.expr, names: dict[str, Any]) -> Any:
        match expression:
            case ast.Name(id=name):
                return names[name] if name in names else _named(name)
            case ast.Constant(value=value):
                return value
            case ast.Attribute(value=ast.Name(id="CONSTANTS"), attr=name):
                return checked(self._tensor(self._constants[int(name.removeprefix("c"))]))
            case ast.Attribute(value=value, attr=name):
                owner = _dotted(value)
                if owner.startswith("__torch__"):
                    return self._code.global_value(owner, name)
                return self._attribute(self._evaluate(value, names), name)
            case ast.Call(func=function, args=arguments, keywords=keywords):
                return self._apply(function, arguments, keywords, names)
            case ast.List(elts=items):
                return checked([self._evaluate(item, names) for item in items])
            case ast.Tuple(elts=items):
                return checked(tuple(self._evaluate(item, names) for item in items))
            case ast.Dict(keys=[], values=[]):
                return {}
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return SCALAR["neg"](self._evaluate(operand, names))
            case ast.Subscript(value=value, slice=index):
                return self._evaluate(value, names)[self._evaluate(index, names)]
            case _:
                raise _unknown(expression)

    def _attribute(self, owner: Any, name: str) -> Any:
        if not isinstance(owner, Object):
            raise InputError(f"its code reads {quoted(name)} of something that is no module")
        if name == "training":
            return False
        if name in owner.state:
            return checked(self._tensor(owner.state[name]))
        return self._evaluate(self._code.constant(owner.name, name), {})

    def _apply(
        self,
        function: ast.expr,
        arguments: list[ast.expr],
        keywords: list[ast.keyword],
        names: dict[str, Any],
    ) -> Any:
        name = _dotted(function)
        root = name.partition(".")[0]
        if isinstance(function, ast.Name) and function.id in ("annotate", "unchecked_cast"):
            return self._evaluate(arguments[1], names)  # the first one is a type
        if isinstance(function, ast.Name) and function.id == "uninitialized":
            return None
        given = [self._evaluate(argument, names) for argument in arguments]
        options = {str(keyword.arg): self._evaluate(keyword.value, names) for keyword in keywords}
        if name == "torch.device":
            return self._device
        if root == "torch":
            return _operator(name.removeprefix("torch."), given, options)
        if root == "ops":
            return PRIMITIVES[name](*given, **options)
        if isinstance(function, ast.Name) and function.id == "getattr":
            return self._attribute(*given)
        if isinstance(function, ast.Name) and function.id not in names:
            return BUILTINS[function.id](*given, **options)
        if isinstance(function, ast.Attribute) and root != "__torch__":
            owner = self._evaluate(function.value, names)
            if not isinstance(owner, Object):
                raise InputError(f"its code calls {quoted(function.attr)} of something that is no module")
            return self.call_method(owner, function.attr, given, options)
        return self._function(self._evaluate(function, names), given, options)

    def _function(self, function: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        if not isinstance(function, _Function):
            raise InputError("its code calls something that is no function")
        if function.name == _FAST_PATH:
            return False
        definition = self._code.definition(function.name)
        if isinstance(definition, ast.ClassDef):
            if [_dotted(base) for base in definition.bases] != ["NamedTuple"]:
                raise InputError(f"its code makes a {quoted(function.name)} while it runs")
            return (*arguments, *options.values())
        return self._call(definition, arguments, options)


@dataclass(frozen=True)
class _Function:
    """A function of the archive, by its qualified name."""

    name: str


def _operator(name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
    """One operator `torch.NAME`: of Python where its arguments are, else of ATen."""
    if name in LISTS:
        return checked(LISTS[name](*arguments, **options))
    if name in PYTHON and (isinstance(arguments[0], list) or not any(map(_is_tensor, arguments))):
        return checked(PYTHON[name](*arguments, **options))
    if name == "warn":
        return None
    return aten(name)(*arguments, **options)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _bind(target: ast.expr, value: Any, names: dict[str, Any]) -> None:
    match target:
        case ast.Name(id=name):
            names[name] = value
        case ast.Tuple(elts=targets):
            for part, item in zip(targets, value, strict=True):
                _bind(part, item, names)
        case _:
            raise InputError("its code changes the model while it runs; save it in evaluation mode")


def _named(name: str) -> Any:
    if name in ("inf", "nan"):
        return float(name)
    raise InputError(f"its code uses {quoted(name)} before it has a value")


def _dotted(expression: ast.expr) -> str:
    """The name "a.b.c"; "" where the expression is more than that."""
    if isinstance(expression, ast.Attribute):
        owner = _dotted(expression.value)
        return f"{owner}.{expression.attr}" if owner else ""
    return expression.id if isinstance(expression, ast.Name) else ""


def _unknown(node: ast.AST) -> InputError:
    return InputError(f"its code has a Python {type(node).__name__}, which TorchScript does not write")


def _check(tree: ast.Module, file: str) -> None:
    """InputError for code that could do more than arithmetic when torch itself loads it: a repaired file holds it again."""
    nodes = list(ast.walk(tree))
    owners = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        match node:
            case ast.FunctionDef(name="__setstate__" | "__getstate__" as name):
                raise InputError(f"its code {quoted(file)} runs when the model is loaded ({name})")
            case ast.Attribute():
                name = _dotted(node)
                if name.startswith(("torch.", "ops.")) and name not in _KNOWN:
                    raise _refused(name)
            case ast.Name(id="torch" | "ops" as name) if id(node) not in owners:
                raise _refused(name)
            case ast.Call(func=ast.Name(id=name)) if name not in _CALLABLE and not name.startswith("_"):
                raise _refused(name)


def _refused(name: str) -> InputError:
    return InputError(
        f"its code uses {quoted(name)}, which is no plain arithmetic on tensors; nothing was run"
    )
