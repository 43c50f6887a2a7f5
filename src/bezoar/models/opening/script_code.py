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

from bezoar.errors import InputError
from bezoar.models.opening.limits import first_line, quoted
from bezoar.models.opening.operators import ATEN, SCALAR, aten, checked
from bezoar.models.opening.pickles import Object

_MAX_STEPS = 300_000  # statements in one forward pass
_FAST_PATH = "__torch__.torch.backends.mha.get_fastpath_enabled"  # leads to kernels that have no gradient

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
            if isinstance(item, ast.AnnAssign) and item.value and ast.unparse(item.target) == name:
                return item.value
        raise InputError(f"its code reads {quoted(name)} of {quoted(owner)}, which the archive lacks")

    def global_value(self, owner: str, name: str) -> Any:
        """A function of the module `owner`, or a member of the enumeration `owner`, which is its value."""
        enumeration = self._definitions.get(owner)
        if not isinstance(enumeration, ast.ClassDef):
            return _Function(f"{owner}.{name}")
        for item in enumeration.body:
            if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == name:
                return ast.literal_eval(item.value)
        raise InputError(f"its code reads {quoted(name)} of {quoted(owner)}, which the archive lacks")

    def parameters(self, owner: str) -> set[str]:
        """Names of the tensors of class `owner` that training changes."""
        for item in getattr(self.definition(owner), "body", []):
            if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "__parameters__":
                return {str(name) for name in ast.literal_eval(item.value)}
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
                return self._tensor(self._constants[int(name.removeprefix("c"))])
            case ast.Attribute(value=value, attr=name):
                if _root(expression) == "__torch__":
                    return self._code.global_value(ast.unparse(value), name)
                return self._attribute(self._evaluate(value, names), name)
            case ast.Call(func=function, args=arguments, keywords=keywords):
                return self._apply(function, arguments, keywords, names)
            case ast.List(elts=items):
                return [self._evaluate(item, names) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self._evaluate(item, names) for item in items)
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
            return self._tensor(owner.state[name])
        return self._evaluate(self._code.constant(owner.name, name), {})

    def _apply(
        self,
        function: ast.expr,
        arguments: list[ast.expr],
        keywords: list[ast.keyword],
        names: dict[str, Any],
    ) -> Any:
        root = _root(function)
        name = ast.unparse(function) if root in _NAMESPACES else ""
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
            return _PRIMITIVES[name](*given, **options)
        if isinstance(function, ast.Name) and function.id == "getattr":
            return self._attribute(*given)
        if isinstance(function, ast.Name) and function.id not in names:
            return _BUILTINS[function.id](*given, **options)
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
            if [ast.unparse(base) for base in definition.bases] != ["NamedTuple"]:
                raise InputError(f"its code makes a {quoted(function.name)} while it runs")
            return (*arguments, *options.values())
        return self._call(definition, arguments, options)


@dataclass(frozen=True)
class _Function:
    """A function of the archive, by its qualified name."""

    name: str


