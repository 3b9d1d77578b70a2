"""Opts: a schedule as data. Each is a substitution on named ranges that keeps what a kernel means.

In: a kernel and an Opt. Out: the kernel of another shape, or Refused with the reason. A list of
Opts prints as one line and can be given by hand:

    SPLIT(i, 8) VECTOR(j%4) GROUP(k/64) STAGE(1, j%4, k%64)

| Opt | |
|---|---|
| SPLIT(r, n) | `r` is `r/n * n + r%n`, two ranges, guarded where n does not divide |
| MERGE(r, s) | `r*s` counts both, `s` the faster: neighbours in memory become one range |
| CUT(r, n) | two nests, or two reductions: below n, and from n on, called `r+n` |
| LOOP UNROLL VECTOR GRID THREAD LOCAL (r) | who counts `r` |
| REORDER(r, s, ...) | these ranges in this order, where one END binds them all |
| GROUP(r) | the reductions over `r` and others reduce over the others first: partial results |
| STAGE(m, r, ...) | argument m's elements within these ranges, and what is made of each, once |
| KEEP(r) | what several loops over `r` compute alike is computed once, before them: a STAGE |
| APART(r) | each loop over `r` that fills memory counts a range of its own: `r.0`, `r.1` |
| CACHE(r, s) | the sum over `r` in blocks, carried by the output, outside of `s` |
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from anneal.kernel.ir import (
    BINDERS,
    KINDS,
    Kernel,
    Opt,
    after,
    axis,
    block,
    count_of,
    end,
    free,
    instantiated,
    kind_of,
    load,
    memory_of,
    name_of,
    reduce,
    stage,
    staged_position,
    store,
)
from anneal.kernel.spec import check_kinds, check_limits
from anneal.kernel.target import Target
from anneal.uop import dtypes, ops
from anneal.uop.symbolic import hi, simplify
from anneal.uop.uop import UOp, const, rebuild, toposort


class Refused(Exception):
    """An Opt that this kernel, or this target, cannot take; the message is the reason."""


def parse(text: str) -> tuple[Opt, ...]:
    """The Opts of a line as they print. ValueError for what is none.

    >>> parse("SPLIT(i, 8) VECTOR(i%8)")
    (Opt(name='SPLIT', args=('i', 8)), Opt(name='VECTOR', args=('i%8',)))
    """
    found: list[Opt] = []
    rest = text.strip()
    while rest:
        name, opened, after_name = rest.partition("(")
        inside, closed, rest = after_name.partition(")")
        if not opened or not closed or name.strip() not in _TABLE:
            known = ", ".join(_TABLE)
            raise ValueError(f"expected Opts such as SPLIT(i, 8), of {known}; got {text!r}")
        words = [w.strip() for w in inside.split(",")]
        args = tuple([int(w) if re.fullmatch("[0-9]{1,9}", w) else w for w in words])
        found.append(Opt(name.strip(), args))
        form = _form(found[-1].name)
        if not _has_form(args, form):
            raise ValueError(f"expected {found[-1].name}({', '.join(form)}), got {found[-1]}")
        rest = rest.strip()
    return tuple(found)


def _form(name: str) -> list[str]:
    """What an Opt takes, as its function says: ranges and numbers."""
    own = list(inspect.signature(_TABLE[name]).parameters.values())[1:]
    form = ["number" if p.annotation == "int" else "range" for p in own]
    return [*form, "..."] if own[-1].kind is inspect.Parameter.VAR_POSITIONAL else form


def _has_form(args: Sequence[str | int], form: list[str]) -> bool:
    many = form[-1] == "..."
    form = [*form[:-1], *["range"] * (len(args) - len(form) + 1)] if many else form
    return len(args) == len(form) and all(
        isinstance(a, int) if what == "number" else isinstance(a, str) and a != ""
        for a, what in zip(args, form, strict=True)
    )


def apply(kernel: Kernel, opts: Sequence[Opt], target: Target) -> Kernel:
    """`kernel` in the shape that `opts` ask for, within the target's limits. Raises Refused with
    the reason, and the Opt if it is one's."""
    for opt in opts:
        try:
            body = _TABLE[opt.name](kernel, *opt.args)
            (body,) = simplify([body])
            if free(body):
                names = ", ".join(sorted(map(name_of, free(body))))
                raise Refused(f"{names} would be bound by nothing")
            made = replace(kernel, body=body, opts=(*kernel.opts, opt))
            problem = check_kinds(made, target)
            if problem is not None:
                raise Refused(problem)
        except Refused as refused:
            raise Refused(f"{opt}: {refused}") from None
        kernel = made
    problem = check_limits(kernel, target)
    if problem is not None:
        raise Refused(problem)
    return kernel


