"""
Networks from programs: what a framework's graph computes, followed step by step.

A value is a sum of terms, each the activations of a layer or a Dense of them.  ReLU closes a sum
into a layer.  Activations are never negative behind ReLU (slope 0), so that a ReLU changes
nothing on a sum of them: where a linear layer acts on such a sum, a layer that adds them up by
identity connections is put in, exactly.
"""

from dataclasses import dataclass, field

from patterndim.errors import ArgumentError
from patterndim.formats.imported import Dense, Imported, Node, graph

Terms = tuple[tuple[int, Dense | None], ...]


@dataclass(frozen=True, eq=False)
class Value:
    """A sum of terms; or, at the very end, what a head makes of it."""

    terms: Terms
    head: str = "identity"


@dataclass(eq=False)
class Program:
    """The layers found so far in the graph of a source."""

    source: str
    nodes: list[Node] = field(default_factory=list)
    layers: dict[tuple[Terms, float], int] = field(default_factory=dict)

    @property
    def input(self) -> Value:
        """The inputs of the network."""
        return Value(((0, None),))

    def refuse(self, where: str, requirement: str) -> ArgumentError:
        """Return the error that names a layer."""
        return ArgumentError(
            f"{self.source} must be made of dense layers, sums and (leaky) ReLU: "
            f"got {where}, {requirement}"
        )

    def dense(self, value: Value, dense: Dense, where: str) -> Value:
        """Apply a linear layer."""
        return Value(((self._layer(value, where), dense),))

    def add(self, left: Value, right: Value, where: str) -> Value:
        """Add two values."""
        return Value(self._open(left, where) + self._open(right, where))

    def relu(self, value: Value, slope: float, where: str) -> Value:
        """Apply (leaky) ReLU."""
        if not 0.0 <= slope < 1.0:
            raise self.refuse(where, f"whose slope {slope} is not at least 0 and below 1")
        terms = self._open(value, where)
        if len(terms) == 1 and self._nonnegative(terms):
            return value
        return Value(((self._close(terms, slope), None),))

    def head(self, value: Value, head: str, where: str) -> Value:
        """Apply what only the outputs may pass."""
        return Value(self._open(value, where), head)

    def finish(self, value: Value) -> Imported:
        """Network whose outputs are a value; its parameters in the order of its layers."""
        nodes = [*self.nodes, Node(value.terms)]
        used: set[str] = set()
        for dense in (dense for node in nodes for dense in node.denses):
            names = {dense.name} if dense.bias is None else {dense.name, dense.bias_name}
            if names & used:
                raise self.refuse(min(names & used), "which must be used once and not shared")
            used |= names
        if not used:
            raise ArgumentError(f"{self.source} must have at least one linear layer, got none")
        return graph(self._width(nodes), nodes, source=self.source)

    def _open(self, value: Value, where: str) -> Terms:
        if value.head != "identity":
            raise self.refuse(where, f"after a {value.head}, which must come last")
        return value.terms

    def _close(self, terms: Terms, slope: float) -> int:
        """Layer of a sum behind ReLU; the same sum twice is one layer."""
        if (terms, slope) not in self.layers:
            self.nodes.append(Node(terms, slope))
            self.layers[terms, slope] = len(self.nodes)
        return self.layers[terms, slope]

    def _nonnegative(self, terms: Terms) -> bool:
        return all(W is None and u > 0 and self.nodes[u - 1].slope == 0.0 for u, W in terms)

    def _layer(self, value: Value, where: str) -> int:
        """Layer whose activations a value is."""
        terms = self._open(value, where)
        if len(terms) == 1 and terms[0][1] is None:
            return terms[0][0]
        if not self._nonnegative(terms):
            raise self.refuse(where, "which must act on the input or on what a ReLU gives")
        return self._close(terms, 0.0)

    def _width(self, nodes: list[Node]) -> int:
        """Width of the input, found from what the layers above take and give."""
        widths: dict[int, int] = {}
        for v in range(len(nodes), 0, -1):
            incoming = nodes[v - 1].incoming
            for _, dense in incoming:
                if dense is not None:
                    widths[v] = dense.width
            for u, dense in incoming:
                if dense is not None:
                    widths[u] = dense.inputs
                elif v in widths:
                    widths[u] = widths[v]
        return widths[0]
