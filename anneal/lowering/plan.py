"""A graph as buffers and launches: what a device runs again and again.

In: a graph whose data are its inputs, the device's limits, which inputs may be overwritten. Out: a
Plan, pure data. Everything here is a function of structure, so the same program gives the same
bytes in every process.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from anneal import config
from anneal.lowering.cooperate import shared
from anneal.lowering.cost import item_bytes, kernel_flops
from anneal.lowering.limits import Limits
from anneal.lowering.linearize import Guarded, linearize
from anneal.lowering.rangeify import every_operation, points, stored_nodes, untied, without_masks
from anneal.lowering.schedule import Body, bodies
from anneal.lowering.split import at_once, split_long
from anneal.lowering.tile import tiled
from anneal.memo import Memo
from anneal.rules._decompose import RULES as DECOMPOSE
from anneal.rules._lowering import RULES as LOWERING
from anneal.stats import count
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.rewrite import rewrite
from anneal.uop.spec import verify
from anneal.uop.symbolic import simplify
from anneal.uop.uop import Graph, Origin, UOp, structural_key, substitute, toposort
from anneal.wgsl.render import ROW, WORKGROUP, render


@dataclass(frozen=True, slots=True)
class Slot:
    """Memory of a plan: an input's, an output's, or scratch. `alias`: the slot taken over."""

    dtype: DType
    size: int
    kind: Literal["input", "output", "temp"]
    position: int = -1
    alias: int | None = None


@dataclass(frozen=True, slots=True)
class Param:
    """One buffer of a kernel."""

    dtype: DType
    size: int
    access: Literal["read", "read_write"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Code for the device. `grid` counts workgroups, `workgroup` invocations in one."""

    name: str
    source: str
    grid: tuple[int, int, int]
    workgroup: tuple[int, int, int]
    params: tuple[Param, ...]
    flops: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of all buffers bound, each moved once."""
        return sum(p.size * item_bytes(p.dtype) for p in self.params)

    @property
    def outputs(self) -> tuple[Param, ...]:
        """The buffers that it writes."""
        return tuple(p for p in self.params if p.access == "read_write")

    @property
    def inputs(self) -> tuple[Param, ...]:
        """The buffers that it reads."""
        return tuple(p for p in self.params if p.access == "read")


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel and the slots of its params; why each buffer that it writes exists, and the lines
    of the user's Python that it computes."""

    kernel: Kernel
    args: tuple[int, ...]
    reasons: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """One call: slots, launches in order, and the slot of each result."""

    slots: tuple[Slot, ...]
    launches: tuple[Launch, ...]
    outputs: tuple[int, ...]


def lower(graph: Graph, limits: Limits, donate: frozenset[int]) -> Plan:
    """The plan of `graph` on a device; `donate`: positions of inputs whose memory outputs may
    take."""
    max_buffers, fuse = limits.max_buffers, limits.fuse
    outputs = simplify(rewrite(list(graph.outputs), LOWERING))
    outputs = without_masks(outputs) if fuse else outputs
    outputs = simplify(split_long(at_once(outputs)))
    outputs, waits = untied([_stored_form(u) for u in outputs])
    if config.verify():
        verify(outputs, "tensor")
    nodes = stored_nodes(outputs, max_buffers - 1) if fuse else every_operation(outputs)
    stored = {u: why for u, why in nodes.items() if points(u.shape)}
    kernels = bodies(list(stored), outputs, max_buffers if fuse else 0, waits)
    if config.verify():
        verify([s for k in kernels for s in k.statements], "kernel")
    count("schedules")
    return _plan(graph, outputs, kernels, donate, stored, limits.gpu)


def _stored_form(u: UOp) -> UOp:
    """An output that only renames an input's elements is that input."""
    while u.op is ops.RESHAPE or u.op in ops.IDENTITY:
        u = u.src[0]
    return u


