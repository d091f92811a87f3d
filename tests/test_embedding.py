"""patterndim inside other code: solvers of scipy, a user's own kernels, threads and workers."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.sparse import linalg

import patterndim as pdm
from patterndim import kernels
from tests import oracles

NETWORK = pdm.Network.random((6, 9, 8, 3), rng=0, bias_std=0.5, slope=[0.0, 0.1])
X = np.random.default_rng(0).standard_normal((20, 6))
P = 8_388_593


def test_the_operator_behaves_like_its_matrix_in_every_shape():
    J, dense = pdm.jacobian_operator(NETWORK, X), pdm.parameter_jacobian(NETWORK, X)
    rng = np.random.default_rng(1)
    assert J.shape == dense.shape
    assert J.dtype == np.float64
    for A, D in ((J, dense), (J.T, dense.T), (J.H, dense.T), (J @ J.T, dense @ dense.T)):
        v, V = rng.standard_normal(D.shape[1]), rng.standard_normal((D.shape[1], 5))
        for given in (
            v,
            v[:, np.newaxis],
            V,
            np.asfortranarray(V),
            V[:, ::2],
            V[:, :0],
            V + 1j * V,
        ):
            np.testing.assert_allclose(A @ given, D @ given, rtol=1e-10, atol=1e-10)
            assert (A @ given).shape == (D @ given).shape
        np.testing.assert_allclose(A @ np.ones(D.shape[1], dtype=int), D.sum(axis=1), atol=1e-9)
        np.testing.assert_allclose(A.rmatvec(A @ v), D.T @ (D @ v), rtol=1e-10, atol=1e-9)
    u, w = rng.standard_normal(J.shape[0]), rng.standard_normal(J.shape[1])
    assert u @ (J @ w) == pytest.approx(w @ (J.T @ u), rel=1e-12)


def test_solvers_of_scipy_find_what_numpy_finds():
    J, dense = pdm.jacobian_operator(NETWORK, X), pdm.parameter_jacobian(NETWORK, X)
    sigma = np.linalg.svd(dense, compute_uv=False)
    rng, rows = np.random.default_rng(2), J.shape[0]
    U, found, Vt = linalg.svds(J, k=4, v0=rng.standard_normal(rows))
    np.testing.assert_allclose(np.sort(found)[::-1], sigma[:4], rtol=1e-9)
    np.testing.assert_allclose(J @ Vt.T, U * found, atol=1e-9 * sigma[0])
    for gram in (J.T @ J, J @ J.T):
        start = rng.standard_normal(gram.shape[0])
        values = linalg.eigsh(gram, k=3, v0=start, return_eigenvectors=False)
        np.testing.assert_allclose(np.sort(values)[::-1], sigma[:3] ** 2, rtol=1e-9)
    start = rng.standard_normal((rows, 3))
    values, _ = linalg.lobpcg(J @ J.T, start, tol=1e-8, maxiter=200)
    np.testing.assert_allclose(values, sigma[:3] ** 2, rtol=1e-8)
    wanted = rng.standard_normal(rows)
    damped = np.linalg.solve(dense.T @ dense + np.eye(J.shape[1]), dense.T @ wanted)
    exactly = {"damp": 1.0, "atol": 1e-14, "btol": 1e-14, "conlim": 0.0}
    for step in (
        linalg.lsmr(J, wanted, maxiter=1000, **exactly)[0],
        linalg.lsqr(J, wanted, iter_lim=1000, **exactly)[0],
    ):
        np.testing.assert_allclose(step, damped, atol=1e-8)
    kernel = J @ J.T + linalg.aslinearoperator(np.eye(rows))
    inverse, info = linalg.cg(kernel, wanted, rtol=1e-12)
    assert info == 0
    np.testing.assert_allclose(J.T @ inverse, damped, atol=1e-8)


def test_the_operator_survives_pickling_and_works_in_threads():
    J = pdm.jacobian_operator(NETWORK, X, output="softmax")
    again = pickle.loads(pickle.dumps(J))
    V = np.random.default_rng(3).standard_normal((8, J.shape[1], 4))
    expected = [J @ v for v in V]
    with ThreadPoolExecutor(4) as pool:
        for operator in (J, again):
            for one, two in zip(pool.map(operator.matmat, V), expected, strict=True):
                assert np.array_equal(one, two)
    assert np.array_equal(again.T @ expected[0], J.T @ expected[0])


def test_promised_kernels_compute_what_they_say():
    rng = np.random.default_rng(4)
    h, W, b = rng.standard_normal((5, 4)), rng.standard_normal((3, 4)), rng.standard_normal(3)
    mask, out = np.empty((5, 3), dtype=bool), np.empty((5, 3))
    kernels.forward(h, W, b, 0.25, mask, out)
    z = h @ W.T + b
    assert np.array_equal(mask, z > 0)
    np.testing.assert_allclose(out, np.where(z > 0, z, 0.25 * z), rtol=1e-13)
    B, below = rng.standard_normal((2, 5, 3)), np.empty((2, 5, 4))
    gate = rng.random((5, 4)) < 0.5
    kernels.backward(B, W, gate, 0.25, below)
    np.testing.assert_allclose(below, (B @ W) * np.where(gate, 1.0, 0.25), rtol=1e-12, atol=1e-15)
    for p in (3, 101, P):
        values = rng.standard_normal((6, 5)) * 2.0 ** rng.integers(-1070, 1000, (6, 5))
        values[0] = [0.0, 5e-324, -1.75e308, 1.0, -3.0]
        found = np.empty((6, 5))
        kernels.to_residues(values, p, found)
        exact = oracles.residues(values, p)
        assert np.array_equal(found.astype(int) % p, exact.astype(int))
        assert np.abs(found).max() <= p / 2 + 8
        for _ in range(5):
            m, n, r = (int(a) for a in rng.integers(1, 9, 3))
            A = rng.integers(-9, 10, (m, r)) @ rng.integers(-9, 10, (r, n))
            kernels.to_residues(A.astype(float), p, residues := np.empty((m, n)))
            assert kernels.rank_modulo(residues, p) == oracles.flint_rank(A, p)
    big = rng.integers(-(2**52), 2**52, (3, 4)).astype(float)
    reduced = big.copy()
    kernels.reduce_rows(reduced, 0, 3, float(P), 1.0 / P)
    assert not ((big - reduced).astype(int) % P).any()


USER = '''
import numpy as np
from numba import njit
from patterndim.kernels import (
    backward, fill_jacobian, forward, rank_modulo, reduce_rows, to_residues,
)

@njit(cache=True)
def dimension(W1, b1, W2, b2, X, modulus):
    """Rank and trace modulo a prime of the Jacobian of a network, all in compiled code."""
    N, hidden, outputs = len(X), len(b1), len(b2)
    masks, every = np.empty((N, hidden), np.bool_), np.empty((N, outputs), np.bool_)
    h, z = np.empty((N, hidden)), np.empty((N, outputs))
    forward(X, W1, b1, 0.0, masks, h)
    forward(h, W2, b2, 1.0, every, z)
    B2, B1 = np.zeros((outputs, N, outputs)), np.empty((outputs, N, hidden))
    for c in range(outputs):
        B2[c, :, c] = 1.0
    backward(B2, W2, masks, 0.0, B1)
    J = np.zeros((N, outputs, W1.size + b1.size + W2.size + b2.size))
    fill_jacobian(B1, X, 0, N, 0, J)
    second = W1.size + hidden
    J[:, :, W1.size:second] = B1.transpose(1, 0, 2)
    fill_jacobian(B2, h, 0, N, second, J)
    J[:, :, second + W2.size:] = B2.transpose(1, 0, 2)
    flat = J.reshape(N * outputs, -1)
    residues = np.empty(flat.shape)
    to_residues(flat, modulus, residues)
    squares = residues * residues
    reduce_rows(squares, 0, len(squares), float(modulus), 1.0 / modulus)
    trace = int(squares.sum()) % modulus
    return rank_modulo(residues, modulus), trace, J
'''

RUN = """
import pickle
import sys
import numpy as np
import user

