"""
Functions of JAX and their parameters: ``(function, parameters)`` for ``function(parameters, X)``.

The function is traced, and its jaxpr followed: products with kernels, biases, sums, (leaky) ReLU,
and a softmax or sigmoid at the end.  X has shape (N, n_0); parameters are any tree of arrays.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from patterndim.errors import ArgumentError
from patterndim.formats.framework import framework
from patterndim.formats.imported import Dense, Imported, plain, with_head
from patterndim.formats.named import by_name
from patterndim.formats.sums import Program, Value
from patterndim.formats.verification import PROBES, verified
from patterndim.typing import AnyArray, FloatArray

SUFFIXES: tuple[str, ...] = ()
SOURCE = "JAX function"

#: What a softmax, its logarithm or a sigmoid are made of; which of them it is, the outputs tell.
TAIL = {"reduce_max", "stop_gradient", "sub", "exp", "reduce_sum", "div", "log", "logistic"}
TAIL |= {"max", "broadcast_in_dim", "convert_element_type", "add", "integer_pow"}
BEGINNING = {"reduce_max", "logistic", "exp"}

#: The heads, and a step that each must have: a lone exp may look like one where it is tiny.
HEADS = {
    "softmax": {"div", "integer_pow"},
    "log_softmax": {"log"},
    "sigmoid": {"logistic", "div", "integer_pow"},
}

#: Calls of other jaxprs.
CALLS = {"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "remat2"}


@dataclass(frozen=True)
class Given:
    """A parameter, perhaps transposed."""

    name: str
    transposed: bool = False


@dataclass(frozen=True, eq=False)
class Tail:
    """Something made of the outputs, and the names of the steps."""

    value: Value
    steps: frozenset[str]


def recognises(source: object) -> bool:
    """Whether this is a function and its parameters."""
    return isinstance(source, tuple) and len(source) == 2 and callable(source[0])


def read(source: Any) -> Imported:
    """Network of a function and its parameters."""
    function, parameters = source
    return follow(function, parameters, SOURCE)


def follow(function: Callable[[Any, Any], Any], parameters: Any, source: str) -> Imported:
    """Network that a function computes with these parameters."""
    jax = framework("jax", "jax")
    try:
        leaves, _ = jax.tree_util.tree_flatten_with_path(parameters)
    except Exception as error:  # too deep, or keys that have no order
        raise ArgumentError(f"{source} must have a tree of parameters, got {error}") from error
    named = by_name(((leaf_name(path), leaf) for path, leaf in leaves), source)
    arrays = {name: plain(name, leaf) for name, leaf in named.items()}
    if not arrays:
        raise ArgumentError(f"{source} must have parameters, got none")
    dtype = np.result_type(np.float16, *(array.dtype for array in arrays.values()))
    dtype = jax.dtypes.canonicalize_dtype(dtype)  # float32 unless jax_enable_x64 is set

    def forward(X: AnyArray) -> AnyArray:
        with jax.default_matmul_precision("highest"):
            return np.asarray(function(parameters, jax.numpy.asarray(X, dtype=dtype)))

    def outputs(X: FloatArray) -> AnyArray:
        return plain("outputs", forward(X))

    trace = Trace(source, arrays)
    found = trace.run(_jaxpr(jax, function, parameters, arrays, dtype, source))
    value = found.value if isinstance(found, Tail) else found
    imported = trace.program.finish(value)
    if unused := arrays.keys() - {parameter.name for parameter in imported.parameters}:
        raise ArgumentError(f"{source} must use all its parameters, got {min(unused)!r} unused")
    order = {name: position for position, name in enumerate(arrays)}
    listed = sorted(imported.parameters, key=lambda parameter: order[parameter.name])
    imported = replace(imported, parameters=tuple(listed))
    if not isinstance(found, Tail):
        return verified(with_head(imported, "identity", outputs), forward)
    for head, steps in HEADS.items():
        if not steps & found.steps:
            continue
        try:
            return verified(with_head(imported, head, outputs), forward)
        except ArgumentError:
            continue
    raise ArgumentError(f"{source} must end in {', '.join(HEADS)} or none, got another end")


def leaf_name(path: Any) -> str:
    """Name of a leaf: its keys, joined; what Flax wraps around arrays has no name."""
    keys = [getattr(key, "key", getattr(key, "idx", None)) for key in path]
    keys = [getattr(key, "name", "") if k is None else k for k, key in zip(keys, path, strict=True)]
    return "/".join(str(key) for key in keys if key not in ("", "value"))


def _jaxpr(
    jax: Any,
    function: Any,
    parameters: Any,
    arrays: Mapping[str, AnyArray],
    dtype: Any,
    source: str,
) -> Any:
    """Trace of a function, with the width of the input that its kernels allow."""
    widths = dict.fromkeys(n for array in arrays.values() if array.ndim == 2 for n in array.shape)
    refusal: Exception | None = None
    for width in widths:
        try:
            X = jax.ShapeDtypeStruct((PROBES, width), dtype)
            return jax.make_jaxpr(function)(parameters, X)
        except Exception as error:  # whatever the function raises: another width may do
            refusal = refusal or error
    raise ArgumentError(
        f"{source} must run on (N, n_0) inputs, n_0 among {list(widths)}, and in evaluation mode "
        f"(eval() or deterministic=True), got {refusal}"
    ) from refusal


class Trace:
    """Follows a jaxpr equation by equation."""

    def __init__(self, source: str, arrays: Mapping[str, AnyArray]) -> None:
        self.program = Program(source)
        self.arrays = arrays

    def run(self, closed: Any) -> Any:
        """Value of the output."""
        outputs = self.call(closed, [*map(Given, self.arrays), self.program.input])
        if len(outputs) != 1 or not isinstance(outputs[0], Value | Tail):
            raise ArgumentError(f"{self.program.source} must return one array, got {len(outputs)}")
        return outputs[0]

    def call(self, closed: Any, arguments: list[Any]) -> list[Any]:
        """Values that a jaxpr returns."""
        jaxpr = getattr(closed, "jaxpr", closed)
        known = dict(zip(jaxpr.invars, arguments, strict=True))

        def get(variable: Any) -> Any:
            return variable.val if hasattr(variable, "val") else known.get(variable)

        for equation in jaxpr.eqns:
            values = [get(variable) for variable in equation.invars]
            results = self.apply(equation, values)
            known.update(zip(equation.outvars, results, strict=True))
        return [get(variable) for variable in jaxpr.outvars]

    def apply(self, equation: Any, values: list[Any]) -> list[Any]:
        """Values of an equation; None for what depends neither on input nor parameters."""
        name, options = equation.primitive.name, equation.params
        where = f"{name!r} in {str(equation.source_info.name_stack) or 'the function'}"
        ranks = [len(variable.aval.shape) for variable in equation.invars]
        first = values[0] if values else None
        if not any(isinstance(value, Value | Given | Tail) for value in values):
            return [None] * len(equation.outvars)
        if options.get("name") == "leaky_relu" and isinstance(first, Value):
            return [self.program.relu(first, self.slope(options, values, where), where)]
        if name in CALLS:
            return self.call(options.get("jaxpr", options.get("call_jaxpr")), values)
        match name, *values:
            case "dot_general", Value() as value, Given() as given if ranks == [2, 2]:
                return [self.product(value, given, options["dimension_numbers"], where)]
            case "add" | "add_any", Value() as value, Value() as other:
                return [self.program.add(value, other, where)]
            case "add" | "add_any", Value() as value, Given() as given:
                return [self.shift(value, given, where)]
            case "add" | "add_any", Given() as given, Value() as value:
                return [self.shift(value, given, where)]
            case "max", Value() as value, float() | np.ndarray() | np.generic() as low if low == 0:
                return [self.program.relu(value, 0.0, where)]
            case "max", float() | np.ndarray() | np.generic() as low, Value() as value if low == 0:
                return [self.program.relu(value, 0.0, where)]
            case "copy", Value() | Given():
                return [first]
            case "convert_element_type", Value() | Given() if "float" in str(options["new_dtype"]):
                return [first]
            case "transpose", Given(name=given_name, transposed=transposed):
                return [Given(given_name, not transposed)]
            case "reshape" | "broadcast_in_dim", Given() if _is_row(equation):
                return [first]
        bodies = {_body(value) for value in values if isinstance(value, Value | Tail)}
        begun = name in BEGINNING or any(isinstance(value, Tail) for value in values)
        if name in TAIL and begun and len(bodies) == 1 and not _has_given(values):
            steps = [value.steps for value in values if isinstance(value, Tail)]
            return [Tail(bodies.pop(), frozenset({name}.union(*steps)))]
        raise self.program.refuse(where, "which is none of these")

    def slope(self, options: Any, values: list[Any], where: str) -> float:
        """Slope of a leaky ReLU: its second argument, or the factor inside if left out."""
        factors = values[1:] or [
            getattr(equation.invars[0], "val", None)
            for equation in options["jaxpr"].jaxpr.eqns
            if equation.primitive.name == "mul"
        ]
        if len(factors) == 1 and isinstance(factors[0], float | np.ndarray | np.generic):
            return float(factors[0])
        raise self.program.refuse(where, "whose slope must be a number")

    def product(self, value: Value, given: Given, dimensions: Any, where: str) -> Value:
        """Value of a product with a kernel."""
        (left, right), batch = dimensions
        if tuple(left) != (1,) or any(batch):
            raise self.program.refuse(where, "which must contract the last axis of the activations")
        transposed = (tuple(right) == (0,)) != given.transposed
        dense = Dense(given.name, self.arrays[given.name], transposed)
        return self.program.dense(value, dense, where)

    def shift(self, value: Value, given: Given, where: str) -> Value:
        """Value with a bias added."""
        return self.program.shift(value, given.name, self.arrays[given.name], where)


def _body(value: Value | Tail) -> Value:
    return value.value if isinstance(value, Tail) else value


def _has_given(values: list[Any]) -> bool:
    return any(isinstance(value, Given) for value in values)


def _is_row(equation: Any) -> bool:
    """Whether a vector is only repeated over the inputs."""
    shape, result = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    last = equation.params.get("broadcast_dimensions", (len(result) - 1,))
    return len(shape) == 1 and result[-1:] == shape and tuple(last) == (len(result) - 1,)
