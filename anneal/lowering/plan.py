"""A graph as buffers and launches: what a device runs again and again.

In: a graph whose data are its inputs, the device's limits, which inputs may be overwritten. Out: a
Plan, pure data. Everything here is a function of structure, so the same program gives the same
bytes in every process.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from anneal import config
from anneal.errors import LoweringError
from anneal.lowering.code import Job, Kernel, Param, Unfit, kernels_for
from anneal.lowering.cost import item_bytes, kernel_flops
from anneal.lowering.kernels import Guarded
from anneal.lowering.limits import Limits, called
from anneal.lowering.passes import Lowering, Observer, observed
from anneal.lowering.rangeify import points
from anneal.lowering.schedule import Body, bodies
from anneal.provenance import Lines, Table
from anneal.stats import count
from anneal.uop import dtypes, ops
from anneal.uop.call import all_nodes
from anneal.uop.dtypes import DType
from anneal.uop.spec import verify
from anneal.uop.uop import Graph, UOp, substitute, toposort


@dataclass(frozen=True, slots=True)
class Slot:
    """Memory of a plan: an input's, an output's, or scratch. `alias`: the slot taken over."""

    dtype: DType
    size: int
    kind: Literal["input", "output", "temp"]
    position: int = -1
    alias: int | None = None


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


def lower(graph: Graph, limits: Limits, donate: frozenset[int],
          observe: Observer | None = None) -> Plan:  # fmt: skip
    """The plan of `graph` on a device; `donate`: positions of inputs whose memory outputs may
    take. `observe` is told of every pass."""
    places = Table({u: (i,) for i, u in enumerate(all_nodes(graph))})
    passes = Lowering(limits, places.carry, observe)
    outputs, stored = passes.run(graph.outputs)

    def group(stored: Mapping[UOp, str]) -> list[Body]:
        """Which stored nodes one kernel makes, and their statements."""
        return bodies(list(stored), outputs, limits.max_buffers if limits.fuse else 0, passes.waits)

    kernels = observed(observe, group, stored)
    if config.verify():
        verify([s for k in kernels for s in k.statements], "kernel")
    count("schedules")
    plan = _plan(graph, outputs, kernels, donate, stored, places, limits, observe)
    _check_names(plan, limits)
    return plan


def _check_names(plan: Plan, limits: Limits) -> None:
    """LoweringError for opts of kernels that the program does not have."""
    known = {called(s.key): None for launch in plan.launches for s in launch.kernel.nests}
    unknown = [name for name, _ in limits.opts if name not in known]
    if unknown:
        raise LoweringError(
            f"opts name kernel {', '.join(unknown)}, which the program does not have; it has "
            f'{", ".join(known) or "none"}: see jit(f, ...).lower(...).as_text("nests")'
        )


def _plan(graph: Graph, outputs: Sequence[UOp], kernels: Sequence[Body],
          donate: frozenset[int], reasons: Mapping[UOp, str], places: Table[int],
          limits: Limits, observe: Observer | None) -> Plan:  # fmt: skip
    held = _in_one_memory(kernels)
    aliases = _aliases(graph, outputs, kernels, donate, held)
    kernels = _late(kernels, aliases)
    results = set(outputs)
    slots: list[Slot] = []
    slot_of: dict[UOp, int] = {}
    for i, p in enumerate(graph.inputs):
        slot_of[p] = len(slots)
        slots.append(Slot(p.dtype, points(p.shape), "input", i))
    groups = _side_by_side(kernels, aliases, limits)
    last = {held.get(u, u): n for n, group in enumerate(groups)
            for k in group for u in (*k.inputs, *k.outputs)}  # fmt: skip
    free: list[int] = []
    launches: list[Launch] = []
    for n, group in enumerate(groups):
        touched = [u for k in group for u in (*k.inputs, *k.outputs)]
        for u in (u for k in group for u in k.outputs):
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
        if not _changes_nothing(group[0], aliases):
            made = tuple(sorted({i for k in group for i in _made(k, places)}))
            try:
                launches += _launches(group, slots, slot_of, aliases, reasons, made, limits,
                                      observe)  # fmt: skip
            except Unfit as e:
                raise _refused(graph, made, str(e)) from None
        for u in dict.fromkeys([held.get(u, u) for u in touched]):
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


# Operations of a kernel that costs little more than its launch.
_SMALL = 1 << 25
# Kernels of a launch.
_MOST_BESIDE = 4


def _side_by_side(kernels: Sequence[Body], aliases: Mapping[UOp, UOp],
                  limits: Limits) -> list[list[Body]]:  # fmt: skip
    """Kernels in order, those together that are one launch: neighbours that do not wait for each
    other, all but one of them small."""
    groups: list[list[Body]] = []
    large = 0  # in the last of them
    for k in kernels:
        mine = kernel_flops(k.parts) > _SMALL
        if (groups and limits.fuse and large + mine < 2
                and _fits_beside(groups[-1], k, aliases, limits.max_buffers)):  # fmt: skip
            groups[-1].append(k)
            large += mine
        else:
            groups.append([k])
            large = mine
    return groups


def _fits_beside(group: list[Body], k: Body, aliases: Mapping[UOp, UOp], most: int) -> bool:
    every = [*group, k]
    if len(every) > _MOST_BESIDE or _changes_nothing(k, aliases) or (
        _changes_nothing(group[0], aliases)
    ):  # fmt: skip
        return False
    written = {u for b in group for u in b.outputs}
    read = {u for b in group for u in b.inputs}
    if not written.isdisjoint(k.inputs):
        return False
    if any(u.op is ops.SCATTER and len(u.src) == 3 for b in every for u in b.outputs):
        return False  # in memory that others hold
    if any(aliases.get(u) in read for u in k.outputs):
        return False  # it overwrites what the others read
    return len(_bound(every, aliases)) <= most


def _bound(group: Sequence[Body], aliases: Mapping[UOp, UOp]) -> list[UOp]:
    """The nodes whose memory kernels side by side bind, outputs first."""
    outputs = [u for k in group for u in k.outputs]
    taken = {aliases[u] for u in outputs if u in aliases}
    taken.update(u.src[2] for u in outputs if u.op is ops.SCATTER and len(u.src) == 3)
    return list(dict.fromkeys([*outputs, *(u for k in group for u in k.inputs if u not in taken)]))


def _launches(group: Sequence[Body], slots: list[Slot], slot_of: dict[UOp, int],
              aliases: dict[UOp, UOp], reasons: Mapping[UOp, str], made: tuple[int, ...],
              limits: Limits, observe: Observer | None) -> list[Launch]:  # fmt: skip
    outputs = [u for k in group for u in k.outputs]
    nodes = _bound(group, aliases)
    place = {u: i for i, u in enumerate(nodes)}
    place.update({aliases[u]: place[u] for u in outputs if u in aliases})
    place.update({u.src[2]: place[u] for u in outputs if u.op is ops.SCATTER and len(u.src) == 3})
    params = tuple(Param(u.dtype, points(u.shape), "read_write" if u in outputs else "read")
                   for u in nodes)  # fmt: skip
    why = {place[u]: reasons[u] for u in outputs}
    args = {place[u]: slot_of[u] for u in nodes}
    if limits.fuse and len(nodes) > limits.max_buffers:
        raise Unfit(f"binds {len(nodes)} buffers; the device allows {limits.max_buffers}")
    launched = []
    jobs = [_job(k, place) for k in group]
    for kernel, binds in kernels_for(jobs, params, limits, observe):
        for position, p in zip(binds, kernel.params, strict=True):
            if position not in args:  # what one launch leaves for the next
                args[position] = _temporary(slots, [], -(-p.size * item_bytes(p.dtype) // 4))
        written = [n for n, p in zip(binds, kernel.params, strict=True) if p.access != "read"]
        mine = tuple([why[n] for n in written if n in why])
        launched.append(Launch(kernel, tuple([args[n] for n in binds]), mine, made))
    return launched


def _job(k: Body, place: Mapping[UOp, int]) -> Job:
    """What a kernel does, its ARGs by where the launch binds them."""
    renamed = {k.args[u]: UOp(ops.ARG, u.dtype, (), (place[u], points(u.shape)))
               for u in (*k.outputs, *k.inputs)}  # fmt: skip
    statements = iter(substitute(k.statements, renamed))
    parts = tuple(Guarded(p.condition, tuple([next(statements) for _ in p.statements]))
                  for p in k.parts)  # fmt: skip
    return k.grid, parts


def _made(k: Body, places: Table[int]) -> tuple[int, ...]:
    """The positions of what `k` computes: all between what it writes and what it reads."""
    given = {*k.inputs, *(u.src[2] for u in k.outputs if u.op is ops.SCATTER and len(u.src) == 3)}
    given.difference_update(k.outputs)
    nodes = toposort(k.outputs, stop=given.__contains__)
    return tuple(sorted({i for u in nodes if u not in given for i in places.of(u)}))


def _refused(graph: Graph, made: Sequence[int], why: str) -> LoweringError:
    lines = dict.fromkeys(f"{o.file}:{o.line}" for o in Lines(graph).of(made))
    where = ", ".join(list(lines)[:3]) or "a kernel"
    return LoweringError(f"{where} {why}")
