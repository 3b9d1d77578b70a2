"""A kernel's expressions as an ordered list of instructions, loops opened and closed.

In: the STOREs of a kernel. Out: instructions, each value at the outermost loop level that
determines it: what does not depend on a loop's counter is computed before the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from anneal.lowering.kernels import free_ranges
from anneal.uop import ops
from anneal.uop.uop import UOp, toposort


class Instruction(NamedTuple):
    """`let`: compute the node; `init`, `fold`: an accumulator's start and step; `loop`, `end`: of
    a RANGE; `store`."""

    kind: Literal["let", "init", "loop", "fold", "end", "store"]
    node: UOp


Path = tuple[UOp, ...]


def linearize(stores: Sequence[UOp]) -> list[Instruction]:
    """Instructions in order of execution."""
    nodes = toposort(stores)
    deps: dict[UOp, frozenset[UOp]] = {}
    for s in stores:
        deps.update(free_ranges(s))
    path_of_range: dict[UOp, Path] = {}
    reduces = sorted((u for u in nodes if u.op is ops.REDUCE), key=lambda u: len(deps[u]))

    def path(u: UOp) -> Path:
        best: Path = ()
        for r in deps[u]:
            if len(path_of_range[r]) > len(best):
                best = path_of_range[r]
        return best

    for u in reduces:
        level = path(u)
        for r in u.src[1:]:
            level = (*level, r)
            path_of_range[r] = level
    blocks: dict[Path, list[UOp]] = {}
    # Stores come last: one may overwrite, in place, what another value is computed from.
    for u in sorted(nodes, key=lambda u: u.op is ops.STORE):
        if u.op not in (ops.CONST, ops.ARG, ops.RANGE, ops.VAR):
            blocks.setdefault(path(u), []).append(u)
    out: list[Instruction] = []
    _emit((), blocks, out)
    return out


def _emit(path: Path, blocks: dict[Path, list[UOp]], out: list[Instruction]) -> None:
    for u in blocks.get(path, ()):
        if u.op is ops.STORE:
            out.append(Instruction("store", u))
        elif u.op is ops.REDUCE:
            out.append(Instruction("init", u))
            inner = path
            for r in u.src[1:]:
                inner = (*inner, r)
                out.append(Instruction("loop", r))
                _emit(inner, blocks, out)
            out.append(Instruction("fold", u))
            out += [Instruction("end", r) for r in reversed(u.src[1:])]
        else:
            out.append(Instruction("let", u))
