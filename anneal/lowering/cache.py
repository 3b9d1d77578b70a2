"""Plans on disk: a second process finds the kernels that the first one rendered.

In: a key of structure, device limits and version. Out: the Plan stored under it, or None. The file
is an SQLite database, so processes may share it; what cannot be read is a miss, and a damaged file
is made anew. Nothing here can fail a program: a folder that cannot be written is no cache.
"""

from __future__ import annotations

import functools
import json
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from anneal import config
from anneal.lowering.plan import Kernel, Launch, Param, Plan, Slot
from anneal.stats import count
from anneal.uop import dtypes
from anneal.uop.uop import Graph

T = TypeVar("T")

_FILE = "plans.sqlite3"
# Entries kept, the last used ones: about 100 MB.
_MOST_ENTRIES = 4096
_BUSY_SECONDS = 2.0


def load(graph: Graph, key: str) -> Plan | None:
    """The Plan stored for `graph` under `key`."""
    text = _with_database(lambda db: _get(db, key))
    if text is None:
        return None
    try:
        plan = _decode(json.loads(zlib.decompress(text)), graph)
    except (ValueError, KeyError, TypeError, IndexError, zlib.error):
        _with_database(lambda db: db.execute("DELETE FROM plans WHERE key = ?", (key,)))
        return None
    count("plans_loaded")
    return plan


def store(key: str, plan: Plan) -> None:
    """Keeps `plan` for the next process."""
    text = zlib.compress(json.dumps(_encode(plan)).encode(), 1)
    _with_database(lambda db: _put(db, key, text))


def key_of(graph: Graph, *rest: Any) -> str:
    """A key for `graph` compiled with `rest` (limits, donated inputs) by this version of anneal."""
    text = f"{graph.key()} {rest!r} {_version()}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


def describe() -> dict[str, Any]:
    """The folder, how many plans it holds, and their bytes."""
    folder = config.cache_folder()
    found = _with_database(lambda db: db.execute(
        "SELECT COUNT(*), COALESCE(SUM(LENGTH(plan)), 0) FROM plans").fetchone())  # fmt: skip
    entries, nbytes = found if found is not None else (0, 0)
    return {"folder": str(folder) if folder else "none (ANNEAL_CACHE_DIR is empty)",
            "plans": entries, "bytes": nbytes}  # fmt: skip


def clear() -> int:
    """Forgets all plans; returns how many there were."""
    removed = _with_database(lambda db: db.execute("DELETE FROM plans").rowcount)
    return removed or 0


# -- the database ----------------------------------------------------------------------------------


def _with_database(use: Callable[[sqlite3.Connection], T]) -> T | None:
    """The result of `use`; None where there is no cache to use."""
    folder = config.cache_folder()
    if folder is None:
        return None
    path = folder / _FILE
    for attempt in range(2):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=_BUSY_SECONDS)
            try:
                db.execute("PRAGMA synchronous = OFF")  # after a crash, a miss
                db.execute("CREATE TABLE IF NOT EXISTS plans "
                           "(key TEXT PRIMARY KEY, used REAL, plan BLOB)")  # fmt: skip
                with db:
                    return use(db)
            finally:
                db.close()
        except sqlite3.OperationalError:
            return None  # locked, read-only, full: go on without
        except sqlite3.DatabaseError:
            if attempt == 0:
                _discard(path)
        except OSError:
            return None
    return None


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def _get(db: sqlite3.Connection, key: str) -> bytes | None:
    row = db.execute("SELECT plan FROM plans WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    db.execute("UPDATE plans SET used = ? WHERE key = ?", (time.time(), key))
    return bytes(row[0])


def _put(db: sqlite3.Connection, key: str, text: bytes) -> None:
    db.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?)", (key, time.time(), text))
    (entries,) = db.execute("SELECT COUNT(*) FROM plans").fetchone()
    if entries > _MOST_ENTRIES:
        db.execute("DELETE FROM plans WHERE key IN "
                   "(SELECT key FROM plans ORDER BY used LIMIT ?)", (entries // 8,))  # fmt: skip


@functools.cache
def _version() -> str:
    """A digest of the compiler's own text: another version makes other plans."""
    root = Path(__file__).parent.parent
    digest = blake2b((root / "provenance.py").read_bytes(), digest_size=16)
    for room in ("lowering", "rules", "uop", "wgsl"):
        for path in sorted((root / room).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


# -- plans as JSON ---------------------------------------------------------------------------------


def _encode(plan: Plan) -> dict[str, Any]:
    """Identical kernels once."""
    kernels = list(dict.fromkeys(launch.kernel for launch in plan.launches))
    number = {k: i for i, k in enumerate(kernels)}
    return {
        "slots": [[s.dtype.name, s.size, s.kind, s.position, s.alias] for s in plan.slots],
        "kernels": [[k.name, k.source, k.grid, k.workgroup,
                     [[p.dtype.name, p.size, p.access] for p in k.params], k.flops]
                    for k in kernels],
        "launches": [[number[x.kernel], x.args, x.reasons, x.made] for x in plan.launches],
        "outputs": plan.outputs,
    }  # fmt: skip


def _decode(found: dict[str, Any], graph: Graph) -> Plan:
    nodes = len(graph.nodes())

    def params(rows: Iterable[Any]) -> tuple[Param, ...]:
        return tuple([Param(dtypes.by_name(d), size, access) for d, size, access in rows])

    kernels = [Kernel(name, source, _three(grid), _three(workgroup), params(rows), flops)
               for name, source, grid, workgroup, rows, flops in found["kernels"]]  # fmt: skip
    launches = [Launch(kernels[k], tuple(args), tuple(reasons), _made(places, nodes))
                for k, args, reasons, places in found["launches"]]  # fmt: skip
    slots = [Slot(dtypes.by_name(d), size, kind, position, alias)
             for d, size, kind, position, alias in found["slots"]]  # fmt: skip
    return Plan(tuple(slots), tuple(launches), tuple(found["outputs"]))


def _made(places: Iterable[Any], nodes: int) -> tuple[int, ...]:
    """Positions of nodes. ValueError for what is none."""
    found = tuple(places)
    if not all(type(i) is int and 0 <= i < nodes for i in found):
        raise ValueError("positions of nodes")
    return found


def _three(values: Any) -> tuple[int, int, int]:
    x, y, z = values
    return x, y, z
