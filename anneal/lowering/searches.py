"""What searches found: the Opts that run a kernel fastest, by kernel, device, driver and version.

In memory for who lowers a graph, read once; on disk as soon as they are found, for other processes;
as JSON for other machines. A row that is damaged is none. Where no folder can be written, results
last as long as the process.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anneal import config, errors
from anneal.kernel.opts import parse
from anneal.lowering.database import (
    CacheError,
    DamagedError,
    Database,
    emptied,
    opened,
    sealed,
    version,
)
from anneal.lowering.limits import NOTHING, Found

_DATABASE = Database("searches", "device TEXT, version TEXT, kernel TEXT, at REAL, result BLOB, "
                     "PRIMARY KEY (device, version, kernel)")  # fmt: skip
# Results kept, the last found ones: about 10 MB.
_MOST_RESULTS = 1 << 15
# What makes Opts fast, or slow: the kernels themselves are in the key.
_COMPILER = ("kernel", "llvm", "wgsl")
# What a file of results says that it is.
_FORMAT = "searches"

_Place = tuple[Path | None, str]
_lock = threading.RLock()
_known: dict[_Place, Found] = {}


@dataclass(frozen=True, slots=True)
class Result:
    """The Opts found for a kernel on a device; seconds that they and the heuristic's took, measured
    by turns."""

    device: str
    version: str
    kernel: str
    opts: str
    seconds: float
    heuristic_seconds: float

    @property
    def gain(self) -> float:
        """How many times as fast as the heuristic's they are."""
        return self.heuristic_seconds / self.seconds


class FormatError(errors.AnnealError, ValueError):
    """A file that holds no results of searches."""


def found(device: str) -> Found:
    """What was found for a device with its driver, by this version of the compiler."""
    place = config.cache_folder(), device
    known = _known.get(place)
    return _read(place) if known is None else known


def find(device: str, kernel: str) -> str | None:
    """What was found for one kernel, by another process perhaps since `found` was asked."""
    line = found(device).lines.get(kernel)
    if line is not None:
        return line
    key = device, _version(), kernel
    rows = _rows("WHERE device = ? AND version = ? AND kernel = ?", key)
    for result in rows:
        _note([result])
    return rows[0].opts if rows else None


def keep(device: str, kernel: str, opts: str, seconds: float, heuristic_seconds: float) -> None:
    """Notes a result, for this process and others."""
    result = Result(device, _version(), kernel, opts, seconds, heuristic_seconds)
    _note([result])
    _DATABASE.attempt(lambda db: _put(db, [result]))


def every() -> list[Result]:
    """All results on disk, those first that gain most. CacheError where it cannot be read."""
    folder = config.cache_folder()
    if folder is None or not _DATABASE.exists(folder):
        return []
    found = _DATABASE.mended(folder, lambda db: _get(db, "", ()))
    return sorted(found, key=lambda r: (-r.gain, r.device, r.kernel))


def clear() -> str:
    """Forgets all results; returns what was done, in words. CacheError where nothing could be."""
    with _lock:
        _known.clear()
    folder = config.cache_folder()
    if folder is None or not _DATABASE.exists(folder):
        return "removed nothing: no results of searches"
    count = len(every())
    try:
        _DATABASE.once(folder, lambda db: emptied(db, _DATABASE.name))
    except DamagedError:
        _DATABASE.discard(folder)
        return "removed a damaged file of results of searches"
    return f"removed {count} result{'s' if count != 1 else ''} of searches"


# -- in memory -------------------------------------------------------------------------------------


def _read(place: _Place) -> Found:
    with _lock:
        folder, device = place
        if place not in _known:
            _known[place] = NOTHING
            if folder is not None and _is_there(folder):
                _note(_rows("WHERE device = ? AND version = ?", (device, _version())))
        return _known[place]


def _is_there(folder: Path) -> bool:
    try:
        return _DATABASE.exists(folder)
    except CacheError:
        return False


def _note(results: Iterable[Result]) -> None:
    with _lock:
        for result in results:
            place = config.cache_folder(), result.device
            before = _known.get(place, NOTHING).lines
            _known[place] = Found({**before, result.kernel: result.opts})


def _version() -> str:
    return version(*_COMPILER)


# -- on disk ---------------------------------------------------------------------------------------


