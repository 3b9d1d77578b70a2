"""The rewrite engine: one ruleset applied to a graph, sources first, until no rule matches.

In: root nodes and a RuleSet (compiled from `.upat` files by `uop/upat.py`). Out: the rewritten
roots, of the same shapes and dtypes. Iterative: a chain of 50,000 nodes is no deeper for Python
than one of five. Who wants to know what happened passes `record`, who knows where nodes come from
`carry`; nobody else pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from anneal.uop import ops
from anneal.uop.ops import Op
from anneal.uop.uop import Carry, Scalar, UOp, rebuild, toposort

Matcher = Callable[[UOp], tuple[UOp, int] | None]
Cotangents = tuple[UOp | None, ...]

# So many replacements waiting for one another is a ruleset that grows its own matches: the longest
# honest wait is a term sinking through a sum, and sums of that many terms are no index expression.
_DEEPEST_WAIT = 20_000


class RewriteError(RuntimeError):
    """A ruleset that does not terminate, or a rule that changed a shape or dtype."""


class Rule(NamedTuple):
    """One rule as written: `text` is "pattern -> replacement if condition"; `uses` is the module
    of its helper functions, `scope` the dtypes it is about ("any", "index", "int", ...)."""

    name: str
    doc: str
    text: str
    file: str
    line: int
    scope: str = "any"
    uses: tuple[str, ...] = ()


class Fired(NamedTuple):
    """One application of a rule."""

    rule: Rule
    before: UOp
    after: UOp


@dataclass(frozen=True, slots=True, eq=False)
class RuleSet:
    """Rules in order of priority. `match[op](node)` is the first that applies: the replacement and
    the rule's place in `rules`; or None."""

    rules: tuple[Rule, ...]
    match: Mapping[Op, Matcher]

    def __add__(self, other: RuleSet) -> RuleSet:
        """The rules of both, ours first."""
        offset = len(self.rules)
        match = dict(self.match)
        for op, theirs in other.match.items():
            match[op] = _either(match.get(op), theirs, offset)
        return RuleSet(self.rules + other.rules, match)

    def without(self, name: str) -> RuleSet:
        """This set less the rule called `name`; KeyError where there is none."""
        from anneal.uop.upat import load

        rest = tuple(r for r in self.rules if r.name != name)
        if len(rest) == len(self.rules):
            raise KeyError(f"no rule is called {name!r}")
        return load(rest)


@dataclass(frozen=True, slots=True, eq=False)
class GradientSet:
    """Gradient rules: `match[op](node, g)` gives the cotangents of the node's sources, None for a
    source without one, and the rule's place in `rules`; or None: no rule applies."""

    rules: tuple[Rule, ...]
    match: Mapping[Op, Callable[[UOp, UOp], tuple[Cotangents, int] | None]]


def _either(ours: Matcher | None, theirs: Matcher, offset: int) -> Matcher:
    def match(u: UOp) -> tuple[UOp, int] | None:
        hit = ours(u) if ours is not None else None
        if hit is None:
            late = theirs(u)
            hit = (late[0], late[1] + offset) if late is not None else None
        return hit

    return match


def build(op: Op, *args: UOp | Scalar) -> UOp:
    """An elementwise node; numbers take the dtype of the first UOp among `args` (for WHERE: among
    the two values)."""
    like = next(a for a in args[op is ops.WHERE :] if isinstance(a, UOp))
    nodes = tuple(a if isinstance(a, UOp) else like.const_like(a) for a in args)
    return nodes[0].alu(op, *nodes[1:]) if op is not ops.WHERE else nodes[0].where(*nodes[1:])


