"""Plans on disk: a second process finds the kernels that the first one rendered.

In: a key of structure, device limits and version. Out: the Plan stored under it, or None. What is
found is checked against the graph.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Literal, TypeVar

from anneal import config
from anneal.lowering.code import Kernel, Param
from anneal.lowering.cost import item_bytes
from anneal.lowering.database import DamagedError, Database, emptied, opened, sealed, version
from anneal.lowering.plan import Launch, Plan, Slot
from anneal.lowering.rangeify import points
from anneal.stats import count
from anneal.uop import dtypes
from anneal.uop.uop import Graph

L = TypeVar("L")

_DATABASE = Database("plans", "key TEXT PRIMARY KEY, used REAL, plan BLOB")
# Entries kept, the last used ones: about 100 MB.
_MOST_ENTRIES = 4096
# How exactly the last use is known, in seconds: a program that loads need not write.
_USED_SECONDS = 3600.0
# What plans are made by.
_COMPILER = ("provenance.py", "kernel", "llvm", "lowering", "rules", "uop", "wgsl")


def load(graph: Graph, key: str) -> Plan | None:
    """The Plan stored for `graph` under `key`."""
    plan = _DATABASE.attempt(lambda db: _get(db, graph, key))
    if plan is not None:
        count("plans_loaded")
    return plan


def store(key: str, plan: Plan) -> None:
    """Keeps `plan` for the next process."""
    text = zlib.compress(json.dumps(_encode(plan)).encode(), 1)
    _DATABASE.attempt(lambda db: _put(db, key, sealed(key, text)))


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
    there = _DATABASE.exists(folder)
    entries, nbytes = _DATABASE.mended(folder, _totals) if there else (0, 0)
    return {"folder": str(folder), "plans": entries, "bytes": nbytes}


def clear() -> str:
    """Forgets all plans; returns what was done, in words. CacheError where nothing could be."""
    folder = config.cache_folder()
    if folder is None:
        return "removed nothing: no folder is in use"
    if not _DATABASE.exists(folder):
        return f"removed nothing: no plans in {folder}"
    try:
        entries, nbytes = _DATABASE.once(folder, _emptied)
    except DamagedError:
        _DATABASE.discard(folder)
        return "removed a damaged file of plans"
    return f"removed {entries} plan{'s' if entries != 1 else ''}, {nbytes / 1e6:.1f} MB"


# -- rows ------------------------------------------------------------------------------------------


def _get(db: sqlite3.Connection, graph: Graph, key: str) -> Plan | None:
    row = db.execute("SELECT plan, used FROM plans WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    text, used = opened(key, row[0]), row[1]
    try:
        plan = _decode(json.loads(zlib.decompress(text)), graph)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
            ValueError, zlib.error) as e:  # fmt: skip
        raise DamagedError(f"a plan of another form: {e}") from None
    now = time.time()
    if not isinstance(used, float) or not 0 <= now - used < _USED_SECONDS:
        _touch(db, key, now)
    return plan


def _touch(db: sqlite3.Connection, key: str, now: float) -> None:
    try:
        with db:
            db.execute("UPDATE plans SET used = ? WHERE key = ?", (now, key))
    except sqlite3.OperationalError:
        return  # locked or read-only: it was read all the same


def _put(db: sqlite3.Connection, key: str, row: bytes) -> None:
    db.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?)", (key, time.time(), row))
    if db.execute("SELECT plan FROM plans WHERE key = ?", (key,)).fetchone() != (row,):
        raise DamagedError("an index that does not find what is there")
    (entries,) = db.execute("SELECT COUNT(*) FROM plans").fetchone()
    if entries > _MOST_ENTRIES:
        db.execute("DELETE FROM plans WHERE key IN "
                   "(SELECT key FROM plans ORDER BY used LIMIT ?)", (entries // 8,))  # fmt: skip


def _totals(db: sqlite3.Connection) -> tuple[int, int]:
    entries, nbytes = db.execute(
        "SELECT COUNT(*), COALESCE(SUM(LENGTH(plan)), 0) FROM plans").fetchone()  # fmt: skip
    return entries, nbytes


def _emptied(db: sqlite3.Connection) -> tuple[int, int]:
    """What there was."""
    found = _totals(db)
    emptied(db, _DATABASE.name)
    return found


# -- plans as JSON ---------------------------------------------------------------------------------


def _encode(plan: Plan) -> dict[str, Any]:
    """Identical kernels once."""
    kernels = list(dict.fromkeys(launch.kernel for launch in plan.launches))
    number = {k: i for i, k in enumerate(kernels)}
    return {
        "slots": [[s.dtype.name, s.size, s.kind, s.position, s.alias] for s in plan.slots],
        "kernels": [[k.name, k.source, k.grid, k.workgroup,
                     [[p.dtype.name, p.size, p.access] for p in k.params], k.flops, k.scratch,
                     k.nest]
                    for k in kernels],
        "launches": [[number[x.kernel], x.args, x.reasons, x.made] for x in plan.launches],
        "outputs": plan.outputs,
    }  # fmt: skip


def _decode(found: dict[str, Any], graph: Graph) -> Plan:
    """The plan, checked: it comes from outside. ValueError, TypeError and such where it is none."""
    nodes = len(graph.nodes())

    def params(rows: Iterable[Any]) -> tuple[Param, ...]:
        return tuple([Param(dtypes.by_name(d), _whole(size), _one_of(access, _ACCESSES))
                      for d, size, access in rows])  # fmt: skip

    kernels = [Kernel(_text(name), _text(source), _three(grid), _three(workgroup), params(rows),
                      _whole(flops), _whole(scratch), _text(nest))
               for name, source, grid, workgroup, rows, flops, scratch, nest
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