def _rows(where: str, values: tuple[str, ...]) -> list[Result]:
    return _DATABASE.attempt(lambda db: _get(db, where, values)) or []


def _get(db: sqlite3.Connection, where: str, values: tuple[str, ...]) -> list[Result]:
    rows = db.execute(f"SELECT device, version, kernel, result FROM searches {where}", values)
    sound = [_row(*row) for row in rows]
    return [r for r in sound if r is not None]


def _row(*row: Any) -> Result | None:
    try:
        device, of, kernel = [part.decode() for part in row[:3]]
        text = opened(f"{device} {of} {kernel}", row[3])
        return _result({**json.loads(text), "device": device, "version": of, "kernel": kernel})
    except (DamagedError, AttributeError, TypeError, ValueError, RecursionError):
        return None


def _put(db: sqlite3.Connection, results: Iterable[Result]) -> None:
    for r in results:
        text = json.dumps({"opts": r.opts, "seconds": r.seconds,
                           "heuristic_seconds": r.heuristic_seconds}).encode()  # fmt: skip
        db.execute("INSERT OR REPLACE INTO searches VALUES (?, ?, ?, ?, ?)",
                   (r.device, r.version, r.kernel, time.time(),
                    sealed(f"{r.device} {r.version} {r.kernel}", text)))  # fmt: skip
    (entries,) = db.execute("SELECT COUNT(*) FROM searches").fetchone()
    if entries > _MOST_RESULTS:
        db.execute("DELETE FROM searches WHERE rowid IN "
                   "(SELECT rowid FROM searches ORDER BY at LIMIT ?)", (entries // 8,))  # fmt: skip


# -- as JSON ---------------------------------------------------------------------------------------


def exported() -> tuple[int, str]:
    """How many results there are, and all of them as JSON."""
    rows = [asdict(r) for r in sorted(every(), key=lambda r: (r.device, r.version, r.kernel))]
    return len(rows), json.dumps({"anneal": _FORMAT, "results": rows}, indent=1) + "\n"


def imported(text: str, name: str) -> int:
    """Notes what another process exported, all or nothing; how many results. `name` is what an
    error calls the text: FormatError for what is wrong in it, CacheError where it cannot be kept.
    """
    results = _parsed(text, name)
    folder = config.cache_folder()
    if folder is None:
        raise CacheError(f"{name}: no folder to keep results in: ANNEAL_CACHE_DIR is empty")
    _DATABASE.mended(folder, lambda db: _put(db, results))
    _note([r for r in results if r.version == _version()])
    return len(results)


def _parsed(text: str, name: str) -> list[Result]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as e:
        raise FormatError(f"{name}:{e.lineno}:{e.colno}: {e.msg}") from None
    except (RecursionError, ValueError):
        raise FormatError(f"{name}: no JSON that results of searches could be") from None
    if not isinstance(whole, dict) or whole.get("anneal") != _FORMAT:
        raise FormatError(f'{name}: expected an object with "anneal": "{_FORMAT}", as '
                          "`anneal cache --export` writes it")  # fmt: skip
    rows = whole.get("results")
    if not isinstance(rows, list):
        raise FormatError(f"{name}: results: expected a list, got {_kind(rows)}")
    out = []
    for n, row in enumerate(rows):
        try:
            out.append(_result(row))
        except (TypeError, ValueError) as e:
            raise FormatError(f"{name}: results[{n}]{e}") from None
    return out


def _result(row: Any) -> Result:
    """ValueError or TypeError that says where it is none."""
    if not isinstance(row, dict):
        raise TypeError(f": expected an object, got {_kind(row)}")
    for key in ("device", "version", "kernel", "opts"):
        if not isinstance(row.get(key), str):
            raise TypeError(f".{key}: expected text, got {_kind(row.get(key))}")
    for key in ("seconds", "heuristic_seconds"):
        value = row.get(key)
        if type(value) not in (int, float) or not 0 < float(value or 0) < math.inf:
            raise ValueError(f".{key}: expected a number above 0, got {value!r:.40}")
    try:
        parse(row["opts"])
    except ValueError as e:
        raise ValueError(f".opts: {e}") from None
    unknown = row.keys() - Result.__dataclass_fields__.keys()
    if unknown:
        raise ValueError(f".{min(unknown)}: unknown")
    return Result(**row)


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", bool: "a truth value",
            type(None): "nothing"}.get(type(value), "a number")  # fmt: skip
