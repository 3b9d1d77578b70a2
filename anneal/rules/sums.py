"""Index expressions as sums: terms in a fixed order, and comparisons of sums.

An index expression's normal form is a sum of terms `x`, `x*c` in order, the constant last. A
comparison's is a sum without a constant, of coprime coefficients, the first positive, against a
constant.
"""

from __future__ import annotations

import math
from functools import cmp_to_key

from anneal.uop import dtypes, ops
from anneal.uop.symbolic import bounds
from anneal.uop.uop import UOp, const

Terms = list[tuple[UOp, int]]

# -- order -----------------------------------------------------------------------------------------


def _rank(u: UOp) -> tuple[str, str]:
    return u.op.name, repr(u.arg)


def compare(a: UOp, b: UOp) -> int:
    """Negative where `a` comes before `b`: by what they are, so the same in every process."""
    todo = [(a, b)]
    while todo:
        x, y = todo.pop()
        if x is y:
            continue
        if x.op is not y.op:
            return -1 if x.op.name < y.op.name else 1
        if x.arg != y.arg:
            p, q = x.arg, y.arg
            if x.op is ops.CONST:
                return -1 if p < q else 1
            if isinstance(p, tuple) and isinstance(q, tuple) and p[0] != q[0] \
                    and type(p[0]) is type(q[0]) and isinstance(p[0], int | str):
                return -1 if p[0] < q[0] else 1
            return -1 if _rank(x) < _rank(y) else 1
        if len(x.src) != len(y.src):
            return len(x.src) - len(y.src)
        if x.dtype is not y.dtype:
            return -1 if x.dtype.name < y.dtype.name else 1
        todo += zip(reversed(x.src), reversed(y.src), strict=True)
    return 0


_KEY = cmp_to_key(compare)


# -- products --------------------------------------------------------------------------------------


def factors(u: UOp) -> list[UOp]:
    """The factors of a product."""
    found: list[UOp] = []
    todo = [u]
    while todo:
        x = todo.pop()
        if x.op is ops.MUL:
            todo += (x.src[1], x.src[0])
        else:
            found.append(x)
    return found


def product_of(parts: list[UOp]) -> UOp:
    """The normal form of a product of factors in any order; 1 if there are none."""
    total: UOp | None = None
    for x in sorted(parts, key=_KEY):
        total = x if total is None else total * x
    return const(1, dtypes.index) if total is None else total


def product_form(out: UOp) -> UOp | None:
    """A product with its factors in order, the constant last; None if it is."""
    left, right = out.src
    if right.op is ops.CONST:
        return None  # gathered by mul_const
    if left.op is not ops.MUL and right.op is not ops.MUL and left.op is not ops.CONST:
        return None if compare(left, right) <= 0 else right * left
    every = factors(out)
    constant = math.prod(x.arg for x in every if x.op is ops.CONST)
    product = product_of([x for x in every if x.op is not ops.CONST])
    product = product if constant == 1 else product * constant
    return product if product is not out else None


def is_dim(*nodes: UOp) -> bool:
    """Whether these are made of VARs and constants alone, as the dims of arrays are."""
    todo = list(nodes)
    while todo:
        u = todo.pop()
        if u.op is ops.RANGE or (not u.src and u.op is not ops.VAR and u.op is not ops.CONST):
            return False
        todo += u.src
    return True


# -- sums ------------------------------------------------------------------------------------------


def term(u: UOp) -> tuple[UOp, int]:
    """A term as (what, how often)."""
    if u.op is ops.MUL and u.src[1].op is ops.CONST:
        return u.src[0], u.src[1].arg
    return u, 1


def terms(u: UOp, times: int = 1) -> tuple[Terms, int]:
    """The terms of `u * times`, and its constant."""
    found: Terms = []
    constant = 0
    todo = [u]
    while todo:
        x = todo.pop()
        if x.op is ops.ADD:
            todo += (x.src[1], x.src[0])
        elif x.op is ops.CONST:
            constant += x.arg * times
        else:
            what, often = term(x)
            found.append((what, often * times))
    return found, constant


def gathered(parts: Terms) -> dict[UOp, int]:
    """Equal terms together, those that cancel gone."""
    found: dict[UOp, int] = {}
    for x, c in parts:
        found[x] = found.get(x, 0) + c
    return {x: c for x, c in found.items() if c}


