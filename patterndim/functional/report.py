"""A functional dimension in words, for people who read a terminal."""

from patterndim.functional.result import FunctionalDimension
from patterndim.network import Network


def lines(network: Network, found: FunctionalDimension) -> list[tuple[str, str]]:
    """
    Name and text of each line of a report.

    Examples
    --------
    >>> from patterndim import functional_dimension
    >>> network = Network.random((2, 5, 1), rng=0, bias_std=0.1)
    >>> for name, text in lines(network, functional_dimension(network, method="exact")):
    ...     print(f"{name:20} {text}")
    network              Network(2-5-1, P=21, H=5)
    functional dimension 16
    method               exact: 48 formal inputs, 16 activation regions
    kind                 proved: lower and upper bound meet
    at most              16 by parameters (P - H = 16)
    complete             yes: met the bound for all samples
    """
    most = f"{found.upper} by {found.bound}"
    if all(connection.trainable for connection in network.architecture.connections):
        most += f" (P - H = {network.parameter_count - network.hidden_neurons})"
    formal = "" if found.method == "sample" else "formal "
    report = [
        ("network", repr(network)),
        ("functional dimension", str(found.value)),
        (
            "method",
            f"{found.method}: {found.inputs:,} {formal}inputs, "
            f"{found.regions:,} activation regions",
        ),
        ("kind", _evidence(found)),
        ("at most", most),
        ("complete", f"{'yes' if found.complete else 'no'}: {found.reason}"),
    ]
    if found.unseen is not None and found.sampling_failure is not None:
        report.append(
            (
                "estimates",
                f"{100 * found.unseen:.1f} % of fresh inputs lie in regions not met; another "
                f"sample falls short with probability up to {found.sampling_failure:.1e}",
            )
        )
    if found.ties:
        where = {"sample": "at inputs", "patterns": "in patterns", "exact": "on whole regions"}
        report.append(("ties", f"{found.ties:,} exact zeros {where[found.method]}"))
    return report


def _evidence(found: FunctionalDimension) -> str:
    """What the value rests on."""
    if found.kind == "proved":
        return "proved: lower and upper bound meet"
    if found.method == "sample":
        return (
            "a lower bound for certain; the rank at these inputs is higher with probability "
            f"below {found.rank_failure:.1e}"
        )
    return (
        f"probable: at least {found.lower} for certain, "
        f"higher with probability below {found.failure_probability:.1e}"
    )
