"""Graphs as values: Bodies, which CALLs hold, and what is done to calls.

A Body is closed: its leaves are constants and its inputs, which are `slot`s and VARs. It is
interned and weakly held, as nodes are, so that equal graphs are one Body, and nodes that hold it
are equal. Walks do not enter it; who wants to asks for `bodies`.

    call = UOp(CALL, void, operands, (body, recompute))      UOp(GET, dtype, (call,), i)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from anneal.uop import dtypes, ops
from anneal.uop.uop import (
    Carry,
    Graph,
    Shape,
    UOp,
    dim_uop,
    rebuild,
    structural_key,
    substitute,
    toposort,
)

T = TypeVar("T")
Inputs = tuple[UOp, ...]


class Body:
    """A closed graph. `key`: its digest; `nodes`: all of it, sources first; `calls`: the Bodies
    that these call; `flows`: for each output the inputs that a path of floats leads from, as the
    bits of an int; `memo`: what has been made of it; `is_derivative`: of another, which it reads
    the operands of."""

    __slots__ = ("__weakref__", "calls", "flows", "inputs", "is_derivative", "key", "memo", "nodes",
                 "outputs")  # fmt: skip

    def __init__(self, inputs: Inputs, outputs: tuple[UOp, ...]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.nodes = toposort(outputs)
        self.calls = _called(self.nodes)
        self.key = structural_key(outputs, inputs)
        self.flows = _flows(self)
        self.memo: dict[Any, Any] = {}
        self.is_derivative = False

    @property
    def name(self) -> str:
        return f"body_{self.key[:6]}"

    def __repr__(self) -> str:
        return self.name

    def at(self, shape: Shape, operands: Sequence[UOp]) -> Shape:
        """A shape within, given operands."""
        if all(isinstance(d, int) for d in shape):
            return shape
        from anneal.uop.symbolic import simplify_dim

        bound = {p: x for p, x in zip(self.inputs, operands, strict=True) if p.op is ops.VAR}
        return tuple(map(simplify_dim, substitute([dim_uop(d) for d in shape], bound)))


def _flows(body: Body) -> tuple[int, ...]:
    flow = {p: int(p.dtype.is_float) << i for i, p in enumerate(body.inputs)}
    for u in body.nodes:
        if u not in flow:
            found = 0
            if u.dtype.is_float and u.op is not ops.STOP_GRADIENT:
                for s in (u.src if u.op is not ops.GET else sources_of(u)):
                    found |= flow[s]
            flow[u] = found
    return tuple([flow[u] for u in body.outputs])


_bodies: WeakValueDictionary[tuple[Inputs, tuple[UOp, ...]], Body] = WeakValueDictionary()
_lock = threading.RLock()


def body_of(inputs: Inputs, outputs: tuple[UOp, ...]) -> Body:
    """The Body of these inputs (`slot`s, then VARs) and outputs."""
    key = (inputs, outputs)
    found = _bodies.get(key)
    if found is None:
        made = Body(inputs, outputs)
        with _lock:
            found = _bodies.setdefault(key, made)
    return found


def next_slot(body: Body) -> int:
    """The number of a `slot` that the Body does not have, nor any after it: a part of another has
    some of its."""
    return 1 + max((-1 - p.arg[0] for p in body.inputs if p.op is ops.PARAM), default=-1)


def live_bodies() -> int:
    """How many Bodies exist in this process."""
    return len(_bodies)


def call(body: Body, operands: Iterable[UOp], recompute: bool = False) -> list[UOp]:
    """The results of a call of `body`; `recompute`: its derivatives compute again what lies between
    operands and results instead of keeping it."""
    made = UOp(ops.CALL, dtypes.void, tuple(operands), (body, recompute))
    return [UOp(ops.GET, u.dtype, (made,), i) for i, u in enumerate(body.outputs)]


def sources_of(get: UOp) -> list[UOp]:
    """The operands from which a path of floats leads to a GET."""
    (made,) = get.src
    flow = made.arg[0].flows[get.arg]
    return [s for k, s in enumerate(made.src) if flow >> k & 1]


def results_read(order: Iterable[UOp]) -> dict[UOp, list[UOp]]:
    """The CALLs among nodes, each with the GETs among them that read it, by number."""
    found: dict[UOp, list[UOp]] = {}
    for u in order:
        if u.op is ops.GET:
            found.setdefault(u.src[0], []).append(u)
    return {made: sorted(gets, key=lambda u: int(u.arg)) for made, gets in found.items()}


def bodies(nodes: Iterable[UOp]) -> list[Body]:
    """The Bodies of the CALLs among `nodes` and those within them, each once, inner ones first."""
    done: dict[Body, None] = {}
    todo = _called(nodes)[::-1]
    while todo:
        body = todo[-1]
        pending = [b for b in body.calls if b not in done] if body not in done else []
        if pending:
            todo.extend(reversed(pending))
        else:
            done[body] = None
            todo.pop()
    return list(done)


def _called(nodes: Iterable[UOp]) -> list[Body]:
    return list(dict.fromkeys(u.arg[0] for u in nodes if u.op is ops.CALL))


def within(nodes: Iterable[UOp]) -> list[UOp]:
    """The nodes of all Bodies that `nodes` call, and that those do, each once."""
    return list(dict.fromkeys(u for body in bodies(nodes) for u in body.nodes))


def all_nodes(graph: Graph) -> list[UOp]:
    """The nodes of a graph and of the Bodies in it: what positions in a graph count."""
    nodes = graph.nodes()
    return list(dict.fromkeys([*nodes, *within(nodes)]))


# -- without recursion -----------------------------------------------------------------------------

# What yields another of its kind is sent what that one returns.
Task = Generator["Task[Any]", Any, T]


def run(first: Task[T]) -> T:
    """What `first` returns; those that it yields, and they yield, wait on a stack, so that calls in
    calls are no deeper for Python than one."""
    stack: list[Task[Any]] = [first]
    answer: Any = None
    try:
        while True:
            try:
                inner = stack[-1].send(answer)
            except StopIteration as done:
                stack.pop()
                answer = done.value
                if not stack:
                    result: T = answer
                    return result
            else:
                stack.append(inner)
                answer = None
    finally:
        while stack:  # an exception ends those that wait, the innermost first
            stack.pop().close()


# -- pruning ---------------------------------------------------------------------------------------


def pruned(roots: Sequence[UOp], carry: Carry) -> list[UOp]:
    """`roots` whose CALLs have only the results that are read, and the operands that those need."""
    order = toposort(roots)
    read = results_read(order)
    if all(len(gets) == len(u.arg[0].outputs) for u, gets in read.items()):
        return list(roots)
    done: dict[UOp, UOp] = {}
    for u in order:
        if u.op is ops.CALL and u in read:
            body, kept = _part(u.arg[0], tuple([g.arg for g in read[u]]))
            made = call(body, [done[u.src[k]] for k in kept], u.arg[1])
            done[u] = made[0].src[0]
            done.update(zip(read[u], made, strict=True))
        elif u not in done:
            done[u] = rebuild(u, tuple([done[s] for s in u.src])) if u.src else u
        if done[u] is not u:
            carry(u, done[u])
    return [done[r] for r in roots]


def _part(body: Body, results: tuple[int, ...]) -> tuple[Body, list[int]]:
    """The Body of some results, and the inputs that those need; nodes stay as they are."""
    if len(results) == len(body.outputs):
        return body, list(range(len(body.inputs)))
    known = body.memo.get(results)
    if known is None:
        outputs = tuple([body.outputs[i] for i in results])
        nodes = set(toposort(outputs))
        kept = [k for k, p in enumerate(body.inputs) if p in nodes]
        part = body_of(tuple([body.inputs[k] for k in kept]), outputs)
        part.is_derivative = body.is_derivative
        known = body.memo[results] = part, kept
    found: tuple[Body, list[int]] = known
    return found


# -- inlining --------------------------------------------------------------------------------------


def inlined(
    roots: Sequence[UOp], carry: Carry | None = None, keep: Callable[[UOp], bool] = lambda u: False
) -> list[UOp]:
    """`roots` with the nodes of Bodies, given operands, in the place of CALLs, but for those that
    are to stay; of a call's results those that are read."""
    return run(_inlining(roots, {}, carry, keep))


def _inlining(
    roots: Sequence[UOp], given: Mapping[UOp, UOp], carry: Carry | None, keep: Callable[[UOp], bool]
) -> Task[list[UOp]]:
    order = toposort(roots)
    read = results_read(order)
    done = dict(given)
    gone: set[UOp] = set()
    for u in order:
        if u in done or u.op is ops.GET and u.src[0] in gone:
            continue
        if u.op is ops.CALL and not keep(u):
            gone.add(u)
            body, gets = u.arg[0], read.get(u, [])
            operands = [done[s] for s in u.src]
            made = yield _inlining([body.outputs[g.arg] for g in gets],
                                   dict(zip(body.inputs, operands, strict=True)), carry, keep)
            done.update(zip(gets, made, strict=True))
            continue
        new = done[u] = rebuild(u, tuple([done[s] for s in u.src])) if u.src else u
        if carry is not None:
            carry(u, new)
    return [done[r] for r in roots]
