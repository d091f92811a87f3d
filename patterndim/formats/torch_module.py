"""
PyTorch modules, followed by torch.fx.

All parameters count, frozen or not.  The inputs are flat, (N, n_0): of a module that begins by
flattening images, the flattened ones.  Several threads may load modules at once, but none may
run modules of its own meanwhile, as torch.fx changes torch.nn.Module while it traces.
"""

from dataclasses import replace
from inspect import signature
from threading import RLock
from typing import Any

from patterndim.errors import ArgumentError
from patterndim.formats.framework import framework, made_by
from patterndim.formats.imported import Dense, Imported, plain, with_head
from patterndim.formats.sums import Program, Value
from patterndim.formats.torch_memory import changed_and_read, sharing, tracer
from patterndim.formats.verification import verified
from patterndim.typing import AnyArray, FloatArray

SUFFIXES: tuple[str, ...] = ()
SOURCE = "torch.nn.Module"

#: While torch.fx traces, no other thread can run a module: it changes torch.nn.Module for all.
TRACING = RLock()

#: Stand in the graph for the sizes of an array, and for the number of inputs.
SIZES, BATCH = "sizes", "number of inputs"

#: Operation of each kind of module, and the attributes that it takes as options.
MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Linear": ("linear", ()),
    "ReLU": ("relu", ()),
    "LeakyReLU": ("leaky_relu", ("negative_slope",)),
    "Identity": ("contiguous", ()),
    "Dropout": ("dropout", ("p", "training")),
    "Flatten": ("flatten", ("start_dim", "end_dim")),
    "Softmax": ("softmax", ("dim",)),
    "LogSoftmax": ("log_softmax", ("dim",)),
    "Sigmoid": ("sigmoid", ()),
}


def recognises(source: object) -> bool:
    """Whether this is a module of torch."""
    return made_by(source, "torch.nn", "Module")


def read(source: Any) -> Imported:
    """Network of a module."""
    with TRACING:
        return _read(source)


def _read(source: Any) -> Imported:
    source = getattr(source, "_orig_mod", source)  # what torch.compile has wrapped
    torch = framework("torch", "torch")
    arrays = _parameters(source)
    for name, module in source.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            raise ArgumentError(f"{SOURCE} must have no hooks, got some at {name!r}")
    fx = framework("torch.fx", "torch")
    try:
        traced = fx.GraphModule(source, tracer(fx).trace(source))
    except Exception as error:  # whatever the module's own code raises
        raise ArgumentError(f"{SOURCE} must be traceable by torch.fx, got {error}") from error
    if changed := changed_and_read(traced):
        raise ArgumentError(
            f"{SOURCE} must not read what it has changed in place, got {changed[0]!r} read again "
            f"by {changed[1]!r}"
        )
    traced.graph.eliminate_dead_code()
    operations = Operations(arrays)
    value = _follow(traced, operations)
    imported = operations.program.finish(value)
    if unused := arrays.keys() - {parameter.name for parameter in imported.parameters}:
        raise ArgumentError(f"{SOURCE} must use all its parameters, got {min(unused)!r} unused")
    order = {name: position for position, name in enumerate(arrays)}
    listed = sorted(imported.parameters, key=lambda parameter: order[parameter.name])
    tensor = next(source.parameters())

    def outputs(X: FloatArray) -> AnyArray:
        with TRACING, torch.no_grad():
            inputs = torch.tensor(X, dtype=tensor.dtype, device=tensor.device)  # a copy
            return plain("outputs", source(inputs))

    def double(X: FloatArray) -> AnyArray:
        state = {name: value.double() for name, value in source.named_parameters()}
        with torch.no_grad():
            inputs = torch.tensor(X, dtype=torch.float64, device=tensor.device)  # a copy
            return plain("outputs", torch.func.functional_call(source, state, (inputs,)))

    imported = with_head(replace(imported, parameters=tuple(listed)), value.head, outputs)
    # In float64 the comparison is sharp, whatever the precision of the module.
    return verified(imported, double, precision="float64")