def rewrite(
    roots: Sequence[UOp], rules: RuleSet, *, record: Callable[[Fired], None] | None = None,
    carry: Carry | None = None, given: Mapping[UOp, UOp] | None = None,
    reads_given: Callable[[UOp], bool] | None = None,
) -> list[UOp]:  # fmt: skip
    """`roots` rewritten by `rules` to a fixpoint.

    Every node is matched once its sources are final; a replacement is rewritten in turn. What these
    rules have left as it is before is not asked again. `given` substitutes while it rewrites: the
    final forms of some nodes, and which nodes they change. Raises RewriteError, naming the rules,
    where a replacement leads back to what it replaced.
    """
    done: dict[UOp, UOp] = dict(given or {})
    match = rules.match

    def is_final(u: UOp) -> bool:
        if u._settled is rules and (reads_given is None or not reads_given(u)):
            done[u] = u  # noted now: another thread may be at other rules
        return u in done

    for u in toposort(roots, stop=is_final if carry is None else None):
        if u in done:
            continue
        new = u
        if u._settled is not rules or reads_given is not None and reads_given(u):
            for s in u.src:
                if done[s] is not s:
                    new = rebuild(u, tuple([done[t] for t in u.src]))
                    break
        final = new if new._settled is rules else done.get(new)
        if final is None:
            matcher = match.get(new.op)
            hit = matcher(new) if matcher is not None else None
            final = new if hit is None else _settle(new, hit, rules, done, record)
            done[new] = final
            final._settled = rules
        done[u] = final
        if carry is not None:
            carry(u, final)
    return [done[r] for r in roots]


def _settle(
    first: UOp, hit: tuple[UOp, int], rules: RuleSet, done: dict[UOp, UOp],
    record: Callable[[Fired], None] | None,
) -> UOp:  # fmt: skip
    """The final form of `first`, for which `hit` was found: its replacement is rewritten, and what
    that makes, on a stack of nodes not yet final. `waiting` maps a replaced node to its
    replacement; a waiting node met again before its replacement is final closes a cycle."""
    waiting: dict[UOp, UOp] = {}
    by: list[int] = []
    match = rules.match

    def replace(u: UOp, hit: tuple[UOp, int]) -> None:
        after = _conformed(u, hit[0], rules.rules[hit[1]])
        if record is not None:
            record(Fired(rules.rules[hit[1]], u, after))
        waiting[u] = after
        by.append(hit[1])
        if len(waiting) > _DEEPEST_WAIT:
            raise _endless(rules, by)
        stack.append(after)

    stack = [first]
    replace(first, hit)
    while stack:
        u = stack[-1]
        if u in done:
            stack.pop()
            continue
        if u._settled is rules:
            done[u] = u
            stack.pop()
            continue
        after = waiting.get(u)
        if after is not None:
            final = done.get(after)
            if final is None:
                raise _endless(rules, by)
            done[u] = final
            del waiting[u]
            by.pop()
            stack.pop()
            continue
        pending = [s for s in u.src if s not in done]
        if pending:
            stack.extend(reversed(pending))
            continue
        new = rebuild(u, tuple([done[s] for s in u.src]))
        if new is not u:
            if new in done:
                done[u] = done[new]
                stack.pop()
            else:  # u takes the final form of new, as if a rule had said so
                waiting[u] = new
                by.append(by[-1])
                stack.append(new)
            continue
        matcher = match.get(u.op)
        found = matcher(u) if matcher is not None else None
        if found is None:
            done[u] = u
            u._settled = rules
            stack.pop()
        else:
            replace(u, found)
    return done[first]


def _conformed(before: UOp, after: UOp, rule: Rule) -> UOp:
    """`after` with the shape of `before`."""
    if after.dtype is not before.dtype:
        raise RewriteError(f"rule {rule.name} ({rule.file}:{rule.line}) turned {before.dtype} into "
                           f"{after.dtype}: {rule.text}")
    if after.shape != before.shape:
        if after.shape:
            raise RewriteError(f"rule {rule.name} ({rule.file}:{rule.line}) turned shape "
                               f"{before.shape} into {after.shape}: {rule.text}")
        after = after.expand(before.shape)
    return after


def _endless(rules: RuleSet, by: Sequence[int]) -> RewriteError:
    names = dict.fromkeys(rules.rules[i].name for i in by[-50:])
    return RewriteError(f"rules rewrite each other's results without end: {', '.join(names)}")
