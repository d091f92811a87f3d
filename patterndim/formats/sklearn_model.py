"""
Fitted ``MLPClassifier`` and ``MLPRegressor`` of scikit-learn.

Several classes end in a softmax.  Two classes, and several labels, end in the logistic function
of every output: of two classes the network has the one output whose sign is the decision, and
`Imported.outputs` are the probabilities of the second.
"""

import warnings
from typing import Any

import numpy as np

from patterndim.errors import ArgumentError
from patterndim.formats.framework import made_by
from patterndim.formats.imported import Dense, Imported, chain, plain, with_head
from patterndim.formats.verification import verified
from patterndim.typing import AnyArray, FloatArray

SUFFIXES: tuple[str, ...] = ()

#: Slope of each activation of the hidden layers.
SLOPES = {"relu": 0.0, "identity": 1.0}

#: Head of each activation of the output.
HEADS = {"identity": "identity", "softmax": "softmax", "logistic": "sigmoid"}


def recognises(source: object) -> bool:
    """Whether this is a multilayer perceptron of scikit-learn."""
    return made_by(source, "sklearn.neural_network", "MLPClassifier", "MLPRegressor")


def read(source: Any) -> Imported:
    """Network of a fitted estimator."""
    name = f"sklearn {type(source).__name__}"
    if not hasattr(source, "coefs_"):
        raise ArgumentError(f"{name} must be fitted, got one without coefs_")
    hidden = len(source.coefs_) - 1
    if hidden and source.activation not in SLOPES:
        raise ArgumentError(
            f"{name} must have activation {' or '.join(SLOPES)}, got {source.activation!r}"
        )
    if source.out_activation_ not in HEADS:
        raise ArgumentError(
            f"{name} must have an output of {', '.join(HEADS)}, got {source.out_activation_!r}"
        )
    layers = [
        Dense(f"coefs_[{i}]", plain("coefs_", W), True, f"intercepts_[{i}]", plain("b", b))
        for i, (W, b) in enumerate(zip(source.coefs_, source.intercepts_, strict=True))
    ]
    imported = chain(layers, source=name, slope=SLOPES.get(source.activation, 0.0))
    width = imported.network.widths[-1]

    def outputs(X: FloatArray) -> AnyArray:
        predict = getattr(source, "predict_proba", source.predict)
        with warnings.catch_warnings():  # about the names of the columns at fit
            warnings.simplefilter("ignore", UserWarning)
            found: AnyArray = np.asarray(predict(X.astype(imported.dtype)))
        if found.ndim == 1:
            return found[:, np.newaxis]
        return found[:, 1:] if width == 1 else found  # two classes, of one output

    return verified(with_head(imported, HEADS[source.out_activation_], outputs), outputs)