def sum_of(parts: Terms, constant: int) -> UOp:
    """The sum of terms, written in the order given."""
    total: UOp | None = None
    for x, c in parts:
        part = x if c == 1 else x * c
        total = part if total is None else total + part
    if total is None:
        return const(constant, dtypes.index)
    return total + constant if constant else total


def sum_form(out: UOp) -> UOp | None:
    """A sum with its terms in order, equal ones gathered, quotients joined with their remainders,
    the constant last; None if it is."""
    left, right = out.src
    if right.op is ops.CONST:
        if left.op is not ops.CONST and not (left.op is ops.ADD and left.src[1].op is ops.CONST):
            return None
    elif right.op is not ops.ADD:
        last = left.src[1] if left.op is ops.ADD else left
        what = term(right)[0]
        if last.op is not ops.CONST and what.op is not ops.MOD and what.op is not ops.FLOORDIV \
                and compare(term(last)[0], what) < 0 and not _has_quotient(left):  # fmt: skip
            return None
    parts, constant = terms(out)
    found = gathered(parts)
    if any(x.op is ops.MOD or x.op is ops.FLOORDIV or x.op is ops.MUL for x in found):
        constant += _join(found)
    total = sum_of([(x, found[x]) for x in sorted(found, key=_KEY)], constant)
    return total if total is not out else None


def _has_quotient(u: UOp) -> bool:
    """Whether a quotient is among the last terms of a sum in normal form: few enough to look at
    that a sum of a thousand terms is built in linear time."""
    for _ in range(16):
        last = u.src[1] if u.op is ops.ADD else u
        if term(last)[0].op is ops.FLOORDIV:
            return True
        if u.op is not ops.ADD:
            return False
        u = u.src[0]
    return False


def _join(found: dict[UOp, int]) -> int:
    """x // d * d + x % d -> x and x - x // d * d -> x % d, in `found`; the constant that gives."""
    constant = 0
    for m in [x for x in found if x.op is ops.MOD]:
        x, d = m.src
        times = found.get(m, 0)
        multiple, often = quotient_times(x, d)
        if times and found.get(multiple) == times * often:
            del found[m], found[multiple]
            parts, more = terms(x, times)
            constant += more
            for what, c in parts:
                found[what] = found.get(what, 0) + c
                if not found[what]:
                    del found[what]
    for q in [x for x in found if x.op is ops.FLOORDIV and x.src[1].op is ops.CONST]:
        x, often = q.src[0], q.src[1].arg
        times = found.get(x, 0)
        if times and often > 0 and found.get(q) == -times * often and x.op is not ops.FLOORDIV:
            del found[q], found[x]
            m = x % q.src[1]
            found[m] = found.get(m, 0) + times
            if not found[m]:
                del found[m]
    return constant


