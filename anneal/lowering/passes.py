"""The passes from a graph to kernels, in their order, and who watches them.

In: the outputs of a graph. Out: nodes to be stored, each with the reason. A pass is a function with
one line of documentation; an observer sees what each was given and gave, the rules that fired and
the time. `lowering/code.py` has the passes from kernels to text, which it observes, too.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from anneal import config
from anneal.lowering.limits import Limits
from anneal.lowering.rangeify import every_operation, points, stored_nodes, untied
from anneal.lowering.sink import sunk
from anneal.lowering.split import at_once, split_long
from anneal.rules._lowering import RULES
from anneal.uop import ops
from anneal.uop.call import inlined
from anneal.uop.rewrite import Fired, rewrite
from anneal.uop.spec import verify
from anneal.uop.symbolic import simplify
from anneal.uop.uop import Carry, UOp, toposort


@dataclass(frozen=True, slots=True)
class Step:
    """A pass that ran: its name and line of documentation; what it was given, and gave; the rules
    that fired, and how long it took."""

    name: str
    doc: str
    before: Any
    after: Any
    fired: tuple[Fired, ...]
    seconds: float


Observer = Callable[[Step], None]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


def observed(observe: Observer | None, run: Callable[[_In], _Out], given: _In,
             fired: Sequence[Fired] = (),
             said: Callable[..., Any] | None = None) -> _Out:  # fmt: skip
    """What a pass makes of what it is given; `fired` fills while it runs. Its name and line are
    those of `said`, where that is another function."""
    if observe is None:
        return run(given)
    start = time.perf_counter()
    made = run(given)
    seconds = time.perf_counter() - start
    said = said or run
    doc = (said.__doc__ or "").strip().partition("\n")[0]
    observe(Step(said.__name__.strip("_"), doc, given, made, tuple(fired), seconds))
    return made


@dataclass(slots=True)
class Lowering:
    """What the passes over one graph know: limits, where lines of Python are carried to, and what
    they find out on the way."""

    limits: Limits
    carry: Carry
    observe: Observer | None = None
    fired: list[Fired] = field(default_factory=list)
    waits: dict[UOp, tuple[UOp, ...]] = field(default_factory=dict)

    def run(self, outputs: Sequence[UOp]) -> tuple[list[UOp], dict[UOp, str]]:
        """The outputs as kernels compute them, and the nodes to be stored, with reasons."""
        made = list(outputs)
        for one in GRAPH:
            self.fired.clear()
            made = observed(self.observe, functools.partial(one, self), made, self.fired, one)
            if config.verify():
                verify(made, "tensor")

        def place(outputs: list[UOp]) -> dict[UOp, str]:
            """Which nodes become buffers, and why."""
            if not self.limits.fuse:
                return every_operation(outputs)
            return stored_nodes(outputs, self.limits.max_buffers - 1, self.limits.target.shared)

        nodes = observed(self.observe, place, made)
        return made, {u: why for u, why in nodes.items() if points(u.shape)}

    def record(self) -> Callable[[Fired], None] | None:
        """Who notes the rules that fire."""
        return self.fired.append if self.observe is not None else None


GraphPass = Callable[[Lowering, list[UOp]], list[UOp]]


def _inline(at: Lowering, outputs: list[UOp]) -> list[UOp]:
    """What CALLs compute, in their places."""
    return inlined(outputs, at.carry)


def _drop_markers(at: Lowering, outputs: list[UOp]) -> list[UOp]:
    """What only transforms need goes: rules/lowering.upat."""
    return rewrite(outputs, RULES, record=at.record(), carry=at.carry)


def _simplify(at: Lowering, outputs: list[UOp]) -> list[UOp]:
    """The same values, by rules/symbolic.upat."""
    return simplify(outputs, record=at.record(), carry=at.carry)


def _sink_movement(at: Lowering, outputs: list[UOp]) -> list[UOp]:
    """Movement of rows goes to what the rows are computed from."""
    return sunk(outputs, at.carry) if at.limits.fuse else outputs


def _reduce_at_once(at: Lowering, outputs: list[UOp]) -> list[UOp]:
    """A reduction of a reduction is one."""
    return at_once(outputs, at.carry)


def _split_reductions(at: Lowering, outputs: list[UOp]) -> list[UOp]:
    """Long reductions and scatters, in parts."""
    return split_long(outputs, at.carry)


def _rename_results(at: Lowering, outputs: list[UOp]) -> list[UOp]:
    """A result that only renames an input's elements is that input."""
    return [_renamed(u) for u in outputs]


def _renamed(u: UOp) -> UOp:
    while u.op is ops.RESHAPE or u.op in ops.IDENTITY:
        u = u.src[0]
    return u


def _note_order(at: Lowering, outputs: list[UOp]) -> list[UOp]:
    """What AFTERs wait for is noted beside the graph: order is no data."""
    made, at.waits = untied(outputs, at.carry)
    return made


GRAPH: tuple[GraphPass, ...] = (
    _inline, _drop_markers, _simplify, _sink_movement, _simplify, _reduce_at_once,
    _split_reductions, _simplify, _rename_results, _note_order,
)  # fmt: skip


# Passes of lowering/code.py, which run for each launch.
PER_LAUNCH = ("nest", "shape", "cut", "write")


def table(steps: Sequence[Step]) -> str:
    """The passes as lines: nodes that each left (of text lines, of places entries), milliseconds,
    what it does, the rules that fired. Those that run for every launch are one line each."""
    runs: dict[object, list[Step]] = {}
    for n, s in enumerate(steps):
        runs.setdefault(s.name if s.name in PER_LAUNCH else n, []).append(s)
    lines = [f"{'pass':18}{'leaves':>8}{'ms':>9}"]
    for run in runs.values():
        left, spent = sum(_length(s.after) for s in run), sum(s.seconds for s in run)
        lines.append(f"{run[0].name:18}{left:8}{spent * 1e3:9.2f}  {run[0].doc}")
        fired = Counter(f.rule.name for s in run for f in s.fired)
        if fired:
            most = sorted(fired.items(), key=lambda item: (-item[1], item[0]))
            lines.append(" " * 37 + ", ".join([f"{name} {count}" for name, count in most]))
    return "\n".join(lines)


def _length(value: Any) -> int:
    if isinstance(value, UOp):
        return 1
    if isinstance(value, dict):
        return len(value)
    if isinstance(value, list):
        if value and all(isinstance(v, UOp) for v in value):
            return len(toposort(value))
        return sum(map(_length, value))
    if hasattr(value, "source"):
        return len(value.source.splitlines())
    nodes = value.nodes if hasattr(value, "nodes") else toposort(value.statements)
    return len(nodes)
