"""
Networks from programs: what a framework's graph computes, followed step by step.

Every step is a layer: a matrix, a bias, a sum, or (leaky) ReLU.  In the end a layer without
activation that others only add up becomes part of their sums, if that repeats no parameter; what
remains, such as the stream of a residual network, is a linear layer (slope 1).
"""

from dataclasses import dataclass, field

from patterndim.errors import ArgumentError
from patterndim.formats.imported import Dense, Imported, Node, Terms, graph
from patterndim.typing import AnyArray

#: Most terms of a sum that several others take up: sums of sums of sums would grow without end.
MOST_REPEATED = 64


@dataclass(frozen=True)
class Value:
    """The activations of a layer; or, at the very end, what a head makes of them."""

    layer: int
    head: str = "identity"


@dataclass(eq=False)
class Program:
    """The layers found so far in the graph of a source."""

    source: str
    nodes: list[Node] = field(default_factory=list)
    known: dict[tuple[Terms, float], Value] = field(default_factory=dict)

    @property
    def input(self) -> Value:
        """The inputs of the network."""
        return Value(0)

    def refuse(self, where: str, requirement: str) -> ArgumentError:
        """Return the error that names a layer."""
        return ArgumentError(
            f"{self.source} must be made of dense layers, sums and (leaky) ReLU: "
            f"got {where}, {requirement}"
        )

    def dense(self, value: Value, dense: Dense, where: str) -> Value:
        """Apply a linear layer."""
        return self._layer(((self._open(value, where), dense),))

    def add(self, left: Value, right: Value, where: str) -> Value:
        """Add two values."""
        return self._layer(((self._open(left, where), None), (self._open(right, where), None)))

    def shift(self, value: Value, name: str, bias: AnyArray, where: str) -> Value:
        """Add a bias."""
        self.nodes.append(Node(((self._open(value, where), None),), 1.0, name, bias))
        return Value(len(self.nodes))

    def relu(self, value: Value, slope: float, where: str) -> Value:
        """Apply (leaky) ReLU."""
        if not 0.0 <= slope <= 1.0:
            raise self.refuse(where, f"whose slope {slope} is not from 0 to 1")
        layer = self._open(value, where)
        rectified = layer > 0 and self.nodes[layer - 1].slope == 0.0
        return value if rectified or slope == 1.0 else self._layer(((layer, None),), slope)

    def head(self, value: Value, head: str, where: str) -> Value:
        """Apply what only the outputs may pass."""
        return Value(self._open(value, where), head)

    def finish(self, value: Value) -> Imported:
        """Network whose outputs are a value; its parameters in the order of its layers."""
        nodes = _joined(self.nodes, value.layer)
        used: set[str] = set()
        for node in nodes:
            for name in [*(dense.name for dense in node.denses), *(b for b, _ in node.biases)]:
                if name in used:
                    raise self.refuse(name, "which must be used once and not shared")
                used.add(name)
        if not used:
            raise ArgumentError(f"{self.source} must have at least one linear layer, got none")
        return graph(_width(nodes), nodes, source=self.source)

    def _open(self, value: Value, where: str) -> int:
        if value.head != "identity":
            raise self.refuse(where, f"after a {value.head}, which must come last")
        return value.layer

    def _layer(self, terms: Terms, slope: float = 1.0) -> Value:
        """Layer of a sum; the same one twice is one layer."""
        if (terms, slope) not in self.known:
            self.nodes.append(Node(terms, slope))
            self.known[terms, slope] = Value(len(self.nodes))
        return self.known[terms, slope]


def _joined(nodes: list[Node], output: int) -> list[Node]:
    """Nodes that lead to the output, which is the last, without sums that others can take up."""
    found = dict(enumerate([*nodes, Node(((output, None),), 1.0)], start=1))
    needed = {len(found)}
    for v in range(len(found), 0, -1):
        if v in needed:
            needed.update(u for u, _ in found[v].incoming)
    found = {v: found[v] for v in sorted(needed - {0})}
    kept = [v for v, taken in _taken_up(found).items() if not taken]
    numbers = {0: 0} | {v: number for number, v in enumerate(kept, start=1)}
    return [_whole(found, v, numbers) for v in kept]


def _taken_up(found: dict[int, Node]) -> dict[int, bool]:
    """Whether the sums that have a layer as a term take up its terms and bias instead."""
    takers: dict[int, list[int]] = {v: [] for v in (0, *found)}
    for w, node in found.items():
        for u, _ in node.incoming:
            takers[u].append(w)
    multiplied = {u for node in found.values() for u, dense in node.incoming if dense is not None}
    # Of a layer with all that it has taken up, which comes before it.
    biased = {v: bool(node.biases) for v, node in found.items()}
    bare = {v: not (node.denses or node.biases) for v, node in found.items()}
    terms = {v: len(node.incoming) for v, node in found.items()}
    taken = dict.fromkeys(found, False)
    for w, node in found.items():
        for v in dict.fromkeys(u for u, _ in node.incoming):
            if v == 0 or found[v].slope != 1.0 or v in multiplied:
                continue
            once = len(takers[v]) == 1
            if bare[v]:
                taken[v] = once or terms[v] <= MOST_REPEATED
            else:
                taken[v] = once and not (biased[v] and biased[w])
            if taken[v]:
                biased[w] |= biased[v]
                bare[w] &= bare[v]
                terms[w] += (terms[v] - 1) * takers[v].count(w)
    return taken


def _whole(found: dict[int, Node], v: int, numbers: dict[int, int]) -> Node:
    """Layer with the terms and the bias of those that it takes up, and numbers for what is kept."""
    own, incoming = found[v], []
    stack = [*reversed(own.incoming)]
    while stack:
        u, dense = stack.pop()
        if u in numbers:
            incoming.append((numbers[u], dense))
        else:
            stack += reversed(found[u].incoming)
            own = own if found[u].bias is None else found[u]
    return Node(tuple(incoming), found[v].slope, own.bias_name, own.bias)


def _width(nodes: list[Node]) -> int:
    """Width of the input, found from what the layers above take and give."""
    widths: dict[int, int] = {}
    for v in range(len(nodes), 0, -1):
        incoming = nodes[v - 1].incoming
        given = [dense.width for _, dense in incoming if dense is not None]
        given += [bias.size for _, bias in nodes[v - 1].biases]
        if given:
            widths[v] = given[0]
        for u, dense in incoming:
            if dense is not None:
                widths[u] = dense.inputs
            elif v in widths:
                widths[u] = widths[v]
    return widths[0]
