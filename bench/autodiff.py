"""The parameter Jacobian by automatic differentiation, in float64, as users of jax or torch do."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bench.cases import Sample


def perceptron(relu: Callable[[Any], Any], parameters: Any, x: Any) -> Any:
    """Outputs at one input, shape (n_L,); ``parameters`` holds one (W, b) per layer."""
    *hidden, (last_W, last_b) = parameters
    for W, b in hidden:
        x = relu(W @ x + b)
    return last_W @ x + last_b


def jax_run(sample: Sample, *, rank: bool) -> Callable[[], Any]:
    """
    J by jax, or its rank: `jax.vmap` over inputs of `jax.jacrev`, compiled ahead as one program.

    Differentiating in one flat vector or in the matrices takes the same time; one reverse pass
    through the whole batch instead of `jax.vmap` takes far longer.
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def answer(parameters: Any, X: Any) -> Any:
        network = partial(perceptron, jax.nn.relu)
        blocks = jax.vmap(jax.jacrev(network), in_axes=(None, 0))(parameters, X)
        J = jnp.concatenate([_rows(block) for pair in blocks for block in pair], axis=1)
        return jnp.linalg.matrix_rank(J) if rank else J

    parameters, X = jax.tree.map(jnp.asarray, (_pairs(sample), sample.X))
    compiled = jax.jit(answer).lower(parameters, X).compile()

    def run() -> Any:
        result = compiled(parameters, X).block_until_ready()
        return int(result) if rank else np.asarray(result)

    return run


def torch_run(sample: Sample, *, rank: bool) -> Callable[[], Any]:
    """J by torch, or its rank: `torch.func.vmap` over inputs of `torch.func.jacrev`."""
    import torch

    parameters = [(torch.tensor(W), torch.tensor(b)) for W, b in _pairs(sample)]
    X = torch.tensor(sample.X)
    jacobian = torch.func.vmap(
        torch.func.jacrev(partial(perceptron, torch.relu)), in_dims=(None, 0)
    )

    def run() -> Any:
        blocks = jacobian(parameters, X)
        J = torch.cat([_rows(block) for pair in blocks for block in pair], dim=1)
        return int(torch.linalg.matrix_rank(J)) if rank else J.numpy()

    return run


def _pairs(sample: Sample) -> list[tuple[Any, Any]]:
    return list(zip(sample.network.weights, sample.network.biases, strict=True))


def _rows(block: Any) -> Any:
    """Block (N, n_L, ...) of J as a matrix of N * n_L rows, input-major."""
    return block.reshape(block.shape[0] * block.shape[1], -1)
