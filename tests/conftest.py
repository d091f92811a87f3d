import os

from hypothesis import settings

# Keras looks for TensorFlow unless told otherwise before it is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

# The first example compiles kernels, and interpreted kernels are slow.
settings.register_profile("patterndim", deadline=None, derandomize=True)
settings.load_profile("patterndim")
