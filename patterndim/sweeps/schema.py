"""The keys of a sweep: what they may be, and what they are if they are not given."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from patterndim.errors import ArgumentError, KindError
from patterndim.heads import OUTPUTS
from patterndim.network import INITIALISATIONS
from patterndim.quantities import NAMES as QUANTITIES
from patterndim.training.descent import DTYPES
from patterndim.training.losses import LOSSES
from patterndim.validation import brief, choice, integer, number

#: Sections that `settings` have; a spec may also have these.
OTHERS = ("title", "seed", "grid", "cases")
#: numpy draws from as many seeds as its pool of entropy holds.
SEEDS = 2**128
SAMPLES = ("train", "test", "gaussian")


@dataclass(frozen=True)
class Key:
    """What a setting is, how it is checked and cast, and its default; a required one has none."""

    note: str
    check: Callable[[str, object], Any]
    default: Any = None
    required: bool = False

    def read(self, name: str, value: object, whole: bool) -> Any:
        """Plain value of a key; required ones only if the settings must be whole."""
        if value is None:
            if self.required and whole:
                raise ArgumentError(f"{name} must be given")
            return self.default
        return self.check(name, value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise KindError(f"{name} must be a string, got {brief(value)}")
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise KindError(f"{name} must be true or false, got {brief(value)}")
    return value


def _fraction(name: str, value: object) -> float:
    found = number(name, value, low=0.0)
    if found > 1.0:
        raise ArgumentError(f"{name} must be from 0 to 1, got {brief(value)}")
    return found


def _list(check: Callable[[str, object], Any], least: int, name: str, value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise KindError(f"{name} must be a list, got {brief(value)}")
    if len(value) < least:
        raise ArgumentError(f"{name} must have at least {least} entries, got {brief(value)}")
    return [check(f"{name}[{i}]", entry) for i, entry in enumerate(value)]


def _names(options: tuple[str, ...], name: str, value: object) -> list[str]:
    """Return names without repetition, in the order given."""
    found: list[str] = _list(_choice(options), 1, name, value)
    return list(dict.fromkeys(found))


def _slope(name: str, value: object) -> float | list[float]:
    """One slope, or one for each hidden layer."""
    one = partial(number, low=0.0, high=1.0, closed=True)
    if isinstance(value, list | tuple):
        found: list[float] = _list(one, 1, name, value)
        return found
    return float(one(name, value))


def _milestone(name: str, value: object) -> list[float]:
    """When, and the rate from then on."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise KindError(f"{name} must be a pair [when, rate], got {brief(value)}")
    return [integer(name, value[0], low=0), number(name, value[1], low=0.0)]


def _rising(name: str, value: object) -> list[int]:
    return sorted(set(_list(_integer(0), 1, name, value)))


def _integer(low: int) -> Callable[[str, object], int]:
    return partial(integer, low=low)


def _number(low: float, high: float = float("inf")) -> Callable[[str, object], float]:
    return partial(number, low=low, high=high)


def _choice(options: tuple[str, ...]) -> Callable[[str, object], str]:
    return partial(choice, options=options)