problems = pickle.load(open("problems", "rb"))
found = [user.dimension(*problem, 8388593) for problem in problems]
hits = sum(user.dimension.stats.cache_hits.values()) if hasattr(user.dimension, "stats") else -1
pickle.dump((found, hits), sys.stdout.buffer)
"""


@pytest.mark.compiled
def test_a_function_of_the_users_own_calls_the_kernels(tmp_path):
    """Compiled, from its cache, and interpreted."""
    rng, problems, expected = np.random.default_rng(0), [], []
    for inputs in (2, 5, 9, 14):
        W1, b1, W2, b2 = (rng.integers(-3, 4, s).astype(float) for s in ((5, 3), 5, (2, 5), 2))
        sample = rng.integers(-4, 5, (inputs, 3)).astype(float)
        network = pdm.Network.from_layers([W1, W2], [b1, b2])
        problems.append((W1, b1, W2, b2, sample))
        expected.append(
            (pdm.local_dimension(network, sample), pdm.parameter_jacobian(network, sample))
        )
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "problems").write_bytes(pickle.dumps(problems))
    path = os.pathsep.join([os.path.dirname(os.path.dirname(pdm.__file__)), str(tmp_path)])
    for disabled, cached in (("0", 0), ("0", 1), ("1", -1)):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": path}
        run = [sys.executable, "-c", RUN]
        result = subprocess.run(run, env=environment, capture_output=True, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        found, hits = pickle.loads(result.stdout)
        assert hits == cached
        for (rank, trace, J), (dimension, exact) in zip(found, expected, strict=True):
            assert rank == dimension.value
            assert np.array_equal(J.reshape(exact.shape), exact)
            assert trace == int((exact.astype(int) ** 2).sum()) % 8388593


def answers(seed):
    """Results of several kinds, as bytes and numbers that must not differ by a bit."""
    network = pdm.Network.random((12, 10, 10, 4), rng=seed, bias_std=0.3)
    sample = np.random.default_rng(seed).standard_normal((30, 12))
    J = pdm.jacobian_operator(network, sample, output="softmax")
    return (
        repr(pdm.local_dimension(network, sample, rng=seed)),
        repr(pdm.local_dimension(network, sample, output=np.ones((30, 1, 4)), rng=seed)),
        pdm.ntk(network, sample).tobytes(),
        (J.T @ (J @ np.ones((J.shape[1], 3)))).tobytes(),
    )


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")  # of JAX, if it was imported
def test_calls_at_once_in_threads_processes_and_after_a_fork():
    joblib = pytest.importorskip("joblib")
    expected = [answers(seed) for seed in range(4)]
    found = {}
    barrier = threading.Barrier(4)

    def at_once(seed):
        barrier.wait()
        found[seed] = answers(seed)

    threads = [threading.Thread(target=at_once, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(4)] == expected
    if sys.platform == "linux":
        receiver, sender = multiprocessing.get_context("fork").Pipe()

        def child():
            with ThreadPoolExecutor(2) as pool:
                sender.send(list(pool.map(answers, range(4))))

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        assert receiver.poll(60)
        assert receiver.recv() == expected
        process.join()
    for backend in ("threading", "loky"):
        with joblib.parallel_config(backend=backend, n_jobs=2):
            assert joblib.Parallel()(joblib.delayed(answers)(seed) for seed in range(4)) == expected


@pytest.mark.compiled
def test_dask_workers_give_the_same_results():
    distributed = pytest.importorskip("dask.distributed")
    network = pdm.Network.random((12, 10, 10, 4), rng=0, bias_std=0.3)
    sample = np.random.default_rng(0).standard_normal((200, 12))
    expected = [pdm.local_dimension(network, sample, rng=seed) for seed in range(4)]
    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(**options, processes=True) as cluster,
        distributed.Client(cluster) as client,
    ):
        some = [client.submit(pdm.local_dimension, network, sample, rng=s) for s in range(4)]
        assert client.gather(some) == expected
        operator = client.submit(pdm.jacobian_operator, network, sample[:5])
        J = pdm.jacobian_operator(network, sample[:5])
        product = client.submit(type(J).dot, operator, np.ones(J.shape[1])).result()
        assert np.array_equal(product, J @ np.ones(J.shape[1]))
        executor = client.get_executor()
        assert pdm.local_dimension(network, sample, executor=executor) == expected[0]


@pytest.mark.compiled
def test_gauss_newton_steps_learn_far_faster_than_gradient_steps():
    images, labels = pdm.data.digits()
    sample, wanted = images[:300], np.eye(10)[labels[:300]]
    start = pdm.Network.random((64, 16, 10), rng=0)

    def residual(network):
        return (pdm.outputs(network, sample) - wanted).ravel()

    newton = start
    for _ in range(6):
        J = pdm.jacobian_operator(newton, sample)
        step = linalg.lsmr(J, residual(newton), damp=1.0, maxiter=20)[0]
        newton = newton.replace(theta=newton.theta - step)
    losses = []
    for rate in (0.03, 0.1, 0.3):  # per step; at 1.0 the network dies
        plain = start
        for _ in range(30):
            gradient = pdm.jacobian_operator(plain, sample).T @ residual(plain)
            plain = plain.replace(theta=plain.theta - rate / len(sample) * gradient)
        losses.append(np.mean(residual(plain) ** 2))
    assert np.mean(residual(newton) ** 2) < 0.02 < 3 * 0.02 < min(losses)
