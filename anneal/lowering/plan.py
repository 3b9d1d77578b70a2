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
from anneal.errors import LoweringError
from anneal.kernel.decompose import decompose
from anneal.kernel.expand import launches
from anneal.kernel.heuristic import for_cpu, for_webgpu
from anneal.kernel.ir import Kernel as Nest
from anneal.kernel.ir import kind_of
from anneal.kernel.spec import check_limits
from anneal.kernel.spec import verify as verify_kernel
from anneal.kernel.target import Target
from anneal.llvm import render as native
from anneal.lowering.cost import item_bytes, kernel_flops
from anneal.lowering.kernels import Guarded
from anneal.lowering.limits import Limits
from anneal.lowering.nests import kernels_of
from anneal.lowering.rangeify import every_operation, points, stored_nodes, untied, without_masks
from anneal.lowering.schedule import Body, bodies
from anneal.lowering.split import at_once, split_long
from anneal.memo import Memo
from anneal.provenance import Lines, Table
from anneal.rules._lowering import RULES as LOWERING
from anneal.stats import count
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.rewrite import rewrite
from anneal.uop.spec import verify
from anneal.uop.symbolic import hi, simplify
from anneal.uop.uop import Graph, UOp, structural_key, substitute, toposort
from anneal.wgsl import render as wgsl


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
    """Code for the device. `grid` counts workgroups, or the chunks that threads share, `workgroup`
    invocations in one. `scratch`: bytes that each thread needs; `nest`: its loops, as text."""

    name: str
    source: str
    grid: tuple[int, int, int]
    workgroup: tuple[int, int, int]
    params: tuple[Param, ...]
    flops: int = 0
    scratch: int = 0
    nest: str = ""

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
    """A kernel and the slots of its params; why each buffer that it writes exists, and which of the
    graph's nodes, by position, it computes: of any graph of the structure."""

    kernel: Kernel
    args: tuple[int, ...]
    reasons: tuple[str, ...] = ()
    made: tuple[int, ...] = ()


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
    places = Table({u: (i,) for i, u in enumerate(graph.nodes())})
    carry = places.carry
    outputs = simplify(rewrite(list(graph.outputs), LOWERING, carry=carry), carry=carry)
    outputs = without_masks(outputs, carry) if fuse else outputs
    outputs = simplify(split_long(at_once(outputs, carry), carry), carry=carry)
    outputs, waits = untied([_stored_form(u) for u in outputs], carry)
    if config.verify():
        verify(outputs, "tensor")
    nodes = stored_nodes(outputs, max_buffers - 1) if fuse else every_operation(outputs)
    stored = {u: why for u, why in nodes.items() if points(u.shape)}
    kernels = bodies(list(stored), outputs, max_buffers if fuse else 0, waits)
    if config.verify():
        verify([s for k in kernels for s in k.statements], "kernel")
    count("schedules")
    return _plan(graph, outputs, kernels, donate, stored, places, limits)


def _stored_form(u: UOp) -> UOp:
    """An output that only renames an input's elements is that input."""
    while u.op is ops.RESHAPE or u.op in ops.IDENTITY:
        u = u.src[0]
    return u