def _parameters(module: Any) -> dict[str, AnyArray]:
    """Arrays of a module in the order in which it lists them; none may have two names."""
    tensors = list(module.named_parameters(remove_duplicate=False))
    for name, tensor in tensors:
        if made_by(tensor, "torch.nn.parameter", "UninitializedParameter"):
            raise ArgumentError(f"{SOURCE} must have been run once, got {name!r} of no shape yet")
        if tensor.device.type == "meta" or not tensor.is_floating_point():
            raise ArgumentError(
                f"{SOURCE} must hold real numbers, got {name!r} of {tensor.dtype} "
                f"on {tensor.device.type}"
            )
    if shared := sharing(tensors):
        raise ArgumentError(
            f"{SOURCE} must not share parameters, got {shared[0]!r} again as {shared[1]!r}"
        )
    return {name: plain(name, tensor) for name, tensor in tensors}


def _follow(traced: Any, operations: "Operations") -> Value:
    """Value that a traced module returns."""
    values: dict[Any, Any] = {}
    evaluated = framework("torch.fx", "torch").node.map_arg
    *body, end = traced.graph.nodes
    for node in body:
        arguments = evaluated(node.args, values.__getitem__)
        options = dict(evaluated(node.kwargs, values.__getitem__))
        if node.op == "placeholder":
            if values:
                raise ArgumentError(f"{SOURCE} must take one input, got also {node.target!r}")
            values[node] = operations.program.input
        elif node.op == "get_attr":
            values[node] = node.target
        elif node.op == "call_module":
            module = traced.get_submodule(node.target)
            where = f"layer {node.target!r} of type {type(module).__name__}"
            operation, given = _operation(node.target, module)
            values[node] = operations.apply(where, operation, arguments, {**options, **given})
        else:
            operation = node.target if node.op == "call_method" else _function(node.target)
            where = f"{node.op.removeprefix('call_')} {operation!r} as {node.name!r}"
            values[node] = operations.apply(where, operation, arguments, options)
    value = evaluated(end.args[0], values.__getitem__)
    if not isinstance(value, Value):
        raise ArgumentError(f"{SOURCE} must return one array, got {end.args[0]}")
    return value


def _function(target: Any) -> str:
    """Name of a function, if it is one of torch or of Python."""
    home = getattr(target, "__module__", None) or "torch"
    known = home.partition(".")[0] in ("torch", "_operator", "builtins")
    return str(target.__name__) if known else f"{home}.{target.__name__}"


def _operation(path: str, module: Any) -> tuple[str, dict[str, Any]]:
    """Operation that a module is, and its options."""
    own = "forward" in vars(module)  # somebody has replaced it
    if own or not type(module).__module__.startswith("torch.nn.modules."):
        return "", {}
    operation, attributes = MODULES.get(type(module).__name__, ("", ()))
    given = {name: getattr(module, name) for name in attributes}
    if operation == "linear":
        given["weight"] = f"{path}.weight"
        given["bias"] = None if module.bias is None else f"{path}.bias"
    return operation, given