def _plan(graph: Graph, outputs: Sequence[UOp], kernels: Sequence[Body],
          donate: frozenset[int], reasons: Mapping[UOp, str], gpu: bool) -> Plan:  # fmt: skip
    held = _in_one_memory(kernels)
    aliases = _aliases(graph, outputs, kernels, donate, held)
    kernels = _late(kernels, aliases)
    slots: list[Slot] = []
    slot_of: dict[UOp, int] = {}
    for i, p in enumerate(graph.inputs):
        slot_of[p] = len(slots)
        slots.append(Slot(p.dtype, points(p.shape), "input", i))
    last = {held.get(u, u): n for n, k in enumerate(kernels) for u in (*k.inputs, *k.outputs)}
    free: list[int] = []
    launches: list[Launch] = []
    for n, k in enumerate(kernels):
        for u in k.outputs:
            size, holder = points(u.shape), held.get(u, u)
            if holder in slot_of:
                pass
            elif holder in outputs:
                alias = slot_of[aliases[u]] if u in aliases else None
                slot_of[holder] = len(slots)
                slots.append(Slot(u.dtype, size, "output", alias=alias))
            else:
                slot_of[holder] = _temporary(slots, free, -(-size * item_bytes(u.dtype) // 4))
            slot_of[u] = slot_of[holder]
        if not _changes_nothing(k, aliases):
            launches.append(_launch(k, slot_of, aliases, reasons, gpu))
        for u in dict.fromkeys([held.get(u, u) for u in (*k.inputs, *k.outputs)]):
            if last[u] == n and slots[slot_of[u]].kind == "temp":
                free.append(slot_of[u])
    for u in outputs:
        if u not in slot_of:  # no elements: nothing computes it
            slot_of[u] = len(slots)
            slots.append(Slot(u.dtype, points(u.shape), "output"))
    return Plan(tuple(slots), tuple(launches), tuple([slot_of[u] for u in outputs]))


def _in_one_memory(kernels: Sequence[Body]) -> dict[UOp, UOp]:
    """Nodes whose memory a scatter writes into, with the last that it is then called by."""
    held: dict[UOp, UOp] = {}
    for k in reversed(kernels):
        for u in k.outputs:
            if u.op is ops.SCATTER and len(u.src) == 3:
                held[u.src[2]] = held.get(u, u)
    return held


def _temporary(slots: list[Slot], free: list[int], words: int) -> int:
    """A slot of at least `words` times 4 bytes: the least free one that is long enough, else the
    longest free one, made longer, else a new one."""
    fits = [i for i in free if slots[i].size >= words]
    if fits or free:
        i = min(fits or free, key=lambda i: slots[i].size if fits else -slots[i].size)
        free.remove(i)
        slots[i] = Slot(dtypes.uint32, max(slots[i].size, words), "temp")
        return i
    slots.append(Slot(dtypes.uint32, words, "temp"))
    return len(slots) - 1


def _aliases(graph: Graph, outputs: Sequence[UOp], kernels: Sequence[Body],
             donate: frozenset[int], held: Mapping[UOp, UOp]) -> dict[UOp, UOp]:  # fmt: skip
    """Outputs, or what is `held` in their memory, that take over a donated input: written by the
    last kernel that reads it, which reads of it only the element that it writes."""
    available = [graph.inputs[i] for i in sorted(donate)]
    available = [p for p in available if p not in outputs]
    taken: dict[UOp, UOp] = {}
    for k in kernels:
        for u in k.outputs:
            if u in held.values():
                continue  # its memory is another's
            fit = (p for p in available if held.get(u, u) in outputs and p.dtype is u.dtype
                   and points(p.shape) == points(u.shape) and _in_place(k, u, p)
                   and not _needs_after(k, p, kernels))  # fmt: skip
            p = next(fit, None)
            if p is not None:
                available.remove(p)
                taken[u] = p
    return taken


def _in_place(k: Body, u: UOp, p: UOp) -> bool:
    """Whether `k` reads of `p` only the element of `u` that it then writes."""
    if p not in k.inputs:
        return False  # another kernel may still read it; only its own reader is sure
    for part in k.parts:
        stores = [s for s in part.statements if s.op is ops.STORE and s.src[0] is k.args[u]]
        loads = [n for n in toposort(part.statements)
                 if n.op is ops.LOAD and n.src[0] is k.args[p]]  # fmt: skip
        if loads and (not stores or any(n.src[1] is not stores[0].src[1] for n in loads)):
            return False
    return any(s.op is ops.STORE and s.src[0] is k.args[u] for s in k.statements)


def _changes_nothing(k: Body, aliases: Mapping[UOp, UOp]) -> bool:
    """Whether `k` only copies donated inputs to where they are."""
    for s in k.statements:
        value = s.src[2] if s.op is ops.STORE else s
        if value.op is not ops.LOAD or value.src[1] is not s.src[1]:
            return False
        if not any(s.src[0] is k.args[u] and value.src[0] is k.args[p]
                   for u, p in aliases.items() if u in k.args and p in k.args):  # fmt: skip
            return False
    return True


def _needs_after(k: Body, p: UOp, kernels: Sequence[Body]) -> bool:
    """Whether a reader of `p` other than `k` needs what `k` computes."""
    tainted = set(k.outputs)
    for other in kernels:
        if other is not k and tainted.intersection(other.inputs):
            tainted.update(other.outputs)
            if p in other.inputs:
                return True
    return False


def _late(kernels: Sequence[Body], aliases: dict[UOp, UOp]) -> list[Body]:
    """Kernels that overwrite an input come after all others that read it."""
    maker = {u: i for i, k in enumerate(kernels) for u in k.outputs}
    before: list[set[int]] = [{maker[u] for u in k.inputs if u in maker} for k in kernels]
    for u, p in aliases.items():
        for i, k in enumerate(kernels):
            if p in k.inputs and i != maker[u]:
                before[maker[u]].add(i)
    order: list[Body] = []
    after: list[list[int]] = [[] for _ in kernels]
    for i, others in enumerate(before):
        for j in others:
            after[j].append(i)
    ready = [i for i, others in enumerate(before) if not others]
    while ready:
        i = heapq.heappop(ready)
        order.append(kernels[i])
        for j in after[i]:
            before[j].discard(i)
            if not before[j]:
                heapq.heappush(ready, j)
    if len(order) < len(kernels):
        raise RuntimeError("kernels wait for each other; please report this program")
    return order


def _launch(k: Body, slot_of: dict[UOp, int], aliases: dict[UOp, UOp],
            reasons: Mapping[UOp, str], gpu: bool) -> Launch:  # fmt: skip
    merged = {aliases[u]: u for u in k.outputs if u in aliases}
    merged.update({u.src[2]: u for u in k.outputs if u.op is ops.SCATTER and len(u.src) == 3})
    nodes = [*k.outputs, *(u for u in k.inputs if u not in merged)]
    place = {u: i for i, u in enumerate(nodes)}
    place.update({p: place[u] for p, u in merged.items()})
    renamed = {k.args[u]: UOp(ops.ARG, u.dtype, (), (place[u], points(u.shape)))
               for u in (*k.outputs, *k.inputs)}  # fmt: skip
    statements = iter(substitute(k.statements, renamed))
    parts = tuple(Guarded(p.condition, tuple([next(statements) for _ in p.statements]))
                  for p in k.parts)  # fmt: skip
    params = tuple(Param(u.dtype, points(u.shape), "read_write" if u in k.outputs else "read")
                   for u in nodes)  # fmt: skip
    why = tuple([reasons[u] for u in k.outputs])
    args = tuple([slot_of[u] for u in nodes])
    return Launch(_kernel(k.grid, parts, params, gpu), args, why, k.origins)


_kernels: Memo[tuple[str, tuple[Param, ...], bool], Kernel] = Memo(2048)


def _kernel(grid: tuple[UOp, ...], parts: tuple[Guarded, ...],
            params: tuple[Param, ...], gpu: bool) -> Kernel:  # fmt: skip
    """Rendered once for every structure."""
    statements = [s for p in parts for s in p.statements]
    conditions = [p.condition for p in parts if p.condition is not None]
    key = structural_key([*grid, *conditions, *statements])
    known = _kernels.find((key, params, gpu))
    if known is not None:
        return known
    count("kernels_rendered")
    flops = kernel_flops(grid, parts)
    given = grid
    grid, parts = tiled(grid, parts, gpu)
    lanes = shared(grid, parts) if gpu and grid is given else None
    parts = lanes or parts
    statements = [s for p in parts for s in p.statements]
    if config.verify():
        verify(statements, "kernel")
    points = math.prod(int(r.src[0].arg) for r in grid)
    groups = points if lanes else -(-points // WORKGROUP)
    reduced = "r_" if any(n.op is ops.REDUCE for n in toposort(statements)) else "e_"
    name = reduced + ("_".join(str(r.src[0].arg) for r in grid) or "1") + "_" + key[:6]
    written = iter(rewrite(statements, DECOMPOSE))
    parts = tuple(Guarded(p.condition, tuple([next(written) for _ in p.statements]))
                  for p in parts)  # fmt: skip
    text = render(name, linearize(parts), [(p.dtype, p.access) for p in params], grid,
                  lanes is not None)
    shape = (groups, 1, 1) if groups <= ROW else (ROW, -(-groups // ROW), 1)
    made = Kernel(name, text, shape, (WORKGROUP, 1, 1), params, flops)
    return _kernels.keep((key, params, gpu), made)
