"""A kernel as text: its loop nest, each value at the loop that it depends on.

    kernel(write a0: float32[64], read a1: float32[64, ...])
      grid i < 64:
        v0 = sum k < 8: a1[i*8 + k] * a2[k]
        a0[i] = v0
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anneal.kernel.ir import (
    BINDERS,
    EFFECTS,
    Kernel,
    free,
    kind_of,
    memory_of,
    name_of,
    size_of,
    waits,
)
from anneal.uop import dtypes, ops
from anneal.uop.show import dim_text
from anneal.uop.uop import UOp, toposort

_INFIX = {ops.ADD: "+", ops.SUB: "-", ops.MUL: "*", ops.DIV: "/", ops.FLOORDIV: "//",
          ops.MOD: "%", ops.LT: "<", ops.EQ: "==", ops.NE: "!=", ops.AND: "&", ops.OR: "|",
          ops.XOR: "^", ops.SHL: "<<", ops.SHR: ">>"}  # fmt: skip
_LEAVES = frozenset({ops.CONST, ops.RANGE, ops.VAR, ops.ARG})


def show_kernel(kernel: Kernel) -> str:
    """The kernel's buffers, its Opts and its loops."""
    written = kernel.written
    params = ", ".join(
        f"{'write' if p in written else 'read'} a{p.arg}: {p.dtype}[{_text(p.src[0])}]"
        for p in kernel.params
    )
    opts = f"  {' '.join(map(str, kernel.opts))}" if kernel.opts else ""
    name = f" {kernel.name}" if kernel.name else ""
    return "\n".join([f"kernel{name}({params}){opts}", *_Printer(kernel).lines()])


def _text(u: UOp) -> str:
    return dim_text(int(u.arg) if u.op is ops.CONST else u)


class _Printer:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.text: dict[UOp, str] = {}
        self.count = {"v": 0, "s": 0}
        self.uses: dict[UOp, int] = {}
        for u in kernel.nodes:
            for s in u.src:
                self.uses[s] = self.uses.get(s, 0) + 1
        self.out: list[str] = []
        self.done: set[UOp] = set()

    def lines(self) -> list[str]:
        self._effect(self.kernel.body, frozenset(), 1)
        return self.out

    def _line(self, depth: int, text: str) -> None:
        self.out.append("  " * depth + text)

    def _effect(self, u: UOp, known: frozenset[UOp], depth: int) -> None:
        if u in self.done:
            return
        self.done.add(u)
        self._waits(u, known, depth)
        if u.op is ops.BLOCK:
            for e in u.src:
                self._effect(e, known, depth)
        elif u.op is ops.END:
            for r in u.src[1:]:
                self._waits(u.src[0], known, depth)
                self._values([u.src[0]], known, depth)
                self._line(depth, f"{kind_of(r)} {name_of(r)} < {_text(r.src[0])}:")
                known, depth = known | {r}, depth + 1
            self._effect(u.src[0], known, depth)
        else:
            self._values(u.src, known, depth)
            memory, index, value, *gate = u.src
            when = f" if {self._of(gate[0])}" if gate else ""
            self._line(depth, f"{self._of(memory)}[{self._of(index)}] = {self._of(value)}{when}")

    def _waits(self, u: UOp, known: frozenset[UOp], depth: int) -> None:
        """What edges put before `u`, as soon as all that it depends on is known."""
        for e in waits(u):
            if free(e) <= known:
                self._effect(e, known, depth)

    def _values(self, roots: Iterable[UOp], known: frozenset[UOp], depth: int) -> None:
        """Lines for what is used more than once, or loops, and depends on nothing but `known`."""
        for u in toposort(roots, stop=lambda n: n in self.text or n.op in EFFECTS and n.op is not
                          ops.STORE):  # fmt: skip
            if u in self.text or u.op in EFFECTS or u.op in _LEAVES or not free(u) <= known:
                continue
            if u.op in (ops.STAGE, ops.REDUCE):
                self._bound(u, known, depth)
            elif self.uses.get(u, 0) > 1 and u.dtype is not dtypes.index and u.op is not ops.AFTER:
                text = self._of(u, top=True)
                self.text[u] = self._fresh("v")
                self._line(depth, f"{self.text[u]} = {text}")

    def _bound(self, u: UOp, known: frozenset[UOp], depth: int) -> None:
        ranges = ", ".join(f"{kind_of(r)} {name_of(r)} < {_text(r.src[0])}" for r in u.src[1:])
        name = self._fresh("s" if u.op is ops.STAGE else "v")
        inner = len(self.out)
        self._values([u.src[0]], known | set(u.src[1:]), depth + 1)
        value = self._of(u.src[0], top=True)
        inside, self.out = self.out[inner:], self.out[:inner]
        if u.op is ops.STAGE:
            space, strides = u.arg
            what = f"{space}[{_text(size_of(u))}] strides {strides} of {ranges}"
        else:
            what = f"{u.arg[0]} over {ranges}"
        self.text[u] = name
        if inside:
            self._line(depth, f"{name} = {what}:")
            self.out += inside
            self._line(depth + 1, value)
        else:
            self._line(depth, f"{name} = {what}: {value}")

    def _fresh(self, prefix: str) -> str:
        self.count[prefix] += 1
        return f"{prefix}{self.count[prefix] - 1}"

    def _of(self, root: UOp, top: bool = False) -> str:
        for u in toposort([root], stop=lambda n: n in self.text or n.op in EFFECTS):
            if u not in self.text and u.op not in EFFECTS:
                text = self._expression(u, [self.text.get(s, "") for s in u.src])
                if u is root:
                    return text[1:-1] if top and u.op in _INFIX else text
                self.text[u] = text
        return self.text[root]

    def _expression(self, u: UOp, src: Sequence[str]) -> str:
        if u.op is ops.CONST:
            return repr(u.arg)
        if u.op is ops.RANGE:
            return name_of(u)
        if u.op is ops.VAR:
            return str(u.arg[0])
        if u.op is ops.ARG:
            return f"a{u.arg}"
        if u.op is ops.AFTER:
            carried = [name_of(s) for s in u.src[1:] if s.op is ops.RANGE]
            return src[0] + (f"@{','.join(carried)}" if carried else "'")
        if u.op is ops.LOAD:
            when = f" if {src[2]} else {src[3]}" if len(src) > 2 else ""
            text = f"{src[0] or self.text[memory_of(u)]}[{src[1]}]"
            return f"({text}{when})" if when else text
        if u.op in _INFIX:
            return f"({src[0]} {_INFIX[u.op]} {src[1]})"
        if u.op in BINDERS:
            ranges = ", ".join(name_of(r) for r in u.src[1:])
            what = "stage" if u.op is ops.STAGE else u.arg[0]
            return f"{what}[{ranges}]({src[0]})"
        dtype = u.dtype.name if u.op in (ops.CAST, ops.BITCAST) else u.op.name.lower()
        return f"{dtype}({', '.join(src)})"