# -- substitution ----------------------------------------------------------------------------------


def _range(kernel: Kernel, name: str | int) -> UOp:
    found = [r for r in kernel.ranges if name_of(r) == name]
    if len(found) != 1:
        names = ", ".join(map(name_of, kernel.ranges))
        raise Refused(f"no range is called {name}; there are {names}")
    return found[0]


def _substituted(root: UOp, r: UOp, value: UOp, ranges: tuple[UOp, ...],
                 inside: UOp | None = None) -> UOp:  # fmt: skip
    """`root` with `value` for the count `r`, and `ranges` bound where `r` was. Where `inside` is
    false the count is none of `r`: nothing is read or written there, and nothing combined."""
    done: dict[UOp, UOp] = {r: value}
    for u in toposort([root]):
        if u in done:
            continue
        src = tuple([done[s] for s in u.src])
        if u.op in BINDERS and r in u.src[1:]:
            done[u] = _rebound(u, src, r, ranges, inside)
        elif inside is not None and u.op in (ops.LOAD, ops.STORE) and r in free(u.src[1]):
            done[u] = _guarded(u, src, inside)
        else:
            done[u] = rebuild(u, src)
    return done[root]


def _rebound(u: UOp, src: tuple[UOp, ...], r: UOp, ranges: tuple[UOp, ...],
             inside: UOp | None) -> UOp:  # fmt: skip
    body, arg = src[0], u.arg
    bound = tuple([x for s in u.src[1:] for x in (ranges if s is r else (s,))])
    if u.op is ops.REDUCE and inside is not None and not _is_gated_product(u, body, inside):
        body = inside.where(body, const(identity_of(u), u.dtype))
    if u.op is ops.STAGE:
        space, strides = u.arg
        own = strides[u.src[1:].index(r)]
        reach = sum(n * (hi(s.src[0]) - 1) for s, n in zip(u.src[1:], strides, strict=True)
                    if s is not r)  # fmt: skip
        if inside is not None and own <= reach:
            raise Refused(f"{name_of(r)} is an inner axis of a STAGE: padding would overlap in it")
        arg = space, tuple([n for s, stride in zip(u.src[1:], strides, strict=True)
                            for n in (_split_strides(stride, ranges) if s is r else (stride,))])
    return UOp(u.op, u.dtype, (body, *bound), arg)


def _split_strides(stride: int, ranges: tuple[UOp, ...]) -> tuple[int, ...]:
    """Strides of the ranges that one of `stride` becomes."""
    out: list[int] = []
    for q in reversed(ranges):
        out.append(stride)
        stride *= hi(q.src[0])
    return tuple(reversed(out))


def _guarded(u: UOp, src: tuple[UOp, ...], inside: UOp) -> UOp:
    first = 2 if u.op is ops.LOAD else 3
    gate = src[first] & inside if len(src) > first else inside
    if u.op is ops.STORE:
        return store(src[0], src[1], src[2], gate)
    return load(src[0], src[1], gate, src[3] if len(src) > 3 else None)


def _is_gated_product(u: UOp, body: UOp, inside: UOp) -> bool:
    """Whether it is a sum of products of which a factor is read as 0 outside: it needs no select,
    which would keep the product and the sum from being one operation."""
    if u.arg[0] != "add" or body.op is not ops.MUL:
        return False
    gated = [s.op is ops.LOAD and len(s.src) > 2 and _is_zero(s.src[3])
             and inside in toposort([s.src[2]]) for s in body.src]  # fmt: skip
    return all(gated)


def _is_zero(u: UOp) -> bool:
    return u.op is ops.CONST and u.arg == 0


def identity_of(u: UOp) -> bool | int | float:
    """What a REDUCE of nothing gives."""
    how = u.arg[0]
    if how in ("add", "mul"):
        return int(how == "mul")
    return u.dtype.min if how == "max" else u.dtype.max


# -- the Opts --------------------------------------------------------------------------------------


