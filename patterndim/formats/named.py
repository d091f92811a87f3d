"""
Multilayer perceptrons from named arrays, as parameter trees and state dicts hold them.

The names say what an array is: ``weight`` is a matrix of shape (out, in), as in torch; ``kernel``
and ``w`` are (in, out), as in Flax, Keras and haiku; ``bias`` and ``b`` go with the matrix beside
them.  The order of the layers is that of the numbers in their names, or else the only one in
which their shapes chain.  Nothing tells the activations: they are ReLU, or leaky of given slope.
Nor do names tell skip connections, nor that a module was numbered in another order than it is
called (Flax makes ``nn.Dense(2)(nn.Dense(3)(x))`` number the last layer 0): where the framework's
own object is at hand, it says all this.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from patterndim.errors import ArgumentError
from patterndim.formats.imported import Dense, Imported, chain, plain

#: Whether a matrix of this name is (in, out).
MATRICES = {"weight": False, "kernel": True, "w": True}
BIASES = ("bias", "b")

#: Steps in looking for the order of the layers before giving up.
ATTEMPTS = 200_000

#: The words of a name, and its numbers.
Key = tuple[tuple[str, ...], tuple[int, ...]]


def by_name(named: Iterable[tuple[str, Any]], source: str) -> dict[str, Any]:
    """Arrays by their names, of which no two may be equal."""
    arrays: dict[str, Any] = {}
    for name, array in named:
        if name in arrays:
            raise ArgumentError(
                f"{source} must give each array a name of its own, got {name!r} twice"
            )
        arrays[name] = array
    return arrays


def from_names(
    arrays: Mapping[str, object], *, source: str, slope: float | Sequence[float] = 0.0
) -> Imported:
    """
    Multilayer perceptron of arrays whose names are paths joined by ``/`` or ``.``.

    Raises
    ------
    ArgumentError
        If an array is not of a dense layer, or the order of the layers is not certain.
    ShapeError
        If the layers do not chain.
    """
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for name in arrays:
        *folders, last = re.split(r"[./]", name)
        kind = "bias" if last in BIASES else "matrix"
        group = groups.setdefault(tuple(folders), {})
        if (kind == "matrix" and last not in MATRICES) or kind in group:
            raise ArgumentError(
                f"{source} must hold dense layers only, each a {', '.join(MATRICES)} and perhaps "
                f"a {' or '.join(BIASES)}, got {name!r}"
            )
        group[kind] = name
    layers: dict[Key, Dense] = {}
    for path, group in groups.items():
        if "matrix" not in group:
            raise ArgumentError(f"{source} must have a matrix beside {group['bias']!r}, got none")
        matrix, bias = group["matrix"], group.get("bias")
        transposed = MATRICES[re.split(r"[./]", matrix)[-1]]
        vector = None if bias is None else plain(bias, arrays[bias])
        dense = Dense(matrix, plain(matrix, arrays[matrix]), transposed, bias or "", vector)
        if (other := layers.setdefault(_key(path), dense)) is not dense:
            raise _unordered([other, dense], source)
    imported = chain(_in_order(layers, source), source=source, slope=slope)
    order = {name: position for position, name in enumerate(arrays)}
    listed = sorted(imported.parameters, key=lambda parameter: order[parameter.name])
    return replace(imported, parameters=tuple(listed))


def _key(path: tuple[str, ...]) -> Key:
    """
    Words and numbers of a path: a piece without a number comes before its number 0.

    Of numbers that no layer has, only the end is taken for one.
    """
    pieces = [re.fullmatch(r"(.*?)_?(\d{0,18})", piece, re.DOTALL) for piece in path]
    words = tuple(piece[1] for piece in pieces if piece)
    return words, tuple(int(piece[2] or -1) for piece in pieces if piece)


def _in_order(layers: Mapping[Key, Dense], source: str) -> list[Dense]:
    """Layers from first to last."""
    keys = sorted(layers)
    if len({words for words, _ in keys}) <= 1:
        return [layers[key] for key in keys]
    found = _orders(keys, layers)
    if len(found) != 1:
        raise _unordered([layers[key] for key in keys], source)
    return [layers[key] for key in found[0]]


def _orders(keys: Sequence[Key], layers: Mapping[Key, Dense]) -> list[list[Key]]:
    """
    Two orders in which the shapes chain, and the layers of the same words go by their numbers.

    Or the only one; or none, also if ``ATTEMPTS`` are not enough to tell.
    """
    words = list(dict.fromkeys(words for words, _ in keys))
    waiting = [[key for key in reversed(keys) if key[0] == each] for each in words]
    begun: list[tuple[int, Key]] = []
    choices = [iter(range(len(words)))]  # for each place up to the next, the words not yet tried
    found: list[list[Key]] = []
    for _ in range(ATTEMPTS):
        word = next(choices[-1], None)
        if word is None:
            choices.pop()
            if not begun:
                return found
            word, key = begun.pop()
            waiting[word].append(key)
        elif waiting[word] and (
            not begun or layers[begun[-1][1]].width == layers[waiting[word][-1]].inputs
        ):
            begun.append((word, waiting[word].pop()))
            choices.append(iter(range(len(words))))
            if len(begun) == len(keys):
                found.append([key for _, key in begun])
                if len(found) == 2:
                    return found
    return []


def _unordered(layers: Sequence[Dense], source: str) -> ArgumentError:
    names = ", ".join(layer.name for layer in layers[:10])
    return ArgumentError(
        f"{source} must tell the order of its layers by their numbers or shapes, got {names}: "
        "pass a list of (W, b) pairs, W of shape (in, out)"
    )
