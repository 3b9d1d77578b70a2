"""Plans on disk: a second process finds the kernels that the first one rendered.

In: a key of structure, device limits and version. Out: the Plan stored under it, or None. The file
is an SQLite database, so processes may share it; what cannot be read is a miss, and a damaged file
is made anew. Nothing here can fail a program: a folder that cannot be written is no cache.

Neither SQLite nor zlib notices every flipped bit, and one in SQLite's index answers with another
row. So a plan is stored under a digest of its key and its text, and is checked against its graph.
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
from typing import Any, Literal, TypeVar

from anneal import config, errors
from anneal.lowering.code import Kernel, Param, Scheduled
from anneal.lowering.cost import item_bytes
from anneal.lowering.plan import Launch, Plan, Slot
from anneal.lowering.rangeify import points
from anneal.stats import count
from anneal.uop import dtypes
from anneal.uop.uop import Graph

T = TypeVar("T")
L = TypeVar("L")

_FILE = "plans.sqlite3"
# Entries kept, the last used ones: about 100 MB.
_MOST_ENTRIES = 4096
# A write holds the file for milliseconds; whoever holds it longer is not worth a wait each time.
_BUSY_SECONDS = 0.25
_LEFT_ALONE_SECONDS = 60.0
# How exactly the last use is known, in seconds: a program that loads need not write.
_USED_SECONDS = 3600.0
_DIGEST_BYTES = 16
# SQLite's errors that say nothing of what the file holds.
_CIRCUMSTANCES = frozenset({
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_AUTH,
})  # fmt: skip

# When a file that was found locked is asked again, by the process's clock.
_asked_again: dict[Path, float] = {}


class CacheError(errors.AnnealError):
    """The folder of plans cannot be read or changed now; programs go on without it."""


class _DamagedError(Exception):
    """The file holds what was not written here, or not like this."""


def load(graph: Graph, key: str) -> Plan | None:
    """The Plan stored for `graph` under `key`."""
    plan = _or_none(lambda db: _get(db, graph, key))
    if plan is not None:
        count("plans_loaded")
    return plan


def store(key: str, plan: Plan) -> None:
    """Keeps `plan` for the next process."""
    text = zlib.compress(json.dumps(_encode(plan)).encode(), 1)
    _or_none(lambda db: _put(db, key, _digest(key, text) + text))


def key_of(graph: Graph, *rest: Any) -> str:
    """A key for `graph` compiled with `rest` (limits, donated inputs) by this version of anneal."""
    text = f"{graph.key()} {rest!r} {_version()}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


def describe() -> dict[str, Any]:
    """The folder, how many plans it holds, and their bytes; CacheError where it cannot be read."""
    folder = config.cache_folder()
    if folder is None:
        return {"folder": "none (ANNEAL_CACHE_DIR is empty, or below no home folder)",
                "plans": 0, "bytes": 0}  # fmt: skip
    entries, nbytes = _mended(folder, _totals) if _exists(folder) else (0, 0)
    return {"folder": str(folder), "plans": entries, "bytes": nbytes}


def clear() -> str:
    """Forgets all plans; returns what was done, in words. CacheError where nothing could be."""
    folder = config.cache_folder()
    if folder is None:
        return "removed nothing: no folder is in use"
    if not _exists(folder):
        return f"removed nothing: no plans in {folder}"
    try:
        entries, nbytes = _once(folder, _emptied)
    except _DamagedError:
        _discard(folder / _FILE)
        return "removed a damaged file of plans"
    return f"removed {entries} plan{'s' if entries != 1 else ''}, {nbytes / 1e6:.1f} MB"


# -- the database ----------------------------------------------------------------------------------


def _or_none(use: Callable[[sqlite3.Connection], T]) -> T | None:
    """The result of `use`; None where there is no cache to use."""
    folder = config.cache_folder()
    if folder is None or time.monotonic() < _asked_again.get(folder, 0.0):
        return None
    try:
        return _mended(folder, use)
    except CacheError:
        return None


def _mended(folder: Path, use: Callable[[sqlite3.Connection], T]) -> T:
    """The result of `use`, on a new file where the old one is damaged. CacheError without one."""
    try:
        return _once(folder, use)
    except _DamagedError:
        _discard(folder / _FILE)
    try:
        return _once(folder, use)
    except _DamagedError as e:
        raise CacheError(f"{folder / _FILE}: damaged: {e}") from None


def _once(folder: Path, use: Callable[[sqlite3.Connection], T]) -> T:
    """The result of `use`. _DamagedError for what the file holds, CacheError for all else."""
    path = folder / _FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        try:
            db.text_factory = bytes  # text that is none is not decoded
            db.execute("PRAGMA synchronous = OFF")  # after a crash, a miss
            db.execute("CREATE TABLE IF NOT EXISTS plans "
                       "(key TEXT PRIMARY KEY, used REAL, plan BLOB)")  # fmt: skip
            with db:
                return use(db)
        finally:
            db.close()
    except sqlite3.Error as e:
        code = getattr(e, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code & 0xFF not in _CIRCUMSTANCES or code == sqlite3.SQLITE_IOERR_SHORT_READ:
            raise _DamagedError(str(e)) from None
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            _asked_again[folder] = time.monotonic() + _LEFT_ALONE_SECONDS
        raise CacheError(f"{path}: {e}") from None
    except (MemoryError, UnicodeDecodeError):  # a length that nothing has, a complaint in no text
        raise _DamagedError("SQLite cannot say why") from None
    except OSError as e:
        raise CacheError(f"{folder}: {e.strerror or e}") from None


def _exists(folder: Path) -> bool:
    try:
        return (folder / _FILE).exists()
    except OSError as e:
        raise CacheError(f"{folder}: {e.strerror or e}") from None


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)  # a journal beside it SQLite drops itself
    except OSError as e:
        raise CacheError(f"{path}: {e.strerror or e}") from None


def _get(db: sqlite3.Connection, graph: Graph, key: str) -> Plan | None:
    row = db.execute("SELECT plan, used FROM plans WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    sealed, used = row
    if not isinstance(sealed, bytes) or len(sealed) < _DIGEST_BYTES:
        raise _DamagedError("a row that is no plan")
    text = sealed[_DIGEST_BYTES:]
    if sealed[:_DIGEST_BYTES] != _digest(key, text):
        raise _DamagedError("a plan whose digest differs")
    try:
        plan = _decode(json.loads(zlib.decompress(text)), graph)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
            ValueError, zlib.error) as e:  # fmt: skip
        raise _DamagedError(f"a plan of another form: {e}") from None
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


def _put(db: sqlite3.Connection, key: str, sealed: bytes) -> None:
    db.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?)", (key, time.time(), sealed))
    if db.execute("SELECT plan FROM plans WHERE key = ?", (key,)).fetchone() != (sealed,):
        raise _DamagedError("an index that does not find what is there")
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
    db.execute("DELETE FROM plans")
    db.commit()
    db.execute("VACUUM")  # the bytes go back to the disk
    return found


def _digest(key: str, text: bytes) -> bytes:
    return blake2b(key.encode() + text, digest_size=_DIGEST_BYTES).digest()


@functools.cache
def _version() -> str:
    """A digest of the compiler's own text: another version makes other plans."""
    root = Path(__file__).parent.parent
    digest = blake2b((root / "provenance.py").read_bytes(), digest_size=16)
    for room in ("kernel", "llvm", "lowering", "rules", "uop", "wgsl"):
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
                     [[p.dtype.name, p.size, p.access] for p in k.params], k.flops, k.scratch,
                     [[s.key, s.asked, s.text, s.reasons] for s in k.nests]]
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
