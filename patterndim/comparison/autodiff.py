"""Jacobians by the automatic differentiation of torch and JAX, one array per parameter."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from patterndim.comparison.subject import arrays_of, head_of
from patterndim.errors import ArgumentError
from patterndim.formats.imported import Imported
from patterndim.typing import FloatArray

#: Entries of one chunk of samples.
CHUNK = 2**23


def differentiated(model: Any, subject: Imported, X: FloatArray) -> tuple[dict[str, Any], str]:
    """
    Jacobian of a model by its own framework, and the name of that.

    A torch module is differentiated as it is; everything else as JAX sees its parameters.

    Raises
    ------
    ArgumentError
        If it takes JAX and that is not installed.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return _torch(torch, model, X), "torch.func.jacrev"
    if (pair := _function(model)) is not None:
        return _jax_function(*pair, X), "jax.jacrev"
    if find_spec("jax") is None:
        raise ArgumentError(
            "jacobian must be given for a model without automatic differentiation of its own "
            "while JAX is not installed, got None"
        )
    return _jax(subject, X), "jax.jacrev"


def _steps(rows: int, entries: int) -> int:
    return max(1, min(rows, CHUNK // max(1, entries)))


def _torch(torch: Any, module: Any, X: FloatArray) -> dict[str, Any]:
    parameters = {name: value.detach() for name, value in module.named_parameters()}
    buffers = {name: value.detach() for name, value in module.named_buffers()}
    some = next(iter(parameters.values()))

    def outputs(arrays: Any, x: Any) -> Any:
        call = torch.func.functional_call
        return call(module, (arrays, buffers), (x.unsqueeze(0),)).squeeze(0)

    jacobian = torch.func.jacrev(outputs)
    # Noise of a model in training mode is a fault to be found, not an error.
    batched = torch.func.vmap(jacobian, in_dims=(None, 0), randomness="different")
    samples = torch.tensor(X, dtype=some.dtype, device=some.device)  # a copy: in-place layers
    step = _steps(len(X), sum(value.numel() for value in parameters.values()))
    parts = [batched(parameters, samples[i : i + step]) for i in range(0, len(X), step)]
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parameters}


def _function(model: Any) -> tuple[Callable[[Any, Any], Any], Any] | None:
    """Function and parameters of what `patterndim.formats` reads as a function of JAX."""
    if isinstance(model, tuple) and len(model) == 2 and callable(model[0]):
        return model
    nnx, linen = (sys.modules.get(f"flax.{name}") for name in ("nnx", "linen"))
    if nnx is not None and isinstance(model, nnx.Module):
        definition, parameters, others = nnx.split(model, nnx.Not(nnx.RngState), ...)
        return lambda p, X: nnx.merge(definition, p, others)(X), parameters
    if linen is not None and isinstance(model, linen.Module):
        module, variables = model.unbind()
        return module.apply, variables
    return None


def _jax_function(
    function: Callable[[Any, Any], Any], parameters: Any, X: FloatArray
) -> dict[str, Any]:
    """Jacobian of a function as it is, in the precision that JAX is set to."""
    import jax

    from patterndim.formats.jax_function import leaf_name

    def outputs(tree: Any, x: Any) -> Any:
        return function(tree, x[None])[0]

    batched = jax.jit(jax.vmap(jax.jacrev(outputs), in_axes=(None, 0)))
    found: dict[str, list[Any]] = {}
    count = sum(np.size(leaf) for leaf in jax.tree.leaves(parameters))
    dtype = np.result_type(np.float16, *(leaf.dtype for leaf in jax.tree.leaves(parameters)))
    samples = jax.numpy.asarray(X, jax.dtypes.canonicalize_dtype(dtype))
    step = _steps(len(X), count)
    for i in range(0, len(X), step):
        tree = batched(parameters, samples[i : i + step])
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            found.setdefault(leaf_name(path), []).append(leaf)
    return {name: jax.numpy.concatenate(parts) for name, parts in found.items()}


def _jax(subject: Imported, X: FloatArray) -> dict[str, Any]:
    import jax

    with _precision(jax, subject.dtype == np.float64):
        dtype = subject.dtype
        parameters = {name: jax.numpy.asarray(a, dtype) for name, a in arrays_of(subject).items()}
        samples = jax.numpy.asarray(X, dtype)
        batched = jax.jit(jax.vmap(jax.jacrev(function(jax, subject)), in_axes=(None, 0)))
        step = _steps(len(X), subject.network.parameter_count)
        parts = [batched(parameters, samples[i : i + step]) for i in range(0, len(X), step)]
        # numpy, before the precision is what it was.
        return {name: np.concatenate([np.asarray(p[name]) for p in parts]) for name in parameters}


def _precision(jax: Any, double: bool) -> AbstractContextManager[Any]:
    """Context in which JAX keeps float64, without changing what the user has set."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(double)  # type: ignore[no-any-return]
    experimental: Any = import_module("jax.experimental")
    return experimental.enable_x64(double)  # type: ignore[no-any-return]


def function(jax: Any, subject: Imported) -> Callable[[Any, Any], Any]:
    """Outputs at one input by JAX, of parameters by name in the shapes of their source."""
    architecture = subject.network.architecture
    by_start = {parameter.start: parameter for parameter in subject.parameters}
    final = {"softmax": jax.nn.softmax, "log-softmax": jax.nn.log_softmax}
    final |= {"sigmoid": jax.nn.sigmoid, "affine": lambda z: z}

    def block(arrays: Any, where: slice) -> Any:
        parameter = by_start[where.start]
        value = arrays[parameter.name]
        return value.T if parameter.transposed else value

    def outputs(arrays: Any, x: Any) -> Any:
        activations = [x]
        last = len(architecture.layers) - 1
        for v in range(1, last + 1):
            z: Any = 0.0
            for e in architecture.incoming[v]:
                h = activations[architecture.connections[e].source]
                where = architecture.weight_slices[e]
                z = z + (h if where is None else block(arrays, where) @ h)
            if (where := architecture.bias_slices[v]) is not None:
                z = z + block(arrays, where)
            slope = architecture.layers[v].slope
            # As `pattern` has it: a tie is inactive.
            activations.append(z if v == last else jax.numpy.where(z > 0, z, slope * z))
        return final[head_of(subject)](activations[-1])

    return outputs
