"""What is legal in a kernel: node by node (`verify`), and for who counts ranges (`check_kinds`,
`check_limits`).

`verify` raises SpecError for a node that a kernel does not allow, for unbound ranges, and for a
LOAD and a STORE of one memory that no edge orders. `check_kinds` says what a target cannot run, or
could not run without invocations that disturb each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from anneal.kernel.ir import (
    BINDERS,
    EFFECTS,
    KINDS,
    PARALLEL,
    SPACES,
    Kernel,
    conjuncts,
    count_of,
    free,
    kind_of,
    loops_around,
    memory_of,
    name_of,
    size_of,
    terms,
)
from anneal.kernel.target import Target
from anneal.uop import dtypes, ops
from anneal.uop.spec import EVERYWHERE, Check, SpecError, check_nodes
from anneal.uop.symbolic import bounds, hi
from anneal.uop.uop import UOp, toposort

# -- node by node ----------------------------------------------------------------------------------


def verify(kernel: Kernel) -> None:
    """Raises SpecError where `kernel` is none."""
    check_nodes(kernel.nodes, SPEC, "kernel")
    unbound = free(kernel.body)
    if unbound:
        names = ", ".join(sorted(map(name_of, unbound)))
        raise SpecError(f"ranges that nothing binds: {names}, in\n{kernel}")
    names_seen: dict[str, UOp] = {}
    for r in kernel.ranges:
        if names_seen.setdefault(name_of(r), r) is not r:
            raise SpecError(f"two ranges are called {name_of(r)}, in\n{kernel}")
    if kernel.body.op not in EFFECTS:
        raise SpecError(f"a kernel is an effect, not {kernel.body.op}")


def _range(u: UOp) -> str | None:
    ok = u.dtype is dtypes.index and u.src[0].dtype is dtypes.index and not free(u.src[0])
    ok = ok and isinstance(u.arg[0], str) and u.arg[1] in KINDS
    return None if ok else f"(size), named, of a kind among {', '.join(KINDS)}"


def _argument(u: UOp) -> str | None:
    ok = len(u.src) == 1 and u.src[0].dtype is dtypes.index and isinstance(u.arg, int)
    return None if ok else "(size of dtype index), arg: its position"


def _is_memory(u: UOp) -> bool:
    return u.op in (ops.ARG, ops.STAGE, ops.AFTER)


def _load(u: UOp) -> str | None:
    memory, index, *gated = u.src
    ok = _is_memory(memory) and index.dtype is dtypes.index and memory.dtype is u.dtype
    if gated:
        ok = ok and len(gated) == 2
        ok = ok and gated[0].dtype is dtypes.bool_ and gated[1].dtype is u.dtype
    return None if ok else "(memory, index), perhaps a bool gate and what there is without"


def _store(u: UOp) -> str | None:
    memory, index, value, *gate = u.src
    ok = u.dtype is dtypes.void and _is_memory(memory) and memory_of(memory).op is ops.ARG
    ok = ok and index.dtype is dtypes.index and value.dtype is memory.dtype
    ok = ok and len(gate) < 2 and all(g.dtype is dtypes.bool_ for g in gate)
    return None if ok else "(an ARG or AFTER, index, value), perhaps a bool gate"


def _binds(u: UOp) -> bool:
    return len(u.src) > 1 and all(s.op is ops.RANGE for s in u.src[1:])


def _reduce(u: UOp) -> str | None:
    ok = _binds(u) and u.src[0].dtype is u.dtype and u.arg[0] in ("add", "mul", "max", "min")
    return None if ok else "(value, RANGE, ...), arg: add, mul, max or min"


def _stage(u: UOp) -> str | None:
    ok = _binds(u) and u.src[0].dtype is u.dtype
    ok = ok and u.arg[0] in SPACES and len(u.arg[1]) == len(u.src) - 1
    ok = ok and all(count_of(r) is not None for r in u.src[1:])
    return None if ok else "(value, RANGE, ...) of constant sizes, arg: space and strides"


def _after(u: UOp) -> str | None:
    ok = u.src[0].op is ops.ARG and len(u.src) > 1
    ok = ok and all(s.op in EFFECTS or s.op in (ops.LOAD, ops.RANGE) for s in u.src[1:])
    return None if ok else "(an ARG, effects, LOADs or RANGEs)"


def _end(u: UOp) -> str | None:
    ok = u.dtype is dtypes.void and _binds(u) and u.src[0].op in EFFECTS
    return None if ok else "(effect, RANGE, ...)"


def _block(u: UOp) -> str | None:
    ok = u.dtype is dtypes.void and len(u.src) > 1 and all(s.op in EFFECTS for s in u.src)
    return None if ok else "two or more effects"


def _opaque(u: UOp) -> str | None:
    return None if u.src[0].dtype is u.dtype else "a source of the result's dtype"


SPEC: dict[ops.Op, Check] = {
    **EVERYWHERE, ops.RANGE: _range, ops.ARG: _argument, ops.LOAD: _load, ops.STORE: _store,
    ops.REDUCE: _reduce, ops.STAGE: _stage, ops.AFTER: _after, ops.END: _end, ops.BLOCK: _block,
    ops.OPAQUE: _opaque,
}  # fmt: skip


# -- who counts ------------------------------------------------------------------------------------


def check_kinds(kernel: Kernel, target: Target) -> str | None:
    """Why `target` cannot run `kernel` as its ranges are counted; None if it can."""
    ranges = kernel.ranges
    for check in (_kinds_there, _carried_in_a_loop, _bound_where_counted, _counted_inside_itself,
                  _all_in_one_nest):  # fmt: skip
        problem = check(kernel, ranges, target)
        if problem is not None:
            return problem
    for u in kernel.nodes:
        if u.op is ops.STORE:
            problem = _collision(u, kernel)
            if problem is not None:
                return problem
    return None


def _kinds_there(kernel: Kernel, ranges: Sequence[UOp], target: Target) -> str | None:
    for r in ranges:
        if kind_of(r) not in target.kinds:
            return f"{target.name} has no {kind_of(r)} ranges"
        if kind_of(r) in ("unroll", "vector", "local") and count_of(r) is None:
            return f"{name_of(r)} is {kind_of(r)}, so it counts to a number"
        if kind_of(r) == "vector" and count_of(r) not in target.vector_widths:
            return f"{target.name} has no vectors of {count_of(r)} lanes for {name_of(r)}"
    return None


def _carried_in_a_loop(kernel: Kernel, ranges: Sequence[UOp], target: Target) -> str | None:
    for r in kernel.carried:
        if kind_of(r) != "loop":
            return f"{name_of(r)} carries memory: its iterations come one after another"
    return None


def _bound_where_counted(kernel: Kernel, ranges: Sequence[UOp], target: Target) -> str | None:
    """Parallel ranges are bound by END, or alone by the REDUCE of their partial results; a vector
    is the innermost range, and a node has one at most."""
    lanes: dict[frozenset[UOp], frozenset[UOp]] = {}  # few sets of ranges are free in all nodes
    for u in kernel.nodes:
        own = lanes.get(free(u))
        if own is None:
            own = lanes[free(u)] = frozenset(r for r in free(u) if kind_of(r) == "vector")
        binds = u.op in BINDERS
        vectors = own.union(r for r in u.src[1:] if kind_of(r) == "vector") if binds else own
        if len(vectors) > 1:
            first, second, *_ = sorted(map(name_of, vectors))
            return f"{first} and {second} are vectors of one value"
        problem = _bound_here(u, own) if binds else None
        if problem is not None:
            return problem
    return None


def _bound_here(u: UOp, own: frozenset[UOp]) -> str | None:
    """Why `u`, computed in the lanes of `own`, cannot bind its ranges; None if it can."""
    bound = u.src[1:]
    if own and u.op is ops.STAGE:
        return f"each lane of {name_of(*own)} would have a STAGE of its own"
    if u.op is ops.STAGE and u.arg[0] == "register" and any(
        kind_of(r) == "local" for r in bound
    ):  # fmt: skip
        return "invocations fill memory of their workgroup, not registers"
    if u.op is ops.STAGE and u.arg[0] == "workgroup":
        local = [r for r in free(u) if kind_of(r) == "local"]
        if local:
            return f"a workgroup has one such STAGE, not one for each {name_of(local[0])}"
    if len({id(r) for r in bound}) < len(bound):
        return "a range is bound twice"
    if any(kind_of(r) in ("grid", "thread") for r in bound):
        if u.op is ops.STAGE:
            return "what is staged for all workgroups or threads is a kernel of its own"
        if u.op is ops.REDUCE and len(bound) > 1:
            return f"group the reduction by {name_of(bound[-1])} first"
        if u.op is ops.REDUCE and free(u):
            outer = ", ".join(sorted(map(name_of, free(u))))
            return f"partial results for each count of {outer} would be many launches"
    if u.op is ops.REDUCE and len(bound) > 1 and any(
        kind_of(r) in ("local", "vector") for r in bound
    ):  # fmt: skip
        return "a range that lanes count is reduced alone: group the reduction first"
    return None


def _counted_inside_itself(kernel: Kernel, ranges: Sequence[UOp], target: Target) -> str | None:
    """A range that several bind is counted by one after the other. What binds ranges is computed in
    the innermost loop that it depends on."""
    binders = [u for u in kernel.nodes if u.op in BINDERS]
    if sum(len(u.src) - 1 for u in binders) == len(ranges):
        return None
    inner = {u: [n for n in toposort(u.src[:1] if u in binders else u.src,
                                     stop=lambda n: n.op in BINDERS) if n.op in BINDERS]
             for u in (*binders, kernel.body)}  # fmt: skip
    todo: list[tuple[UOp, tuple[UOp, ...]]] = [(kernel.body, ())]
    seen = set(todo)
    for u, loops in todo:
        while loops and loops[-1] not in free(u):
            loops = loops[:-1]
        again = set(_bound(u)).intersection(loops)
        if again:
            return f"{name_of(min(again, key=name_of))} would be counted inside of itself"
        for n in inner[u]:
            if (n, (*loops, *_bound(u))) not in seen:
                todo.append((n, (*loops, *_bound(u))))
                seen.add(todo[-1])
    return None


def _bound(u: UOp) -> tuple[UOp, ...]:
    return u.src[1:] if u.op in BINDERS else ()


def _all_in_one_nest(kernel: Kernel, ranges: Sequence[UOp], target: Target) -> str | None:
    """Every STORE lies inside of all grid and thread ranges, or it would run for each of them;
    but for those of a reduction, whose partial results another launch combines."""
    launched = frozenset(r for u in kernel.nodes if u.op is ops.END
                         for r in u.src[1:] if kind_of(r) in ("grid", "thread"))  # fmt: skip
    if not launched:
        return None
    inside: dict[UOp, frozenset[UOp]] = {kernel.body: frozenset()}
    for u in reversed(kernel.nodes):
        if u.op is ops.AFTER and any(
            s.op in EFFECTS and not launched <= free(s) for s in u.src[1:]
        ):  # fmt: skip
            return "all workgroups, or threads, must be past what an edge waits for"
        if u.op is ops.STORE and not launched <= inside.get(u, frozenset()):
            missing = ", ".join(sorted(map(name_of, launched - inside.get(u, frozenset()))))
            return f"a STORE lies outside of {missing}, and would run for each of its counts"
        if u.op in EFFECTS:
            here = inside.get(u, frozenset()) | (set(u.src[1:]) if u.op is ops.END else set())
            for s in u.src[:1] if u.op is ops.END else u.src:
                if s.op in EFFECTS:
                    inside[s] = inside[s] & here if s in inside else here
        else:
            for s in u.src if u.op is ops.AFTER else ():
                if s.op in EFFECTS:
                    inside.setdefault(s, frozenset())
    return None


def _collision(u: UOp, kernel: Kernel) -> str | None:
    """Two counts of a parallel range at which the STORE `u` would write the same element."""
    parallel = [r for r in free(u) if kind_of(r) in PARALLEL or kind_of(r) == "vector"]
    spans = _spans(u)
    for r in parallel:
        place = next((s for s in spans if r in s.ranges), None)
        if place is None:
            return f"every count of {name_of(r)} would write the same element"
    low, below = 0, frozenset[UOp]()
    known = sorted((s for s in spans if s.reach), key=lambda s: s.step)  # one count meets none
    for s in known:
        below = below | s.ranges
        if s.step <= low and not below.isdisjoint(parallel):
            return f"counts of {', '.join(sorted(map(name_of, below)))} meet in one element"
        low += s.step * (s.reach or 0)
    widest = max((s.step * ((s.reach or 0) + 1) for s in known
                  if not s.ranges.isdisjoint(parallel)), default=1)  # fmt: skip
    for s in spans:
        if s.reach is None and s.step % widest and parallel:
            return "an element is chosen by data, where parallel counts may meet"
    return None


class _Span:
    """A part of an index: `step` times something from 0 to `reach`, or of unknown size (None)."""

    __slots__ = ("ranges", "reach", "step")

    def __init__(self, step: int, reach: int | None, ranges: frozenset[UOp]) -> None:
        self.step, self.reach, self.ranges = step, reach, ranges


def _spans(u: UOp) -> list[_Span]:
    """The index of a STORE in parts that vary independently. Ranges that its gate bounds together,
    as those of a split with a tail, are one part: of splits of splits the outermost first."""
    rest = {a: c for a, c in terms(u.src[1]).items() if a is not None}
    out: list[_Span] = []
    limits = [g for g in conjuncts(u.src[3]) if g.op is ops.LT] if len(u.src) > 3 else []
    for limit in sorted(limits, key=lambda n: -len(terms(n.src[0]))):
        inner = {a: c for a, c in terms(limit.src[0]).items() if a is not None}
        least = min(inner.values(), default=0)
        if least != 1 or not all(a in rest for a in inner):
            continue
        one = next(a for a, c in inner.items() if c == 1)
        step = rest[one]
        if all(rest[a] == step * c for a, c in inner.items()):
            ranges = frozenset[UOp]().union(*(free(a) for a in inner))
            out.append(_Span(abs(step), hi(limit.src[1]) - 1, ranges))
            for a in inner:
                del rest[a]
    numbers = _in_digits(rest)
    for a, c in rest.items():
        number = _digit(a)[0]
        known = number in numbers
        out.append(_Span(abs(c), bounds(a)[1] if known else None,
                         free(number) if known else frozenset()))
    return out


def _digit(u: UOp) -> tuple[UOp, int, int | None]:
    """A number of which `u` is a digit, `number % high // low`; without a `high` the first."""
    steps = []
    while u.op in (ops.FLOORDIV, ops.MOD) and u.src[1].op is ops.CONST and int(u.src[1].arg) > 0:
        steps.append((u.op, int(u.src[1].arg), u))
        u = u.src[0]
    low: int = 1
    high: int | None = None
    for op, n, whole in reversed(steps):
        if op is ops.FLOORDIV:
            low *= n
        elif high is None or high % (low * n) == 0:
            high = low * n
        else:
            return whole, 1, None
    return u, low, high


def _in_digits(parts: Iterable[UOp]) -> set[UOp]:
    """The numbers that one-to-one are counts of ranges, and all of whose digits are `parts`: they
    and their digits determine each other."""
    found: dict[UOp, set[tuple[int, int | None]]] = {}
    for a in parts:
        number, low, high = _digit(a)
        found.setdefault(number, set()).add((low, high))
    whole: set[UOp] = set()
    for number, digits in found.items():
        reached: int | None = 1
        for start, end in sorted(digits, key=lambda d: d[0]):
            reached = end if start == reached else -1
        if reached is None and _is_one_to_one(number):
            whole.add(number)
    return whole


def _is_one_to_one(number: UOp) -> bool:
    """Whether a number says what each of its ranges counts."""
    below = 0
    parts = [(abs(c), a) for a, c in terms(number).items() if a is not None]
    for step, r in sorted(parts, key=lambda part: part[0]):
        if r.op is not ops.RANGE or step <= below:
            return False
        below += step * (hi(r.src[0]) - 1)
    return True


def check_limits(kernel: Kernel, target: Target) -> str | None:
    """Which of the target's limits `kernel` exceeds; None if it runs as it is."""
    ranges = kernel.ranges
    axes = local_axes(kernel)
    grid = [r for r in ranges if kind_of(r) == "grid"]
    if max(axes.values(), default=0) >= target.local_axes or len(grid) > target.grid_axes:
        return f"{target.name} has {target.grid_axes} grid and {target.local_axes} local axes"
    invocations = math.prod({a: count_of(r) or 1 for r, a in axes.items()}.values())
    if invocations > target.max_local:
        return f"{invocations} invocations of a workgroup; {target.name} has {target.max_local}"
    for r in grid:
        if hi(r.src[0]) > target.max_grid:
            return f"{name_of(r)} counts to {hi(r.src[0])}; a grid axis to {target.max_grid}"
    shared = sum((_elements(u) * max(u.dtype.itemsize, 4)) for u in kernel.nodes
                 if u.op is ops.STAGE and u.arg[0] == "workgroup")  # fmt: skip
    if shared > target.workgroup_bytes:
        return f"{shared} bytes of a workgroup; {target.name} has {target.workgroup_bytes}"
    if len(kernel.params) > target.max_buffers:
        return f"{len(kernel.params)} buffers; {target.name} binds {target.max_buffers}"
    beyond = _beyond(kernel, target)
    if beyond is not None:
        return beyond
    loops = iterations(kernel)
    if target.max_loop is not None and loops > target.max_loop:
        return f"{loops} iterations of an invocation; {target.name} ends them at {target.max_loop}"
    return None