def quotient_times(x: UOp, d: UOp) -> tuple[UOp, int]:
    """x // d * d as a term: what, how often. A quotient of a quotient is written as one."""
    if d.op is ops.CONST:
        if x.op is ops.FLOORDIV and x.src[1].op is ops.CONST:
            return x.src[0] // d.const_like(x.src[1].arg * d.arg), d.arg
        return x // d, d.arg
    what, often = term(d)
    return product_of([x // d, *factors(what)]), often


# -- bounds of sums --------------------------------------------------------------------------------


def span(parts: Terms, constant: int) -> tuple[int, int]:
    """The least and greatest value of a sum, its terms taken to be independent."""
    least = greatest = constant
    for x, c in parts:
        a, b = bounds(x)
        least += c * (a if c > 0 else b)
        greatest += c * (b if c > 0 else a)
    return least, greatest


def greatest(parts: Terms, constant: int) -> int:
    """The greatest value of a sum, where ranges that end at a symbolic dim stand at their last
    value: i*T + j - B*T with i < B, j < T is at most -1."""
    for _ in range(8):
        found = gathered(parts)
        parts = []
        changed = False
        for x, c in found.items():
            every = factors(x)
            at = next((i for i, f in enumerate(every) if _ends_early(f, len(every))), None)
            others = [] if at is None else every[:at] + every[at + 1 :]
            if at is None or c < 0 or any(bounds(f)[0] < 0 for f in others):
                parts.append((x, c))
                continue
            changed = True
            ends, k = terms(every[at].src[0], c)
            for what, often in [*ends, (None, k - c)]:
                if what is None and not others:
                    constant += often
                elif often:
                    inner = others if what is None else [*others, *factors(what)]
                    parts.append((product_of(inner), often))
        if not changed:
            break
    return span(list(gathered(parts).items()), constant)[1]


def _ends_early(u: UOp, among: int) -> bool:
    """Whether putting `u` at its last value tells more than its bounds do."""
    return u.op is ops.RANGE and (among > 1 or u.src[0].op is not ops.CONST)


# -- comparisons -----------------------------------------------------------------------------------


def _difference(x: UOp, y: UOp) -> tuple[Terms, int]:
    parts, constant = terms(x)
    more, k = terms(y, -1)
    found = gathered(parts + more)
    return [(u, found[u]) for u in sorted(found, key=_KEY)], constant + k


def lt_form(out: UOp) -> UOp | None:
    """x < y with every term on the left, the constant on the right, coefficients coprime, the
    first positive; a constant where bounds tell."""
    parts, constant = _difference(*out.src)
    limit = -constant  # sum of parts < limit
    if greatest(parts, 0) < limit:
        return out.const_like(True)
    if greatest([(x, -c) for x, c in parts], 0) <= -limit:
        return out.const_like(False)
    parts, limit = _coarser(parts, limit)
    if parts[0][1] < 0:
        turned = sum_of([(x, -c) for x, c in parts], 0) < 1 - limit
        return turned.logical_not()
    new = sum_of(parts, 0) < limit
    return new if new is not out else None


def _coarser(parts: Terms, limit: int) -> tuple[Terms, int]:
    """g*s + r < limit as s < ceil((limit - r) / g), where that is one number for every r."""
    for g in sorted({abs(c) for _, c in parts if abs(c) > 1}, reverse=True):
        big = [(x, c // g) for x, c in parts if c % g == 0]
        least, most = span([(x, c) for x, c in parts if c % g], 0)
        ceiling = -((least - limit) // g)
        if ceiling == -((most - limit) // g):
            return _coarser(big, ceiling)
    g = math.gcd(*(c for _, c in parts))
    return [(x, c // g) for x, c in parts], -(-limit // g)


def eq_form(out: UOp) -> UOp | None:
    """x == y with every term on the left and the constant on the right; false where bounds or
    divisibility tell."""
    parts, constant = _difference(*out.src)
    least, most = span(parts, constant)
    g = math.gcd(*(c for _, c in parts)) or 1
    if not parts or least > 0 or most < 0 or constant % g:
        return out.const_like(not parts and constant == 0)
    if parts[0][1] < 0:
        g = -g
    new = sum_of([(x, c // g) for x, c in parts], 0).eq(-constant // g)
    return new if new is not out else None


# -- conditions ------------------------------------------------------------------------------------


def conditions(p: UOp) -> list[UOp]:
    """What must all be true for `p` to be."""
    found: list[UOp] = []
    todo = [p]
    while todo:
        x = todo.pop()
        if x.op is ops.AND:
            todo += (x.src[1], x.src[0])
        else:
            found.append(x)
    return found


def implies(p: UOp, q: UOp) -> bool:
    """Whether the conditions of `p` include `q`."""
    return q in conditions(p)


def and_form(out: UOp) -> UOp | None:
    """A conjunction with each condition once and the limits of one integer joined: s < a and s < b
    is s < min(a, b), an empty interval is false; None if it is so already."""
    limits: dict[UOp, tuple[int | None, int | None]] = {}  # s: at least, below
    order: dict[UOp, None] = {}
    for p in conditions(out):
        negated = p.op is ops.NOT
        test = p.src[0] if negated else p
        if test.op is not ops.LT or test.src[1].op is not ops.CONST or not test.src[0].dtype.is_int:
            order[p] = None
            continue
        s, c = test.src[0], test.src[1].arg
        order[s] = None
        least, below = limits.get(s, (None, None))
        if negated:
            limits[s] = (c if least is None else max(least, c)), below
        else:
            limits[s] = least, (c if below is None else min(below, c))
    parts: list[UOp] = []
    for p in order:
        least, below = limits.get(p, (None, None))
        if least is None and below is None:
            parts.append(p)
        if least is not None and below is not None and least >= below:
            return out.const_like(False)
        if least is not None:
            parts.append((p < least).logical_not())
        if below is not None:
            parts.append(p < below)
    total = parts[0]
    for p in parts[1:]:
        total = total & p
    return total if total is not out else None
