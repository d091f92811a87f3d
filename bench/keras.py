"""
The published recipe: the Jacobian of a Keras model by `tf.GradientTape`, in batches.

As in the code that accompanies arXiv:2402.08269, but in float64 (singular values of a float32
Jacobian are not those of J), with the logits as outputs, with the batch that is fastest here, and
with `tf.function` around the tape, without which the recipe is slower.
"""

import os
from collections.abc import Callable

import numpy as np

from bench.cases import Sample
from patterndim.typing import FloatArray

#: Inputs in a batch: 10 took half as long as 50, and 600 ten times as long.
BATCH = 10


def keras_run(sample: Sample) -> Callable[[], int]:
    """Rank of J by Keras, TensorFlow and numpy."""
    jacobian = keras_jacobian(sample)

    def run() -> int:
        J = jacobian()
        sigma = np.linalg.svd(J, compute_uv=False)
        tolerance = max(J.shape) * np.finfo(np.float64).eps
        return int(np.count_nonzero(sigma > tolerance * sigma[0]))

    return run


def keras_jacobian(sample: Sample, batch: int = BATCH) -> Callable[[], FloatArray]:
    """J by tape.jacobian, columns in the order of Keras; the function is traced beforehand."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    keras.backend.set_floatx("float64")
    *hidden, last = sample.network.widths[1:]
    model = keras.Sequential(
        [keras.Input((sample.network.widths[0],), dtype="float64")]
        + [keras.layers.Dense(width, activation="relu") for width in hidden]
        + [keras.layers.Dense(last)]
    )
    pairs = zip(sample.network.weights, sample.network.biases, strict=True)
    model.set_weights([array for W, b in pairs for array in (W.T, b)])
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(reduce_retracing=True)
    def blocks(x: object) -> object:
        with tf.GradientTape() as tape:
            y = model(x)
        rows = tape.jacobian(y, variables)
        return [tf.reshape(block, (tf.size(y), -1)) for block in rows]

    X = tf.constant(sample.X)
    J = np.empty((len(sample.X) * last, sample.network.parameter_count))

    def run() -> FloatArray:
        for start in range(0, len(sample.X), batch):
            rows = J[start * last : (start + batch) * last]
            np.concatenate([part.numpy() for part in blocks(X[start : start + batch])], 1, out=rows)
        return J

    blocks(X[:batch])
    return run
