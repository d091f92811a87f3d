import os

from hypothesis import settings

# Processes that fill one numba cache at once can disturb each other: each gets its own.
if "PYTEST_XDIST_WORKER" in os.environ and "NUMBA_CACHE_DIR" in os.environ:
    os.environ["NUMBA_CACHE_DIR"] += "/" + os.environ["PYTEST_XDIST_WORKER"]

# Keras looks for TensorFlow unless told otherwise before it is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

# The first example compiles kernels, and interpreted kernels are slow.
settings.register_profile("patterndim", deadline=None, derandomize=True)
settings.load_profile("patterndim")
