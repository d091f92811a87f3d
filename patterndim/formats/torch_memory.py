"""What tensors of torch share, and which of them change while a module runs."""

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from patterndim.typing import IntArray

#: Functions such as ``+=``: operator.iadd, which changes its first argument.
ASSIGNMENTS = {
    name for name in dir(operator) if name[0] == "i" and f"__{name[1:]}__" in dir(operator)
}

#: Modules, functions and methods that give their argument's own memory.
VIEWS = {"Identity", "Dropout", "Flatten", "dropout", "flatten", "view", "reshape", "contiguous"}

#: What only looks at the sizes of an array.
LOOKS = {"size", "getattr"}


def sharing(tensors: Iterable[tuple[str, Any]]) -> tuple[str, str] | None:
    """Names of two tensors that share numbers, or twice of one that repeats its own; or None."""
    used: dict[Any, list[tuple[str, Any]]] = {}
    for name, tensor in tensors:
        if tensor.numel() > 0:
            key = tensor.device, tensor.untyped_storage().data_ptr()
            used.setdefault(key, []).append((name, tensor))
    for members in used.values():
        names, parts = zip(*members, strict=True)
        if len(parts) == 1 and parts[0].is_contiguous():
            continue
        # What needs more bytes than there are overlaps, and may be too large to be looked at.
        if sum(part.nbytes for part in parts) > parts[0].untyped_storage().nbytes():
            return names[0], names[-1]
        places = np.concatenate([_places(part) for part in parts])
        owners = np.repeat(np.arange(len(parts)), [part.numel() for part in parts])
        order = np.argsort(places, kind="stable")
        if (again := np.flatnonzero(np.diff(places[order]) == 0)).size:
            one, other = owners[order[again[0] : again[0] + 2]]
            return names[one], names[other]
    return None


def _places(tensor: Any) -> IntArray:
    """Bytes at which the numbers of a tensor lie in its storage."""
    places = np.array([tensor.storage_offset()])
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = np.add.outer(places, stride * np.arange(length)).reshape(-1)
    return places * int(tensor.element_size())


def tracer(fx: Any) -> Any:
    """Tracer of torch.fx that keeps ``h += x`` apart from ``h = h + x``."""

    def assignment(name: str) -> Callable[[Any, Any], Any]:
        function = getattr(operator, name)
        return lambda self, other: self.tracer.create_proxy(
            "call_function", function, (self, other), {}
        )

    methods = {f"__{name}__": assignment(name) for name in ASSIGNMENTS}
    proxy = type("InPlaceProxy", (fx.Proxy,), methods)
    return type("InPlaceTracer", (fx.Tracer,), {"proxy": lambda self, node: proxy(node, self)})()


def changed_and_read(traced: Any) -> tuple[str, str] | None:
    """
    Names of a node changed in place and of one that reads its old name afterwards; or None.

    The graph of torch.fx says what a node is made of, and not that it is another by then.
    """
    memory: dict[Any, Any] = {}  # the node whose memory a node has
    changed: dict[Any, Any] = {}  # the last node that changed a memory
    position = {node: k for k, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        kind, writes = _kind(traced, node)
        for given in node.all_input_nodes:
            last = changed.get(memory.get(given, given))
            if last is not None and position[given] < position[last] and kind not in LOOKS:
                return given.name, node.name
        first = node.all_input_nodes[0] if node.all_input_nodes else None
        if first is not None and (writes or kind in VIEWS):
            memory[node] = memory.get(first, first)
        if first is not None and writes:
            changed[memory[node]] = node
    return None


def _kind(traced: Any, node: Any) -> tuple[str, bool]:
    """Name of what a node does, and whether it changes its first argument."""
    if node.op == "call_module":
        module = traced.get_submodule(node.target)
        return type(module).__name__, bool(getattr(module, "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return "", False
    name = str(getattr(node.target, "__name__", node.target))
    writes = name in ASSIGNMENTS or (name.endswith("_") and not name.endswith("__"))
    return name, writes or bool(node.kwargs.get("inplace"))