class Operations:
    """What the functions and methods of torch do; the arguments are named as there."""

    def __init__(self, arrays: dict[str, AnyArray]) -> None:
        self.program = Program(SOURCE)
        self.arrays = arrays
        self.where = ""

    def apply(self, where: str, name: str, arguments: Any, options: dict[str, Any]) -> Any:
        """Apply an operation by its name in torch; in-place ones end in an underscore."""
        self.where = where
        operation = getattr(self, f"op_{name.rstrip('_')}", None)
        if operation is None:
            raise self.refuse("which is none of these")
        try:
            given = {option: value for option, value in options.items() if value is not None}
            bound = signature(operation).bind(*arguments, **given)
        except TypeError as error:
            raise self.refuse(f"with arguments that are not supported: {error}") from error
        if name != "getitem" and not isinstance(next(iter(bound.arguments.values())), Value):
            raise self.refuse("which must act on an array that depends on the input")
        return operation(*bound.args, **bound.kwargs)

    def refuse(self, why: str) -> ArgumentError:
        """Return the error that names the operation."""
        return self.program.refuse(self.where, why)

    def op_linear(self, input: Value, weight: object, bias: object = None) -> Value:
        """``F.linear`` and ``nn.Linear``."""
        names = [weight] if bias is None else [weight, bias]
        if not all(isinstance(name, str) and name in self.arrays for name in names):
            raise self.refuse("whose weight and bias must be parameters")
        vector = None if bias is None else self.arrays[str(bias)]
        dense = Dense(str(weight), self.arrays[str(weight)], False, str(bias), vector)
        return self.program.dense(input, dense, self.where)

    def op_relu(self, input: Value, inplace: bool = False) -> Value:
        """ReLU."""
        return self.program.relu(input, 0.0, self.where)

    def op_leaky_relu(
        self, input: Value, negative_slope: float = 0.01, inplace: bool = False
    ) -> Value:
        """Leaky ReLU."""
        return self.program.relu(input, float(negative_slope), self.where)

    def op_add(self, input: Value, other: object, *, alpha: object = 1) -> Value:
        """Sum of two arrays of the graph."""
        if not isinstance(other, Value) or alpha != 1:
            raise self.refuse("which must add two arrays that depend on the input")
        return self.program.add(input, other, self.where)

    op_iadd = op_add

    def op_contiguous(self, input: Value) -> Value:
        """Nothing."""
        return input

    def op_dropout(
        self, input: Value, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Value:
        """Nothing, outside of training."""
        if training and p > 0:
            raise self.refuse("which is random: call eval() first")
        return input

    def op_flatten(self, input: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
        """Nothing, as arrays are flat already."""
        if start_dim != 1 or end_dim not in (-1, 1):
            raise self.refuse("which must keep the inputs apart, with start_dim=1")
        return input

    def op_view(self, input: Value, *shape: object) -> Value:
        """Nothing, as arrays are flat already; a wrong width does not fit the next layer."""
        sizes = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        if len(sizes) != 2 or not (sizes[0] is BATCH or (sizes[0] == -1 and sizes[1] != -1)):
            raise self.refuse(f"which must keep (N, n), got sizes {tuple(sizes)}")
        return input

    op_reshape = op_view

    def op_size(self, input: Value, dim: int | None = None) -> object:
        """All sizes, or the number of inputs."""
        return SIZES if dim is None else self.op_getitem(SIZES, dim)

    def op_getattr(self, input: Value, name: str) -> object:
        """``shape`` only."""
        if name != "shape":
            raise self.refuse(f"of {name!r}")
        return SIZES

    def op_getitem(self, sizes: object, index: object) -> object:
        """Return the number of inputs, from all sizes."""
        if sizes is not SIZES or index != 0:
            raise self.refuse("which must be the number of inputs, x.shape[0]")
        return BATCH

    def op_softmax(self, input: Value, dim: object = None, _stacklevel: int = 3) -> Value:
        """Softmax over the outputs."""
        return self._head(input, "softmax", dim)

    def op_log_softmax(self, input: Value, dim: object = None, _stacklevel: int = 3) -> Value:
        """Logarithm of softmax over the outputs."""
        return self._head(input, "log_softmax", dim)

    def op_sigmoid(self, input: Value) -> Value:
        """Sigmoid of every output."""
        return self.program.head(input, "sigmoid", self.where)

    def _head(self, input: Value, head: str, dim: object) -> Value:
        if dim not in (-1, 1):
            raise self.refuse(f"which must act on the outputs of one input, dim=1, got {dim}")
        return self.program.head(input, head, self.where)
