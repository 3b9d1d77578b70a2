"""Text of nodes and graphs: one line a node, in order of computation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anneal.uop import ops
from anneal.uop.uop import Dim, Graph, Origins, UOp, toposort

_MOST_LINES = 60
_INFIX = {ops.ADD: "+", ops.SUB: "-", ops.MUL: "*", ops.FLOORDIV: "//", ops.MOD: "%",
          ops.LT: "<", ops.EQ: "==", ops.NE: "!=", ops.AND: "&", ops.OR: "|"}  # fmt: skip


def dim_text(d: Dim) -> str:
    """A dim as people write it: `3`, `B`, `(2*B + 1)`."""
    if isinstance(d, int):
        return str(d)
    text: dict[UOp, str] = {}
    for u in toposort([d]):
        if u.op is ops.CONST:
            text[u] = str(u.arg)
        elif u.op is ops.VAR:
            text[u] = u.arg[0]
        elif u.op is ops.RANGE:
            text[u] = f"r{u.arg[0]}"
        elif u.op in _INFIX:
            a, b = (text[s] for s in u.src)
            text[u] = f"({a} {_INFIX[u.op]} {b})"
        else:
            text[u] = f"{u.op.name.lower()}({', '.join(text[s] for s in u.src)})"
    out = text[d]
    return out[1:-1] if d.op in _INFIX else out


def type_text(u: UOp) -> str:
    """The dtype and shape, as `float32[3,4]`."""
    return f"{u.dtype.name}[{','.join(dim_text(s) for s in u.shape)}]"


def show(u: UOp) -> str:
    """The graph below a node."""
    if not u.src or u.op in (ops.PARAM, ops.BUFFER, ops.ARANGE):  # their sources are dims
        return f"{u.op} {_arg_text(u)}: {type_text(u)}"
    return "\n".join(_lines([u], {}, {}))


def show_graph(graph: Graph) -> str:
    """Inputs, one line for each node with those that made it, and the outputs."""
    names = {p: f"%in{i}" for i, p in enumerate(graph.inputs)}
    lines = _lines(graph.outputs, names, graph.lines)
    header = ", ".join(f"{names[p]}: {type_text(p)}" for p in graph.inputs)
    return "\n".join([f"graph({header})", *lines])


def _lines(roots: Any, names: Mapping[UOp, str], origins: Mapping[UOp, Origins]) -> list[str]:
    names = dict(names)
    lines: list[str] = []
    for u in toposort(roots):
        if u in names:
            continue
        if u.op is ops.CONST:
            names[u] = repr(u.arg)
            continue
        name = names[u] = f"%{len(lines)}"
        inside = ", ".join(names[s] for s in u.src)
        places = dict.fromkeys(f"{o.file}:{o.line}" for o in origins.get(u, ()))
        origin = f"  # {', '.join(places)}" if places else ""
        lines.append(f"  {name} = {u.op}{_arg_text(u)}({inside}): {type_text(u)}{origin}")
    if len(lines) > _MOST_LINES:
        half = _MOST_LINES // 2
        lines = [*lines[:half], f"  ... {len(lines) - 2 * half} more ...", *lines[-half:]]
    lines.append(f"  return {', '.join(names[r] for r in roots)}")
    return lines


def _arg_text(u: UOp) -> str:
    if u.arg is None:
        return ""
    if u.op in (ops.PARAM, ops.BUFFER):
        return f"[{u.arg[0]}]" if u.op is ops.PARAM else ""
    return f"[{u.arg}]"
