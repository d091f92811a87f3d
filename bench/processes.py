"""Whole processes: start, import, load, compute, print."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import patterndim
from bench.cases import Sample

AUTODIFF = """
import sys
import numpy as np
with np.load(sys.argv[1]) as file:
    X, parameters = file["X"], [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
"""

PROGRAMS = {
    "patterndim": """
import sys
import numpy as np
import patterndim
X = np.load(sys.argv[1])["X"]
print(patterndim.local_dimension(patterndim.load(sys.argv[2]), X).value)
""",
    "jax": AUTODIFF
    + """
import jax
import jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
def network(parameters, x):
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2]):
        x = jax.nn.relu(W @ x + b)
    return parameters[-2] @ x + parameters[-1]
@jax.jit
def rank(parameters, X):
    blocks = jax.vmap(jax.jacrev(network), in_axes=(None, 0))(parameters, X)
    rows = X.shape[0] * parameters[-1].size
    return jnp.linalg.matrix_rank(jnp.concatenate([b.reshape(rows, -1) for b in blocks], axis=1))
print(int(rank(parameters, X)))
""",
    "torch": AUTODIFF
    + """
import torch
def network(parameters, x):
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2]):
        x = torch.relu(W @ x + b)
    return parameters[-2] @ x + parameters[-1]
parameters = tuple(torch.tensor(a) for a in parameters)
X = torch.tensor(X)
blocks = torch.func.vmap(torch.func.jacrev(network), in_dims=(None, 0))(parameters, X)
rows = X.shape[0] * parameters[-1].numel()
print(int(torch.linalg.matrix_rank(torch.cat([b.reshape(rows, -1) for b in blocks], dim=1))))
""",
}


def process(library: str, sample: Sample) -> Callable[[], int]:
    """Local dimension by a new process; the network and the inputs are in files beforehand."""
    folder = tempfile.TemporaryDirectory()  # as long as `run` lives
    pairs = zip(sample.network.weights, sample.network.biases, strict=True)
    parameters = [array for pair in pairs for array in pair]
    np.savez(Path(folder.name) / "data.npz", *parameters, X=sample.X)
    patterndim.save(sample.network, Path(folder.name) / "network.npz")

    def run() -> int:
        files = [str(Path(folder.name) / name) for name in ("data.npz", "network.npz")]
        command = [sys.executable, "-c", PROGRAMS[library], *files]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return run


def imports(line: str, _: object) -> Callable[[], str]:
    """Time of a new process that runs one line."""

    def run() -> str:
        subprocess.run([sys.executable, "-c", line], check=True)
        return "imported"

    return run
