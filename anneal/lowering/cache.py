"""Plans on disk: a second process finds the kernels that the first one rendered.

In: a key of structure, device limits and version. Out: the Plan stored under it, or None. What is
found is checked against the graph.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Literal, TypeVar

from anneal import config
from anneal.lowering.blobs import Blobs
from anneal.lowering.code import Kernel, Param, Scheduled
from anneal.lowering.cost import item_bytes
from anneal.lowering.database import DamagedError, version
from anneal.lowering.plan import Launch, Plan, Slot
from anneal.lowering.rangeify import points
from anneal.stats import count
from anneal.uop import dtypes
from anneal.uop.call import all_nodes
from anneal.uop.uop import Graph

L = TypeVar("L")

# About 100 MB.
_PLANS = Blobs("plans", "plan", most=4096)
# What plans are made by.
_COMPILER = ("provenance.py", "kernel", "llvm", "lowering", "rules", "uop", "wgsl")


def load(graph: Graph, key: str) -> Plan | None:
    """The Plan stored for `graph` under `key`."""
    plan = _PLANS.load([key], lambda text: _decoded(text, graph)).get(key)
    if plan is not None:
        count("plans_loaded")
    return plan


def store(key: str, plan: Plan) -> None:
    """Keeps `plan` for the next process."""
    _PLANS.store({key: zlib.compress(json.dumps(_encode(plan)).encode(), 1)})


def key_of(graph: Graph, *rest: Any) -> str:
    """A key for `graph` compiled with `rest` (limits, donated inputs) by this version of anneal."""
    text = f"{graph.key()} {rest!r} {version(*_COMPILER)}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


def describe() -> dict[str, Any]:
    """The folder, how many plans it holds, and their bytes; CacheError where it cannot be read."""
    folder = config.cache_folder()
    if folder is None:
        return {"folder": "none (ANNEAL_CACHE_DIR is empty, or below no home folder)",
                "plans": 0, "bytes": 0}  # fmt: skip
    entries, nbytes = _PLANS.totals()
    return {"folder": str(folder), "plans": entries, "bytes": nbytes}


def clear() -> str:
    """Forgets all plans; returns what was done, in words. CacheError where nothing could be."""
    return _PLANS.clear()


# -- plans as JSON ---------------------------------------------------------------------------------


def _encode(plan: Plan) -> dict[str, Any]:
    """Identical kernels once."""
    kernels = list(dict.fromkeys(launch.kernel for launch in plan.launches))
    number = {k: i for i, k in enumerate(kernels)}
    return {
        "slots": [[s.dtype.name, s.size, s.kind, s.position, s.alias] for s in plan.slots],
        "kernels": [[k.name, k.source, k.grid, k.workgroup,
                     [[p.dtype.name, p.size, p.access] for p in k.params], k.flops, k.scratch,
                     [[s.key, s.asked, s.text, s.reasons] for s in k.nests]]
                    for k in kernels],
        "launches": [[number[x.kernel], x.args, x.reasons, x.made] for x in plan.launches],
        "outputs": plan.outputs,
    }  # fmt: skip


def _decoded(text: bytes, graph: Graph) -> Plan:
    try:
        return _decode(json.loads(zlib.decompress(text)), graph)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
            ValueError, zlib.error) as e:  # fmt: skip
        raise DamagedError(f"a plan of another form: {e}") from None


def _decode(found: dict[str, Any], graph: Graph) -> Plan:
    """The plan, checked: it comes from outside. ValueError, TypeError and such where it is none."""
    nodes = len(all_nodes(graph))

    def params(rows: Iterable[Any]) -> tuple[Param, ...]:
        return tuple([Param(dtypes.by_name(d), _whole(size), _one_of(access, _ACCESSES))
                      for d, size, access in rows])  # fmt: skip

    def nests(rows: Iterable[Any]) -> tuple[Scheduled, ...]:
        return tuple([Scheduled(_text(key), None if asked is None else _text(asked), _text(text),
                                tuple([(_text(opts), _text(why)) for opts, why in reasons]))
                      for key, asked, text, reasons in rows])  # fmt: skip

    kernels = [Kernel(_text(name), _text(source), _three(grid), _three(workgroup), params(rows),
                      _whole(flops), _whole(scratch), nests(texts))
               for name, source, grid, workgroup, rows, flops, scratch, texts
               in found["kernels"]]  # fmt: skip
    launches = [Launch(kernels[_whole(k)], tuple(map(_whole, args)), tuple(map(_text, reasons)),
                       _made(places, nodes))
                for k, args, reasons, places in found["launches"]]  # fmt: skip
    slots = [Slot(dtypes.by_name(d), _whole(size), _one_of(kind, _KINDS), position, alias)
             for d, size, kind, position, alias in found["slots"]]  # fmt: skip
    plan = Plan(tuple(slots), tuple(launches), tuple(map(_whole, found["outputs"])))
    _check(plan, graph)
    return plan


def _check(plan: Plan, graph: Graph) -> None:
    """ValueError unless the plan has the graph's inputs and outputs, and binds what fits."""
    given = [(p.dtype, points(p.shape), "input", i, None) for i, p in enumerate(graph.inputs)]
    slots = [(s.dtype, s.size, s.kind, s.position, s.alias) for s in plan.slots]
    if slots[: len(given)] != given:
        raise ValueError("inputs")
    for dtype, size, kind, position, alias in slots[len(given) :]:
        known = alias is None or (kind == "output" and given[_whole(alias)][:2] == (dtype, size))
        if kind == "input" or position != -1 or not known:
            raise ValueError("slots")
    if [slots[i][:2] for i in plan.outputs] != [(u.dtype, points(u.shape)) for u in graph.outputs]:
        raise ValueError("outputs")
    for launch in plan.launches:
        for i, p in zip(launch.args, launch.kernel.params, strict=True):
            slot = plan.slots[i]
            if p.size * item_bytes(p.dtype) > 4 * -(-slot.size * item_bytes(slot.dtype) // 4):
                raise ValueError("a kernel's buffers")


def _made(places: Iterable[Any], nodes: int) -> tuple[int, ...]:
    """Positions of nodes. ValueError for what is none."""
    found = tuple(places)
    if not all(type(i) is int and 0 <= i < nodes for i in found):
        raise ValueError("positions of nodes")
    return found


_ACCESSES: tuple[Literal["read", "read_write"], ...] = ("read", "read_write")
_KINDS: tuple[Literal["input", "output", "temp"], ...] = ("input", "output", "temp")


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a size or a position, got {value!r}")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"expected text, got {value!r}")
    return value


def _one_of(value: Any, known: tuple[L, ...]) -> L:
    return known[known.index(value)]


def _three(values: Any) -> tuple[int, int, int]:
    x, y, z = map(_whole, values)
    return x, y, z
