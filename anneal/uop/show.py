"""Text of nodes and graphs: one line a node, in order of computation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anneal.uop import ops
from anneal.uop.call import bodies
from anneal.uop.uop import Dim, Graph, Origins, UOp, toposort

_MOST_LINES = 60
_MOST_BODIES = 20
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
    """The graph below a node; what it calls comes first, once."""
    if not u.src or u.op in (ops.PARAM, ops.BUFFER, ops.ARANGE):  # their sources are dims
        return f"{u.op} {_arg_text(u)}: {type_text(u)}"
    return "\n".join([*_bodies([u], {}), *_lines([u], {}, {})])


def show_graph(graph: Graph) -> str:
    """Inputs, one line for each node with those that made it, and the outputs; before it what it
    calls, once."""
    return "\n".join([*_bodies(graph.outputs, graph.lines),
                      *_function("graph", graph.inputs, graph.outputs, graph.lines)])  # fmt: skip


def _bodies(roots: Iterable[UOp], origins: Mapping[UOp, Origins]) -> list[str]:
    """The Bodies that are called, by name, those that others call first."""
    found = bodies(toposort(roots))
    lines = [line for body in found[-_MOST_BODIES:]
             for line in _function(body.name, body.inputs, body.outputs, origins)]  # fmt: skip
    left = len(found) - _MOST_BODIES
    return [f"... {left} more ...", *lines] if left > 0 else lines


def _function(name: str, inputs: Sequence[UOp], outputs: Sequence[UOp],
              origins: Mapping[UOp, Origins]) -> list[str]:  # fmt: skip
    names = {p: f"%in{i}" for i, p in enumerate(inputs)}
    header = ", ".join(f"{names[p]}: {type_text(p)}" for p in inputs)
    return [f"{name}({header})", *_lines(outputs, names, origins)]


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
        kind = "" if u.op is ops.CALL else f": {type_text(u)}"
        places = dict.fromkeys(f"{o.file}:{o.line}" for o in origins.get(u, ()))
        origin = f"  # {', '.join(places)}" if places else ""
        lines.append(f"  {name} = {u.op}{_arg_text(u)}({inside}){kind}{origin}")
    if len(lines) > _MOST_LINES:
        half = _MOST_LINES // 2
        lines = [*lines[:half], f"  ... {len(lines) - 2 * half} more ...", *lines[-half:]]
    lines.append(f"  return {', '.join(names[r] for r in roots)}")
    return lines


def _arg_text(u: UOp) -> str:
    if u.arg is None:
        return ""
    if u.op is ops.CALL:
        body, recompute = u.arg
        return f"[{body.name}{', recompute' if recompute else ''}]"
    if u.op in (ops.PARAM, ops.BUFFER):
        return f"[{u.arg[0]}]" if u.op is ops.PARAM else ""
    return f"[{u.arg}]"