def _plan(graph: Graph, outputs: Sequence[UOp], kernels: Sequence[Body],
          donate: frozenset[int], reasons: Mapping[UOp, str], places: Table[int],
          limits: Limits) -> Plan:  # fmt: skip
    held = _in_one_memory(kernels)
    aliases = _aliases(graph, outputs, kernels, donate, held)
    kernels = _late(kernels, aliases)
    results = set(outputs)
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
            elif holder in results:
                alias = slot_of[aliases[u]] if u in aliases else None
                slot_of[holder] = len(slots)
                slots.append(Slot(u.dtype, size, "output", alias=alias))
            else:
                slot_of[holder] = _temporary(slots, free, -(-size * item_bytes(u.dtype) // 4))
            slot_of[u] = slot_of[holder]
        if not _changes_nothing(k, aliases):
            made = _made(k, places)
            try:
                launches += _launches(k, slots, slot_of, aliases, reasons, made, limits)
            except _Unfit as e:
                raise _refused(graph, made, str(e)) from None
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
    results, holders = set(outputs), set(held.values())
    position = {graph.inputs[i]: i for i in donate if graph.inputs[i] not in results}
    order = _Order(kernels)
    taken: dict[UOp, UOp] = {}
    for n, k in enumerate(kernels):
        fit = [p for p in sorted(k.inputs, key=lambda p: position.get(p, -1)) if p in position]
        accesses = [_accesses(part) for part in k.parts] if fit else []
        for u in k.outputs:
            if u in holders or held.get(u, u) not in results:
                continue  # its memory is another's, or no result's
            for p in fit:
                if (p in position and p.dtype is u.dtype and points(p.shape) == points(u.shape)
                        and _in_place(accesses, k.args[u], k.args[p])
                        and order.is_last(n, p)):  # fmt: skip
                    del position[p]
                    taken[u] = p
                    break
    return taken


class _Order:
    """Which kernels must come before which, as bits of ints: by what they read, and since one that
    overwrites an input comes after all others that read it."""

    def __init__(self, kernels: Sequence[Body]) -> None:
        maker = {u: i for i, k in enumerate(kernels) for u in k.outputs}
        self.readers = _readers(kernels)
        self.before: list[int] = []
        for k in kernels:
            mine = 0
            for i in {maker[u] for u in k.inputs if u in maker}:
                mine |= self.before[i] | 1 << i
            self.before.append(mine)

    def is_last(self, n: int, p: UOp) -> bool:
        """Whether kernel `n` may come after all others that read `p`; if so, it does from now."""
        others = [i for i in self.readers[p] if i != n]
        if any(self.before[i] >> n & 1 for i in others):
            return False
        new = 0
        for i in others:
            new |= self.before[i] | 1 << i
        if new & ~self.before[n]:
            for i, mine in enumerate(self.before):
                if i == n or mine >> n & 1:
                    self.before[i] |= new
        return True


def _readers(kernels: Sequence[Body]) -> dict[UOp, list[int]]:
    """The numbers of the kernels that read each node."""
    readers: dict[UOp, list[int]] = {}
    for i, k in enumerate(kernels):
        for u in k.inputs:
            readers.setdefault(u, []).append(i)
    return readers


Accesses = tuple[dict[UOp, UOp], dict[UOp, list[UOp]]]


def _accesses(part: Guarded) -> Accesses:
    """Where each memory is first stored to, and where it is loaded from."""
    stores: dict[UOp, UOp] = {}
    loads: dict[UOp, list[UOp]] = {}
    for s in part.statements:
        if s.op is ops.STORE:
            stores.setdefault(s.src[0], s.src[1])
    for n in toposort(part.statements):
        if n.op is ops.LOAD:
            loads.setdefault(n.src[0], []).append(n.src[1])
    return stores, loads


def _in_place(accesses: Sequence[Accesses], written: UOp, read: UOp) -> bool:
    """Whether of `read` only the element is read that `written` then gets."""
    for stores, loads in accesses:
        if any(x is not stores.get(written) for x in loads.get(read, ())):
            return False
    return any(written in stores for stores, _ in accesses)


def _changes_nothing(k: Body, aliases: Mapping[UOp, UOp]) -> bool:
    """Whether `k` only copies donated inputs to where they are."""
    for s in k.statements:
        value = s.src[2] if s.op is ops.STORE else s
        if value.op is not ops.LOAD or value.src[1] is not s.src[1]:
            return False
        if not any(s.src[0] is k.args[u] and value.src[0] is k.args.get(aliases[u])
                   for u in k.outputs if u in aliases):  # fmt: skip
            return False
    return True


def _late(kernels: Sequence[Body], aliases: dict[UOp, UOp]) -> list[Body]:
    """Kernels that overwrite an input come after all others that read it."""
    maker = {u: i for i, k in enumerate(kernels) for u in k.outputs}
    before: list[set[int]] = [{maker[u] for u in k.inputs if u in maker} for k in kernels]
    readers = _readers(kernels)
    for u, p in aliases.items():
        before[maker[u]].update(i for i in readers[p] if i != maker[u])
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


def _launches(k: Body, slots: list[Slot], slot_of: dict[UOp, int], aliases: dict[UOp, UOp],
              reasons: Mapping[UOp, str], made: tuple[int, ...],
              limits: Limits) -> list[Launch]:  # fmt: skip
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
    why = {place[u]: reasons[u] for u in k.outputs}
    args = {place[u]: slot_of[u] for u in nodes}
    if limits.fuse and len(nodes) > limits.max_buffers:
        raise _Unfit(f"binds {len(nodes)} buffers; the device allows {limits.max_buffers}")
    launched = []
    for kernel, binds in _kernels(k.grid, parts, params, limits.target):
        for position, p in zip(binds, kernel.params, strict=True):
            if position not in args:  # what one launch leaves for the next
                args[position] = _temporary(slots, [], -(-p.size * item_bytes(p.dtype) // 4))
        written = [n for n, p in zip(binds, kernel.params, strict=True) if p.access != "read"]
        mine = tuple([why[n] for n in written if n in why])
        launched.append(Launch(kernel, tuple([args[n] for n in binds]), mine, made))
    return launched


def _made(k: Body, places: Table[int]) -> tuple[int, ...]:
    """The positions of what `k` computes: all between what it writes and what it reads."""
    given = {*k.inputs, *(u.src[2] for u in k.outputs if u.op is ops.SCATTER and len(u.src) == 3)}
    given.difference_update(k.outputs)
    nodes = toposort(k.outputs, stop=given.__contains__)
    return tuple(sorted({i for u in nodes if u not in given for i in places.of(u)}))


class _Unfit(Exception):
    """What is wrong with a kernel, without the line that is to blame."""


def _refused(graph: Graph, made: Sequence[int], why: str) -> LoweringError:
    lines = dict.fromkeys(f"{o.file}:{o.line}" for o in Lines(graph).of(made))
    where = ", ".join(list(lines)[:3]) or "a kernel"
    return LoweringError(f"{where} {why}")


# A kernel, and what it binds: positions among the params of the schedule's, and beyond.
_Bound = tuple[Kernel, tuple[int, ...]]
_rendered: Memo[tuple[str, tuple[Param, ...], Target], tuple[_Bound, ...]] = Memo(2048)


def _kernels(grid: tuple[UOp, ...], parts: tuple[Guarded, ...], params: tuple[Param, ...],
             target: Target) -> tuple[_Bound, ...]:  # fmt: skip
    """The device's kernels for one of the schedule's, written once for every structure: a nest for
    each set of ranges, and more where partial results are combined after all of them are there."""
    statements = [s for p in parts for s in p.statements]
    conditions = [p.condition for p in parts if p.condition is not None]
    key = structural_key([*grid, *conditions, *statements])
    known = _rendered.find((key, params, target))
    if known is not None:
        return known
    count("kernels_rendered")
    shape = for_cpu if target.name == "cpu" else for_webgpu
    steps = [launches(shape(nest, target).kernel) for nest in kernels_of(grid, parts)]
    for nest in (nest for step in steps for nest in step):
        if config.verify():
            verify_kernel(nest)
        if (problem := check_limits(nest, target)) is not None:
            raise _Unfit(f"needs {problem}")
    write = _for_cpu if target.name == "cpu" else _for_webgpu
    flops = kernel_flops(grid, parts)
    made = []
    for n, text in enumerate(write(steps, target)):
        reduces = any(nest.reduces for nest in text.nests)
        written = {u.arg for nest in text.nests for u in nest.written}
        bound = {u.arg: Param(u.dtype, int(u.src[0].arg),
                              "read_write" if u.arg in written else "read")
                 for nest in text.nests for u in nest.params}  # fmt: skip
        kernel = Kernel(f"{'r' if reduces else 'e'}_{key[:6]}_{n}", text.source, text.grid,
                        text.workgroup, tuple([bound[i] for i in text.binds]),
                        0 if n else flops, text.scratch, "\n".join(map(str, text.nests)))
        made.append((kernel, text.binds))
    return _rendered.keep((key, params, target), tuple(made))


@dataclass(frozen=True, slots=True)
class _Text:
    """What a device compiles of some nests, and how it is launched."""

    nests: tuple[Nest, ...]
    source: str
    binds: tuple[int, ...]
    grid: tuple[int, int, int]
    workgroup: tuple[int, int, int] = (1, 1, 1)
    scratch: int = 0


def _for_cpu(steps: Sequence[Sequence[Nest]], target: Target) -> list[_Text]:
    """Each nest is a launch: one native call runs all of them."""
    out = []
    for nest in (nest for step in steps for nest in step):
        text = native.render(decompose(nest, target))
        grid = (int(text.chunks.arg), 1, 1)
        out.append(_Text((nest,), text.source, text.params, grid, scratch=text.scratch))
    return out


def _for_webgpu(steps: Sequence[Sequence[Nest]], target: Target) -> list[_Text]:
    """Nests that do not wait for each other are one launch, if their workgroups fit together and
    are few enough for an axis."""
    nests = [nest for step in steps for nest in step]
    groups = sum(math.prod(hi(r.src[0]) for r in nest.ranges if kind_of(r) == "grid")
                 for nest in nests)  # fmt: skip
    together = (len(nests) == len(steps) and groups <= target.max_grid
                and wgsl.fit_together(nests))  # fmt: skip
    out = []
    for mine in [tuple(nests)] if together else [(nest,) for nest in nests]:
        text = wgsl.render(*[decompose(nest, target) for nest in mine])
        x, y, z = (*[int(n.arg) for n in text.groups], 1, 1, 1)[:3]
        a, b, c = text.workgroup
        out.append(_Text(mine, text.source, text.params, (x, y, z), (a, b, c)))
    return out