def _split(kernel: Kernel, name: str, n: int) -> UOp:
    r = _range(kernel, name)
    if r in kernel.carried:
        raise Refused(f"{name} carries memory: its iterations stay in one loop")
    if kind_of(r) in ("unroll", "vector"):
        raise Refused(f"{name} is {kind_of(r)} already: split it before")
    size = r.src[0]
    if n < 1:
        raise Refused(f"cannot split into parts of {n}")
    outer = axis(simplify([(size + (n - 1)) // n])[0], f"{name}/{n}", kind_of(r))
    inner = axis(n, f"{name}%{n}", kind_of(r))
    value = outer * n + inner
    whole = simplify([(size % n).eq(0)])[0]
    divides = whole.op is ops.CONST and bool(whole.arg)
    return _substituted(kernel.body, r, value, (outer, inner), None if divides else value < size)


def _merge(kernel: Kernel, slow: str, fast: str) -> UOp:
    r, s = _range(kernel, slow), _range(kernel, fast)
    if r is s or {r, s} & kernel.carried or not kind_of(r) == kind_of(s) == "loop":
        raise Refused(f"{slow} and {fast} are two LOOPs that carry no memory")
    size = simplify([r.src[0] * s.src[0]])[0]
    both = axis(size if size.op is not ops.CONST else int(size.arg), f"{slow}*{fast}")
    done: dict[UOp, UOp] = {r: both // s.src[0], s: both % s.src[0]}
    for u in kernel.nodes:
        if u in done:
            continue
        src = tuple([done[x] for x in u.src])
        bound = u.src[1:] if u.op in BINDERS else ()
        if (r in bound) != (s in bound) or bound and u.op is ops.STAGE and r in bound:
            raise Refused(f"{slow} and {fast} are not bound together everywhere")
        if r in bound:
            ranges = [both if x is s else x for x in u.src[1:] if x is not r]
            done[u] = UOp(u.op, u.dtype, (src[0], *ranges), u.arg)
        else:
            done[u] = rebuild(u, src)
    return done[kernel.body]


def _cut(kernel: Kernel, name: str, at: int) -> UOp:
    r = _range(kernel, name)
    if r in kernel.carried:
        raise Refused(f"{name} carries memory: its halves would need an order")
    size = count_of(r)
    if size is None or not 0 < at < size:
        raise Refused(f"{name} counts to {r.src[0]}, which {at} does not cut")
    low, high = axis(at, name, kind_of(r)), axis(size - at, f"{name}+{at}", kind_of(r))
    done: dict[UOp, UOp] = {}
    for u in kernel.nodes:
        src = tuple([done.get(s, s) for s in u.src])
        if u.op not in BINDERS or r not in u.src[1:]:
            done[u] = rebuild(u, src)
            continue
        if u.op is ops.STAGE:
            raise Refused(f"{name} is an axis of a STAGE")
        halves = [UOp(u.op, u.dtype, (instantiated(src[0], r, value),
                                      *[q if s is r else s for s in src[1:]]), u.arg)
                  for q, value in ((low, low), (high, high + at))]  # fmt: skip
        done[u] = block(*halves) if u.op is ops.END else combined(u.arg[0], *halves)
    return done[kernel.body]


_COMBINE = {"add": ops.ADD, "mul": ops.MUL, "max": ops.MAX, "min": ops.MIN}


def combined(how: str, x: UOp, y: UOp) -> UOp:
    """What a reduction of both gives."""
    return x.alu(_COMBINE[how], y)


def _kind(kind: str) -> Callable[..., UOp]:
    def change(kernel: Kernel, *names: str) -> UOp:
        body = kernel.body
        for name in names:
            r = _range(kernel, name)
            if kind != "loop" and r in kernel.carried:
                raise Refused(f"{name} carries memory: its iterations come one after another")
            q = axis(_dim(r), name, kind)
            body = _substituted(body, r, q, (q,))
        return body

    return change


def _dim(r: UOp) -> UOp | int:
    size = count_of(r)
    return r.src[0] if size is None else size


def _reorder(kernel: Kernel, *names: str) -> UOp:
    order = [_range(kernel, name) for name in names]
    done: dict[UOp, UOp] = {}
    found = False
    for u in kernel.nodes:
        src = tuple([done[s] for s in u.src])
        if u.op is ops.END and set(order) <= set(u.src[1:]):
            found, place = True, iter(order)
            src = (src[0], *[next(place) if s in order else s for s in u.src[1:]])
        done[u] = rebuild(u, src)
    if not found:
        raise Refused(f"no END binds {', '.join(names)} together")
    return done[kernel.body]


def _group(kernel: Kernel, name: str) -> UOp:
    r = _range(kernel, name)
    done: dict[UOp, UOp] = {}
    found = False
    for u in kernel.nodes:
        src = tuple([done[s] for s in u.src])
        if u.op is ops.REDUCE and r in u.src[1:] and len(u.src) > 2:
            found = True
            partial = reduce(u.arg[0], src[0], *[s for s in src[1:] if s is not r])
            done[u] = reduce(u.arg[0], partial, r)
        else:
            done[u] = rebuild(u, src)
    if not found:
        raise Refused(f"no reduction is over {name} and another range")
    return done[kernel.body]


def _stage(kernel: Kernel, position: int, *names: str) -> UOp:
    """What is read of an argument inside of the named ranges, with what is computed of it alone, is
    a STAGE of what those reach. It is a workgroup's where an invocation counts one of them."""
    ranges = [_range(kernel, name) for name in names]
    space = "workgroup" if any(kind_of(r) == "local" for r in ranges) else "register"
    if any(kind_of(r) in ("grid", "thread") or count_of(r) is None for r in ranges):
        raise Refused("what is staged counts to a number, within one workgroup")
    staged = _computed_of(kernel, position, frozenset(ranges))
    if {f"{name}:{position}" for name in names} & {name_of(r) for r in kernel.ranges}:
        raise Refused(f"argument {position} is staged within these ranges already")
    if not staged:
        raise Refused(f"no LOAD of argument {position} depends on all of {', '.join(names)}")
    done: dict[UOp, UOp] = {}
    for u in kernel.nodes:
        if u not in staged:
            done[u] = rebuild(u, tuple([done[s] for s in u.src]))
            continue
        own = [axis(int(r.src[0].arg), f"{name_of(r)}:{position}", kind_of(r)) for r in ranges]
        value = u
        for r, q in zip(ranges, own, strict=True):
            value = _substituted(value, r, q, (q,))
        held = stage(value, *own, space=space)
        done[u] = load(held, staged_position(held, ranges))
    return done[kernel.body]


def _computed_of(kernel: Kernel, position: int, ranges: frozenset[UOp]) -> set[UOp]:
    """The LOADs of an argument that depend on `ranges`, each with the elementwise work on it that
    depends on no more ranges: of that, what others read."""
    of: dict[UOp, frozenset[UOp]] = {}  # of a LOAD, and what is computed of it, what it depends on
    plain: set[UOp] = set()  # elementwise of elements of arguments that nobody writes
    written = kernel.written
    for u in kernel.nodes:
        loads = u.op is ops.LOAD and u.src[0].op is ops.ARG
        if loads and u.src[0].arg == position and ranges <= free(u):
            if u.src[0] in written:
                raise Refused(f"argument {position} is written, too")
            of[u] = free(u)
        if loads and u.src[0] not in written or u.op in _PLAIN and plain.issuperset(u.src):
            plain.add(u)
            most = next((of[s] for s in u.src if s in of), None)
            if most is not None and free(u) <= most and u.op is not ops.LOAD:
                of[u] = most
    read = {s for u in kernel.nodes if u not in of for s in u.src}
    return of.keys() & read


_PLAIN = ops.ELEMENTWISE | {ops.CONST, ops.RANGE, ops.VAR}


def _names_after(kernel: Kernel, name: str) -> Iterator[str]:
    """Names of ranges made of the one called `name`, that none has yet."""
    taken = {name_of(r) for r in kernel.ranges}
    return (new for n in itertools.count() if (new := f"{name}.{n}") not in taken)


def _keep(kernel: Kernel, name: str) -> UOp:
    """What is computed in several loops over `r` is a STAGE of all its counts."""
    r = _range(kernel, name)
    if count_of(r) is None or kind_of(r) not in ("loop", "unroll") or r in kernel.carried:
        raise Refused("what is kept is counted to a number, by a LOOP that carries no memory")
    again = computed_again(kernel, r)
    if not again:
        raise Refused(f"no loops over {name} compute the same")
    done: dict[UOp, UOp] = {}
    names = _names_after(kernel, name)
    for u in kernel.nodes:
        made = rebuild(u, tuple([done[s] for s in u.src]))
        if u in again:
            own = axis(_dim(r), next(names), kind_of(r))
            held = stage(instantiated(made, r, own), own)
            made = load(held, staged_position(held, (r,)))
        done[u] = made
    return done[kernel.body]


def _apart(kernel: Kernel, name: str) -> UOp:
    """Each STAGE and END over `r` has a range of its own; reductions over it may share a loop."""
    r = _range(kernel, name)
    if r in kernel.carried:
        raise Refused(f"{name} carries memory: its iterations stay in one loop")
    over = [u for u in kernel.nodes if u.op in BINDERS and r in u.src[1:]]
    if len(over) < 2:
        raise Refused(f"one loop is over {name}")
    done: dict[UOp, UOp] = {}
    names = _names_after(kernel, name)
    for u in kernel.nodes:
        made = rebuild(u, tuple([done[s] for s in u.src]))
        if u in over and u.op is not ops.REDUCE:
            own = axis(_dim(r), next(names), kind_of(r))
            ranges = [own if s is r else s for s in made.src[1:]]
            made = UOp(u.op, u.dtype, (instantiated(made.src[0], r, own), *ranges), u.arg)
        done[u] = made
    return done[kernel.body]


def computed_again(kernel: Kernel, r: UOp) -> list[UOp]:
    """What more than one loop over `r` computes of elements that nobody writes, but for loads: of
    that, what others read."""
    written = kernel.written
    loops: dict[UOp, int] = {}
    for b in kernel.nodes:
        if b.op in BINDERS and r in b.src[1:]:
            for u in toposort(b.src[:1], stop=lambda u: r not in free(u)):
                loops[u] = loops.get(u, 0) + (r in free(u))
    fixed: set[UOp] = set()  # reads no memory that is written
    for u in kernel.nodes:
        if fixed.issuperset(u.src) and (u.op not in (ops.ARG, ops.AFTER) or (
            u.op is ops.ARG and u not in written
        )):  # fmt: skip
            fixed.add(u)
    several = {u for u, n in loops.items()
               if n > 1 and u in fixed and u.op in ops.ELEMENTWISE and u.dtype is not dtypes.index}
    read = {s for u in kernel.nodes if u not in several for s in u.src}
    return [u for u in kernel.nodes if u in several and u in read]


def _cache(kernel: Kernel, name: str, before: str) -> UOp:
    """END(STORE(out, f(sum[.., r](x)))): `r` becomes a loop outside of `before` that carries `out`,
    which holds the sum so far, until the last block computes f."""
    r, s = _range(kernel, name), _range(kernel, before)
    if kind_of(r) != "loop" or kind_of(s) == "vector":
        raise Refused(f"{name} would be a LOOP around {before}")
    done: dict[UOp, UOp] = {}
    found = False
    for u in kernel.nodes:
        src = tuple([done[x] for x in u.src])
        done[u] = rebuild(u, src)
        if u.op is ops.END and u.src[0].op is ops.STORE and s in u.src[1:]:
            effect = _blocked_sum(kernel, u.src[0], r)
            if effect is not None:
                found = True
                ranges = [x for y in u.src[1:] for x in ((r, y) if y is s else (y,))]
                done[u] = end(effect, *ranges)
    if not found:
        raise Refused(f"no sum over {name} is stored inside of {before}")
    return done[kernel.body]


def _blocked_sum(kernel: Kernel, effect: UOp, r: UOp) -> UOp | None:
    memory, index, value, *gate = effect.src
    sums = [u for u in toposort([value]) if u.op is ops.REDUCE and r in u.src[1:]]
    if not sums:
        return None
    (total, *others) = sums
    if others or total.arg[0] != "add" or memory.op is not ops.ARG:
        raise Refused("only one sum, stored to an argument, is carried by it")
    if value.dtype is not total.dtype:
        raise Refused(f"{value.dtype} memory cannot carry a sum of {total.dtype}")
    if sum(memory_of(u) is memory for u in kernel.nodes if u.op in (ops.LOAD, ops.STORE)) > 1:
        raise Refused("the output is read, or written elsewhere")
    now = after(memory, r)
    nothing = const(0, total.dtype)
    old = r.eq(0).where(nothing, load(now, index, gate[0] if gate else None))
    so_far = old + reduce("add", total.src[0], *[x for x in total.src[1:] if x is not r])
    last = r.src[0] - 1
    done: dict[UOp, UOp] = {total: so_far}
    for u in toposort([value], stop=lambda u: u is total):
        if u not in done:
            done[u] = rebuild(u, tuple([done[x] for x in u.src]))
    return store(memory, index, (r < last).where(so_far, done[value]), *gate)


_TABLE: dict[str, Callable[..., UOp]] = {
    "SPLIT": _split, "MERGE": _merge, "CUT": _cut, "REORDER": _reorder, "GROUP": _group,
    "STAGE": _stage, "KEEP": _keep, "APART": _apart,
    "CACHE": _cache, **{kind.upper(): _kind(kind) for kind in KINDS},
}  # fmt: skip
