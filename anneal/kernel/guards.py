"""Guards that hold for whole iterations, as numbers of iterations.

In: an expanded body. Out: the same effects, and for an END and a LOOP of it, how many of its
counts have any. `SPLIT(r, n)` with a tail guards what depends on `r`: `outer * n + inner < size`.
Where all that a loop over `inner` stores has that guard, and only ranges outside know `outer`, the
loop ends at `size - outer * n`, and nothing inside of it asks.
"""

from __future__ import annotations

from collections.abc import Sequence

from anneal.kernel.ir import conjuncts, free, kind_of, load, store, terms
from anneal.uop import dtypes, ops
from anneal.uop.symbolic import simplify
from anneal.uop.uop import UOp, const, rebuild, toposort

Counts = dict[tuple[UOp, UOp], UOp]
_TRUE = const(True, dtypes.bool_)


def without_guards(body: UOp) -> tuple[UOp, Counts]:
    """`body` without such guards, and how often the loops run that had them: an index, perhaps
    more than there are counts, or less than 0."""
    done: dict[UOp, UOp] = {}
    counts: Counts = {}
    for u in toposort([body]):
        done[u] = rebuild(u, tuple([done[s] for s in u.src]))
        if u.op is ops.END:
            bare, own = _bare(done[u])
            if all(counts.get((bare, r), n) is n for r, n in own.items()):  # else two would be one
                done[u] = bare
                counts.update({(bare, r): n for r, n in own.items()})
    return done[body], counts


def _bare(nest: UOp) -> tuple[UOp, dict[UOp, UOp]]:
    """An END without guards, and how often its loops run."""
    effect, ranges = nest.src[0], nest.src[1:]
    own: dict[UOp, UOp] = {}
    for n, r in enumerate(ranges):
        guards = _common_guards(effect, r) if kind_of(r) == "loop" else []
        guard = next((g for g in guards if _ends(g, r, ranges[:n])), None)
        if guard is not None:
            own[r] = simplify([guard.src[1] - (guard.src[0] - r)])[0]
            effect = _held(effect, guard)
    return UOp(ops.END, nest.dtype, (effect, *ranges)), own


def _common_guards(effect: UOp, r: UOp) -> list[UOp]:
    """The comparisons that every STORE that depends on `r` is guarded by: others are outside of its
    loop."""
    below = toposort([effect], stop=lambda u: r not in free(u))
    gates = [conjuncts(u.src[3]) if len(u.src) > 3 else []
             for u in below if u.op is ops.STORE and r in free(u)]  # fmt: skip
    return [g for g in gates[0] if all(g in other for other in gates[1:])] if gates else []


def _ends(guard: UOp, r: UOp, outer: Sequence[UOp]) -> bool:
    """Whether a guard is false from one count of `r` on, which ranges outside of its loop tell."""
    if guard.op is not ops.LT or guard.src[0].dtype is not dtypes.index or free(guard.src[1]):
        return False
    steps = terms(guard.src[0])
    known = {q for a in steps if a is not None and a is not r for q in free(a)}
    return steps.get(r) == 1 and all(
        kind_of(q) == "thread" or kind_of(q) == "loop" and q in outer for q in known)  # fmt: skip


def _held(effect: UOp, guard: UOp) -> UOp:
    """`effect` where `guard` holds: whoever has it for a gate has one less. A reduction over its
    ranges asks for each of its own counts."""
    done: dict[UOp, UOp] = {guard: _TRUE}
    for u in toposort([effect], stop=lambda u: not free(guard) <= free(u)):
        if u in done:
            continue
        src = tuple([done[s] for s in u.src]) if free(guard) <= free(u) else u.src
        if u.op is ops.AND and _TRUE in src:
            done[u] = src[0] if src[1] is _TRUE else src[1]
        elif u.op is ops.STORE and len(src) > 3 and src[3] is _TRUE:
            done[u] = store(*src[:3])
        elif u.op is ops.LOAD and len(src) > 2 and src[2] is _TRUE:
            done[u] = load(*src[:2])
        else:
            done[u] = rebuild(u, src)
    return simplify([done[effect]])[0]
