"""
Networks from programs: what a framework's graph computes, followed step by step.

Every step is a layer: a matrix, a bias, a sum, or (leaky) ReLU.  In the end a layer without
activation that others only add up becomes part of their sums, if that repeats no parameter; what
remains, such as the stream of a residual network, is a linear layer (slope 1).
"""

from dataclasses import dataclass, field, replace

from patterndim.errors import ArgumentError
from patterndim.formats.imported import Dense, Imported, Node, Terms, graph
from patterndim.typing import AnyArray


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
    for v in list(found):
        ends = [(w, dense) for w in found for u, dense in found[w].incoming if u == v]
        if found[v].slope != 1.0 or v == len(nodes) + 1 or any(dense for _, dense in ends):
            continue
        free = not (found[v].denses or found[v].biases)
        if free or (len(ends) == 1 and not (found[v].biases and found[ends[0][0]].biases)):
            node = found.pop(v)
            for w in {w for w, _ in ends}:
                found[w] = _taken_up(node, v, found[w])
    numbers = {0: 0} | {v: number for number, v in enumerate(found, start=1)}
    return [
        replace(node, incoming=tuple((numbers[u], dense) for u, dense in node.incoming))
        for node in found.values()
    ]


def _taken_up(node: Node, v: int, taker: Node) -> Node:
    """Sum that takes up another, which it has as a term, and its bias."""
    incoming: list[tuple[int, Dense | None]] = []
    for term in taker.incoming:
        incoming += node.incoming if term[0] == v else [term]
    own = node if node.bias is not None else taker
    return Node(tuple(incoming), taker.slope, own.bias_name, own.bias)


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
