"""Learning rates that change while a network is trained."""

from bisect import bisect_right
from collections.abc import Callable, Mapping

from patterndim.errors import ArgumentError
from patterndim.validation import integer, number

Rate = float | Mapping[int, float] | Callable[[int], float]


def as_schedule(rate: Rate) -> Callable[[int], float]:
    """Rate as a function of the step, from a number, from milestones, or from a function."""
    if callable(rate):
        function = rate
        return lambda step: number(f"rate at step {step}", function(step), low=0.0)
    if not isinstance(rate, Mapping):
        constant = number("rate", rate, low=0.0)
        if constant == 0.0:
            raise ArgumentError("rate must be positive, got 0")
        return lambda step: constant
    starts = sorted(integer("steps of rate", start, low=0) for start in rate)
    if not starts or starts[0] != 0:
        raise ArgumentError(f"rate must start at step 0, got steps {starts}")
    rates = [number(f"rate from step {start}", rate[start], low=0.0) for start in starts]
    return lambda step: rates[bisect_right(starts, step) - 1]
