"""All local dimensions of many parameter vectors of one architecture, and the peers' ways."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import patterndim
from bench.autodiff import perceptron
from bench.cases import Many

#: Networks that jax works on at a time: their Jacobians and singular vectors fill the memory.
CHUNK = 100


def patterndim_run(problem: Many) -> Callable[[], Any]:
    """All dimensions in one call."""
    return lambda: (
        patterndim.local_dimensions(problem.architecture, problem.thetas, problem.X).value
    )


def jax_run(problem: Many) -> Callable[[], Any]:
    """All ranks in one compiled program: vmap over chunks of networks and over inputs."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def rank(theta: Any, X: Any) -> Any:
        f = lambda theta, x: perceptron(jax.nn.relu, _layers(problem, theta), x)  # noqa: E731
        J = jax.vmap(jax.jacrev(f), in_axes=(None, 0))(theta, X)
        return jnp.linalg.matrix_rank(J.reshape(-1, theta.size))

    def ranks(thetas: Any, X: Any) -> Any:
        return jax.lax.map(partial(rank, X=X), thetas, batch_size=CHUNK)

    thetas, X = jnp.asarray(problem.thetas), jnp.asarray(problem.X)
    compiled = jax.jit(ranks).lower(thetas, X).compile()
    return lambda: np.asarray(compiled(thetas, X))


def torch_run(problem: Many) -> Callable[[], Any]:
    """All ranks, network after network."""
    import torch

    def f(theta: Any, x: Any) -> Any:
        return perceptron(torch.relu, _layers(problem, theta), x)

    jacobian = torch.func.vmap(torch.func.jacrev(f), in_dims=(None, 0))
    thetas, X = torch.tensor(problem.thetas), torch.tensor(problem.X)

    def run() -> Any:
        found = [torch.linalg.matrix_rank(jacobian(theta, X).flatten(0, 1)) for theta in thetas]
        return np.array([int(rank) for rank in found])

    return run


def _layers(problem: Many, theta: Any) -> list[tuple[Any, Any]]:
    """Return (W, b) for every layer."""
    weights = problem.architecture.weights_of(theta)
    return list(zip(weights, problem.architecture.biases_of(theta)[1:], strict=True))
