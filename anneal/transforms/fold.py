"""A traced graph as one CALL of a Body: what checkpointed, and jitted functions within others, are.

In: a graph of a trace, which may read from outside. Out: a closed one, whose results are GETs of
one CALL, and what it captured, data and values of enclosing traces: its further inputs. Operands
are the inputs that are read. What is no work of the graph is none of the CALL's: results that are
inputs or constants are themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from anneal.provenance import called, substituted
from anneal.uop import ops
from anneal.uop.call import body_of, call, pruned
from anneal.uop.uop import Graph, Origins, UOp, slot, toposort


def is_outside(first: int) -> Callable[[UOp], bool]:
    """Whether a node was there before a trace, whose PARAMs have numbers from `first`: a value of
    an enclosing trace, or data."""

    def outside(u: UOp) -> bool:
        if u.traced:
            return u.traced < first
        return u.op is ops.BUFFER or u.value is not None

    return outside


class Folded(NamedTuple):
    """A graph that is one CALL; its last inputs are in the place of what was captured."""

    graph: Graph
    captured: tuple[UOp, ...]

    def called(self, args: Iterable[UOp]) -> list[UOp]:
        """Its outputs, part of the program in progress."""
        return called(self.graph, (*args, *self.captured))


def fold(graph: Graph, first: int = 0, recompute: bool = False) -> Folded:
    """`graph` as one CALL. `first`: PARAMs of lower numbers are enclosing traces'; `recompute`:
    derivatives compute again what lies within."""
    params = [p for p in graph.inputs if p.op is ops.PARAM]
    inner, captured = _divided(graph, set(params), first)
    count = len(graph.inputs)
    given = {u: slot(count + i, u.dtype, u.shape) for i, u in enumerate(captured)}
    results = {p: p for p in params} | given
    roots = list(dict.fromkeys(u for u in graph.outputs if u in inner))
    read = {s for u in inner for s in u.src}
    operands = {u: x for u, x in results.items() if u in read}
    gets, lines = _called(roots, operands, graph.lines, recompute) if roots else ([], {})
    for u, get in zip(roots, gets, strict=True):
        results[u] = get
        lines[get] = lines[get.src[0]] = graph.lines.get(u, ())
    constants = [u for u in graph.outputs if u not in results]
    lines.update({u: graph.lines.get(u, ()) for u in constants})
    outputs = tuple([results.get(u, u) for u in graph.outputs])
    return Folded(Graph((*graph.inputs, *given.values()), outputs, lines), tuple(captured))


def _called(
    roots: Sequence[UOp], operands: Mapping[UOp, UOp], lines: Mapping[UOp, Origins], recompute: bool
) -> tuple[list[UOp], dict[UOp, Origins]]:
    """`roots` as results of a CALL, and the lines of the Body. `operands`: for nodes below `roots`
    what stands for them."""
    slots = {u: slot(i, u.dtype, u.shape) for i, u in enumerate(operands)}
    made, found = substituted(roots, slots, lines)
    made = pruned(made, lambda old, new: found.update({new: found.get(old, ())}))
    nodes = dict.fromkeys(toposort(made))
    needed = [u for u in operands if slots[u] in nodes]
    variables = [u for u in nodes if u.op is ops.VAR]
    body = body_of((*(slots[u] for u in needed), *variables), tuple(made))
    return call(body, (*(operands[u] for u in needed), *variables), recompute), found


def _divided(
    graph: Graph, params: set[UOp], first: int
) -> tuple[dict[UOp, None], dict[UOp, None]]:
    """The nodes that are computed from inputs, and what else is read but constants."""
    outside = is_outside(first)
    inner: dict[UOp, None] = {}
    data: set[UOp] = set()
    captured: dict[UOp, None] = {}
    for u in toposort(graph.outputs, stop=outside):
        if u in params:
            continue
        if outside(u) or u.op is ops.PARAM:
            data.add(u)
        elif any(s in inner or s in params for s in u.src):
            inner[u] = None
            captured.update(dict.fromkeys(s for s in u.src if s in data))
        elif not data.isdisjoint(u.src):
            data.add(u)
    captured.update(dict.fromkeys(u for u in graph.outputs if u in data))
    return inner, captured
