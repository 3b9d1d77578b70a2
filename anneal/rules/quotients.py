"""Index expressions divided: floor quotients and remainders of sums by a positive divisor.

Every function takes the dividend `x` and the divisor and gives the simpler form, or None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from anneal.rules.sums import (
    Terms,
    factors,
    gathered,
    greatest,
    product_of,
    span,
    sum_of,
    term,
    terms,
)
from anneal.uop import ops
from anneal.uop.symbolic import bounds, lo
from anneal.uop.uop import UOp


def quotient_by_bounds(x: UOp, y: UOp) -> UOp | None:
    """x // y where it is the same number for all their values."""
    (a, b), (c, d) = bounds(x), bounds(y)
    if c <= 0 <= d or len({a // c, a // d, b // c, b // d}) > 1:
        return None
    return x.const_like(a // c)


def remainder_by_bounds(x: UOp, y: UOp) -> UOp | None:
    """x % y where x // y is the same number for all their values."""
    q = quotient_by_bounds(x, y)
    if q is None or (q.arg and y.op is not ops.CONST):
        return None
    return x - q.arg * y.arg if q.arg else x


def below(x: UOp, y: UOp) -> bool:
    """Whether 0 <= x < y for a symbolic y, by the ends of the ranges in x."""
    if y.op is ops.CONST or lo(x) < 0:
        return False
    parts, constant = terms(x)
    more, k = terms(y, -1)
    return greatest(parts + more, constant + k) < 0


def split_quotient(x: UOp, d: UOp) -> UOp | None:
    """(a*d + b) // d as a + b // d."""
    whole, rest, constant = _split(x, d)
    k = constant // d.arg if d.op is ops.CONST else 0
    if not whole and not k:
        return None
    remaining = sum_of(rest, constant - k * d.arg if k else constant)
    return sum_of(whole, k) + remaining // d


def split_remainder(x: UOp, d: UOp) -> UOp | None:
    """(a*d + b) % d as b % d; coefficients are reduced, remainders by a multiple of d dropped."""
    whole, rest, constant = _split(x, d)
    changed = bool(whole)
    if d.op is ops.CONST:
        c = d.arg
        changed = changed or not 0 <= constant < c
        constant %= c
        reduced: Terms = []
        for what, often in rest:
            if what.op is ops.MOD and what.src[1].op is ops.CONST and what.src[1].arg > 0 \
                    and often * what.src[1].arg % c == 0:  # fmt: skip
                more, k = terms(what.src[0], often)
                reduced += more
                constant, changed = (constant + k) % c, True
            else:
                reduced.append((what, often))
        rest = reduced
    return sum_of(rest, constant) % d if changed else None


def _split(x: UOp, d: UOp) -> tuple[Terms, Terms, int]:
    """The terms of x that d divides, divided; what is left of the others; the constant."""
    parts, constant = terms(x)
    whole: Terms = []
    rest: Terms = []
    divisor, times = (d, d.arg) if d.op is ops.CONST else term(d)
    needed = [] if d.op is ops.CONST else factors(divisor)
    for what, often in parts:
        left = _without(factors(what), needed) if needed else [what]
        if not needed and often % times:  # 6x = 5x + x
            left_over = abs(often) % times * (1 if often > 0 else -1)
            whole += [(what, (often - left_over) // times)] if abs(often) > times else []
            rest.append((what, left_over))
        elif left is None or often % times:
            rest.append((what, often))
        elif left:
            whole.append((left[0] if len(left) == 1 else product_of(left), often // times))
        else:
            whole.append((x.const_like(1), often // times))
    return whole, rest, constant


def _without(every: list[UOp], some: list[UOp]) -> list[UOp] | None:
    """`every` less `some`, None if they are not all there."""
    left = list(every)
    for f in some:
        if f not in left:
            return None
        left.remove(f)
    return left


def _coarser(x: UOp, c: int) -> Iterator[tuple[int, Terms, int, Terms, int]]:
    """Ways to see x as g*s + r with g a divisor of c and r // g one number m: g, the terms of s, m,
    and the terms and constant of r - m*g; the greatest g first."""
    parts, constant = terms(x)
    for g in sorted({math.gcd(often, c) for _, often in parts} - {1}, reverse=True):
        fine = [(what, often) for what, often in parts if often % g]
        least, most = span(fine, constant)
        if least // g == most // g:
            m = least // g
            coarse = [(what, often // g) for what, often in parts if often % g == 0]
            yield g, coarse, m, fine, constant - m * g


def coarser_quotient(x: UOp, d: UOp) -> UOp | None:
    """(g*s + r) // (g*c) as s // c, where 0 <= r < g."""
    c: int = d.arg
    for g, coarse, m, _, _ in _coarser(x, c):
        return sum_of(coarse, m) // (c // g)
    return None


def coarser_remainder(x: UOp, d: UOp) -> UOp | None:
    """(g*s + r) % (g*c) as s % c * g + r, where 0 <= r < g."""
    c: int = d.arg
    for g, coarse, m, fine, constant in _coarser(x, c):
        return sum_of(coarse, m) % (c // g) * g + sum_of(fine, constant)
    return None


def quotient_of_quotients(x: UOp, d: UOp) -> UOp | None:
    """(x // a + s) // b as (x + s*a) // (a*b), where s is whatever else is in the sum."""
    parts, constant = terms(x)
    inner = [what for what, often in parts if often == 1 and what.op is ops.FLOORDIV
             and what.src[1].op is ops.CONST and what.src[1].arg > 0]  # fmt: skip
    if len(inner) != 1:
        return None
    q = inner[0]
    a: int = q.src[1].arg
    b: int = d.arg
    scaled = [(what, often * a) for what, often in parts if what is not q]
    more, k = terms(q.src[0])
    found = gathered(scaled + more)
    return sum_of(list(found.items()), constant * a + k) // (a * b)


def _negated(x: UOp, constant: int) -> UOp | None:
    """-x + constant, where every term of x has a negative coefficient."""
    parts, k = terms(x)
    if not parts or any(often > 0 for _, often in parts):
        return None
    return sum_of([(what, -often) for what, often in parts], constant - k)


def negative_quotient(x: UOp, d: UOp) -> UOp | None:
    """(c - 1 - s) // c as -(s // c)."""
    turned = _negated(x, d.arg - 1)
    return turned // d * -1 if turned is not None else None


def negative_remainder(x: UOp, d: UOp) -> UOp | None:
    """(c - 1 - s) % c as c - 1 - s % c."""
    turned = _negated(x, -1)
    return turned % d * -1 + (d.arg - 1) if turned is not None else None