def _beyond(kernel: Kernel, target: Target) -> str | None:
    """Positions that the target would wrap without a word."""
    most = 1 << (target.index_bits - 1)
    for u in kernel.nodes if target.index_bits < 64 else ():
        if u.dtype is dtypes.index:
            low, high = bounds(u)
            if low < -most or high >= most:
                return (f"{max(high, -low)} as a position, more than {target.index_bits} bits "
                        "hold: compute it in parts")  # fmt: skip
    return None


def local_axes(kernel: Kernel) -> dict[UOp, int]:
    """The axis of the workgroup along which each LOCAL range is counted: one axis serves ranges of
    one size of which no value knows two."""
    together = {known for ranges in {free(u) for u in kernel.nodes}
                if len(known := frozenset(r for r in ranges if kind_of(r) == "local")) > 1}
    axes: dict[UOp, int] = {}
    for r in kernel.ranges:
        axis = 0
        while kind_of(r) == "local" and r not in axes:
            others = {q for q, a in axes.items() if a == axis}
            if all(q.src[0] is r.src[0] for q in others) and not any(
                r in known and known & others for known in together
            ):  # fmt: skip
                axes[r] = axis
            axis += 1
    return axes


def operations(kernel: Kernel) -> int:
    """How many nodes there are once UNROLL ranges are written out."""
    return sum(math.prod(count_of(r) or 1 for r in free(u) if kind_of(r) == "unroll")
               for u in kernel.nodes)  # fmt: skip


def _elements(s: UOp) -> int:
    return int(size_of(s).arg)


def iterations(kernel: Kernel) -> int:
    """How often the loops of one invocation run, all together, at most: as if whatever binds a
    range stood in all the loops that some binder of it stands in."""
    around = loops_around(kernel)
    seen: dict[tuple[frozenset[UOp], tuple[UOp, ...]], int] = {}
    for u in kernel.nodes:
        if u.op not in BINDERS:
            continue
        outer = free(u).union(*(around.get(r, frozenset()) for r in free(u)))
        loops = frozenset(r for r in outer if kind_of(r) == "loop")
        own = tuple([r for r in u.src[1:] if kind_of(r) == "loop"])
        trips, total = math.prod(max(hi(r.src[0]), 1) for r in loops), 0
        for r in own:
            trips *= max(hi(r.src[0]), 1)
            total += trips
        seen[loops, own] = total
    return sum(seen.values())