def _operator(name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
    """One operator `torch.NAME`: of Python where its arguments are, else of ATen."""
    if name in _LISTS:
        return checked(_LISTS[name](*arguments, **options))
    if name in _PYTHON and (isinstance(arguments[0], list) or not any(map(_is_tensor, arguments))):
        return checked(_PYTHON[name](*arguments, **options))
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


def _root(expression: ast.expr) -> str | None:
    while isinstance(expression, ast.Attribute):
        expression = expression.value
    return expression.id if isinstance(expression, ast.Name) else None


def _unknown(node: ast.AST) -> InputError:
    return InputError(f"its code has a Python {type(node).__name__}, which TorchScript does not write")


def _check(tree: ast.Module, file: str) -> None:
    """InputError for code that could do more than arithmetic when torch itself loads it: a repaired file holds it again."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in ("__setstate__", "__getstate__"):
            raise InputError(f"its code {quoted(file)} runs when the model is loaded ({quoted(node.name)})")
        if isinstance(node, ast.Call):
            name, root = ast.unparse(node.func), _root(node.func)
            known = {"torch": _KNOWN, "ops": _PRIMITIVES.keys()}.get(root or "")
            if known is not None and name.removeprefix("torch.") not in known:
                raise InputError(
                    f"its code calls {quoted(name)}, which is no plain arithmetic on tensors; nothing was run"
                )
            if isinstance(node.func, ast.Name) and name not in _CALLABLE and not name.startswith("_"):
                raise InputError(f"its code calls {quoted(name)}, which TorchScript does not have")


def _slice(items: Any, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return items[start:end:step]


def _raise(message: str, *_: str) -> None:
    raise InputError(f"its own code refuses this input ({quoted(message)})")


def _size(tensor: Any, axis: int | None = None) -> Any:
    return list(tensor.shape) if axis is None else tensor.shape[axis]


def _set_item(items: Any, key: Any, value: Any) -> None:
    items[key] = value


_NAMESPACES = ("torch", "ops")
_LISTS: dict[str, Callable[..., Any]] = {  # of lists, and facts about tensors
    "len": len,
    "size": _size,
    "dim": lambda tensor: tensor.dim(),
    "numel": lambda tensor: tensor.numel(),
    "append": lambda items, item: items.append(item),
    "format": lambda text, *_: text,
    "__is__": lambda a, b: a is b,
    "__isnot__": lambda a, b: a is not b,
    "__not__": lambda value: not value,
    "__contains__": lambda items, item: item in items,
    "__getitem__": lambda items, key: items[key],
    "_set_item": _set_item,
    "is_floating_point": lambda tensor: tensor.is_floating_point(),
    "is_complex": lambda tensor: tensor.is_complex(),
    "is_grad_enabled": lambda: True,
    "is_autocast_enabled": lambda *_: False,
    "is_autocast_cpu_enabled": lambda: False,
    "item": lambda tensor: tensor.item(),
    "Int": int,
    "Float": float,
    "Bool": bool,
    "IntImplicit": int,
    "FloatImplicit": float,
    "ScalarImplicit": lambda tensor: tensor.item(),
    "list": list,
    "keys": list,
    "values": lambda mapping: list(mapping.values()),
    "items": lambda mapping: list(mapping.items()),
}
_PYTHON: dict[str, Callable[..., Any]] = SCALAR | {
    "__and__": lambda a, b: a & b,
    "__or__": lambda a, b: a | b,
    "__xor__": lambda a, b: a ^ b,
    "slice": _slice,
    "copy": list,
}
_BUILTINS: dict[str, Callable[..., Any]] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": lambda value: "",  # only for messages
    "len": len,
    "range": range,
}
_PRIMITIVES: dict[str, Callable[..., Any]] = {
    "ops.prim.NumToTensor": torch.tensor,
    "ops.prim.RaiseException": _raise,
    "ops.prim.data": lambda tensor: tensor.detach(),
    "ops.prim.device": lambda tensor: tensor.device,
    "ops.prim.dtype": lambda tensor: tensor.dtype,
    "ops.prim.is_cuda": lambda tensor: False,
    "ops.prim.is_nested": lambda tensor: False,
    "ops.prim.is_quantized": lambda tensor: False,
    "ops.prim.max": lambda *values: SCALAR["max"](*values) if len(values) > 1 else max(*values),
    "ops.prim.min": lambda *values: SCALAR["min"](*values) if len(values) > 1 else min(*values),
    "ops.prim.requires_grad": lambda tensor: tensor.requires_grad,
    "ops.prim.type": lambda device: device.type,
    "ops.prim.unchecked_unwrap_optional": lambda value: value,
}
_IGNORED = {"device", "warn", "bernoulli_", "empty"}  # seen to elsewhere, or in branches that are not taken
_KNOWN = ATEN | _LISTS.keys() | _PYTHON.keys() | _IGNORED
_CALLABLE = {"annotate", "unchecked_cast", "uninitialized", "getattr", *_BUILTINS}