SECTIONS: dict[str, dict[str, Key]] = {
    "data": {
        "source": Key(
            "digits, gaussian, uniform, an .npz with X and y, or a folder of IDX files",
            _text,
            "digits",
        ),
        "train": Key("inputs to train on, the first of a random order", _integer(1), required=True),
        "test": Key("inputs after them", _integer(0), 0),
        "gaussian": Key(
            "inputs with coordinates of mean 0.5 and standard deviation 1", _integer(0), 0
        ),
        "noise": Key("standard deviation of noise on the training inputs", _number(0.0), 0.0),
        "corrupted": Key(
            "fraction of training labels that are replaced by random ones", _fraction, 0.0
        ),
        "dimension": Key("n_0 of gaussian and uniform data", _integer(1)),
    },
    "network": {
        "widths": Key(
            "n_0, ..., n_L, of inputs and outputs too",
            partial(_list, _integer(1), 2),
            required=True,
        ),
        "init": Key("he, glorot, lecun, torch", _choice(INITIALISATIONS), "he"),
        "scale": Key("factor on the initial weights", _number(0.0), 1.0),
        "bias": Key("whether there are biases", _boolean, True),
        "bias_std": Key("standard deviation of the initial biases", _number(0.0)),
        "slope": Key("of leaky ReLU, one or one for each hidden layer", _slope, 0.0),
    },
    "training": {
        "epochs": Key("passes over the training inputs; this or steps", _integer(0)),
        "steps": Key("gradient steps", _integer(0)),
        "rate": Key("learning rate", _number(0.0), 0.1),
        "milestones": Key(
            "pairs [when, rate]: other rates from some epochs (or steps) on",
            partial(_list, _milestone, 1),
        ),
        "batch": Key("inputs per step; all of them if not given", _integer(1)),
        "momentum": Key("of the heavy ball", _number(0.0, 1.0), 0.0),
        "decay": Key("weight decay", _number(0.0), 0.0),
        "loss": Key("cross-entropy or square", _choice(LOSSES), "cross-entropy"),
        "dtype": Key("precision of training: float64 or float32", _choice(DTYPES), "float64"),
    },
    "measure": {
        "at": Key("epochs (or steps) to measure at; the first and the last if not given", _rising),
        "samples": Key("train, test, gaussian", partial(_names, SAMPLES), ["train"]),
        "quantities": Key(
            "those of patterndim.trace", partial(_names, QUANTITIES), ["local_dimension"]
        ),
        "outputs": Key("affine, softmax", partial(_names, OUTPUTS), ["affine"]),
        "trials": Key("repeats with other random numbers", _integer(1), 1),
    },
}

#: Every key that a grid can vary, by its dotted name.
NAMES = ("seed", *(f"{section}.{name}" for section, keys in SECTIONS.items() for name in keys))


def describe_keys() -> str:
    """Lines of all keys, their defaults, and what they are."""
    lines = ["  seed = 0", "      of everything random"]
    for section, keys in SECTIONS.items():
        for name, key in keys.items():
            given = "" if key.default is None else f" = {json.dumps(key.default)}"
            lines.append(f"  {section}.{name}{given}{' (required)' if key.required else ''}")
            lines.append(f"      {key.note}")
    return "\n".join(lines)


def unknown(name: str, known: tuple[str, ...]) -> ArgumentError:
    """Error about a key that there is not, with the one that may be meant."""
    # The last word alone is often right: "noise" is meant to be "data.noise".
    words = {known_name.rsplit(".")[-1]: known_name for known_name in known}
    near = get_close_matches(name, known, 1, 0.75)
    near = near or [words[word] for word in get_close_matches(name.rsplit(".")[-1], words, 1, 0.8)]
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return ArgumentError(f"{name!r} is no key of a sweep: {hint}")


def read_settings(spec: Mapping[str, Any], *, whole: bool = True) -> dict[str, Any]:
    """
    Settings of one experiment with all defaults filled in; nothing may be missing if ``whole``.

    Raises
    ------
    KindError, ArgumentError
        If a key is not known, missing, or not as it must be; the message names it.
    """
    known = (*SECTIONS, *OTHERS)
    settings: dict[str, Any] = {}
    for section in spec:
        if section not in known:
            raise unknown(str(section), (*known, *NAMES[1:]))
    title = spec.get("title", "")
    if not isinstance(title, str):
        raise KindError(f"title must be a string, got {brief(title)}")
    for section, keys in SECTIONS.items():
        given = spec.get(section, {})
        if not isinstance(given, Mapping):
            raise KindError(f"{section} must be a table of keys, got {brief(given)}")
        for name in given:
            if name not in keys:
                raise unknown(f"{section}.{name}", NAMES)
        settings[section] = {
            name: key.read(f"{section}.{name}", given.get(name), whole)
            for name, key in keys.items()
        }
    settings["seed"] = integer("seed", spec.get("seed", 0), low=0)
    if settings["seed"] >= SEEDS:
        raise ArgumentError(f"seed must be below 2**128, got {brief(settings['seed'])}")
    return settings
