"""Bytes by key on disk, the last used ones: what one process made, for the next.

In: keys, and what makes a value of what is stored. Out: the values of those that are there. Each
kind of blob has a file of its own (`database.py`), which can be missing, damaged or another's.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from anneal import config
from anneal.lowering.database import DamagedError, Database, emptied, opened, sealed

T = TypeVar("T")

# How exactly the last use is known, in seconds: a program that loads need not write.
_USED_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Blobs:
    """The file called `name`, with `most` rows; `column` is what a row holds."""

    name: str
    column: str
    most: int

    @property
    def database(self) -> Database:
        return Database(self.name, f"key TEXT PRIMARY KEY, used REAL, {self.column} BLOB")

    def load(self, keys: Iterable[str], decode: Callable[[bytes], T]) -> dict[str, T]:
        """What `decode` makes of those of `keys` that are there; it raises DamagedError for what
        was not written here."""

        def get(db: sqlite3.Connection) -> dict[str, T]:
            return {k: decode(text) for k in keys if (text := self._get(db, k)) is not None}

        return self.database.attempt(get) or {}

    def store(self, rows: Mapping[str, bytes]) -> None:
        """Keeps these bytes by their keys."""

        def put(db: sqlite3.Connection) -> None:
            for key, text in rows.items():
                self._put(db, key, sealed(key, text))

        self.database.attempt(put)

    def totals(self) -> tuple[int, int]:
        """How many there are, and their bytes. CacheError where the folder cannot be read."""
        folder = config.cache_folder()
        if folder is None or not self.database.exists(folder):
            return 0, 0
        return self.database.mended(folder, self._totals)

    def clear(self) -> str:
        """Forgets all; returns what was done, in words. CacheError where nothing could be."""
        folder = config.cache_folder()
        if folder is None:
            return "removed nothing: no folder is in use"
        if not self.database.exists(folder):
            return f"removed nothing: no {self.name} in {folder}"
        try:
            entries, nbytes = self.database.once(folder, self._emptied)
        except DamagedError:
            self.database.discard(folder)
            return f"removed a damaged file of {self.name}"
        one_or_more = self.name if entries != 1 else self.column
        return f"removed {entries} {one_or_more}, {nbytes / 1e6:.1f} MB"

    # -- rows ---------------------------------------------------------------------------------

    def _get(self, db: sqlite3.Connection, key: str) -> bytes | None:
        row = db.execute(f"SELECT {self.column}, used FROM {self.name} WHERE key = ?",
                         (key,)).fetchone()  # fmt: skip
        if row is None:
            return None
        text, used, now = opened(key, row[0]), row[1], time.time()
        if not isinstance(used, float) or not 0 <= now - used < _USED_SECONDS:
            self._touch(db, key, now)
        return text

    def _touch(self, db: sqlite3.Connection, key: str, now: float) -> None:
        try:
            with db:
                db.execute(f"UPDATE {self.name} SET used = ? WHERE key = ?", (now, key))
        except sqlite3.OperationalError:
            return  # locked or read-only: it was read all the same

    def _put(self, db: sqlite3.Connection, key: str, row: bytes) -> None:
        name = self.name
        db.execute(f"INSERT OR REPLACE INTO {name} VALUES (?, ?, ?)", (key, time.time(), row))
        found = db.execute(f"SELECT {self.column} FROM {name} WHERE key = ?", (key,)).fetchone()
        if found != (row,):
            raise DamagedError("an index that does not find what is there")
        (entries,) = db.execute(f"SELECT COUNT(*) FROM {name}").fetchone()
        if entries > self.most:
            db.execute(f"DELETE FROM {name} WHERE key IN "
                       f"(SELECT key FROM {name} ORDER BY used LIMIT ?)", (entries // 8,))

    def _totals(self, db: sqlite3.Connection) -> tuple[int, int]:
        entries, nbytes = db.execute(f"SELECT COUNT(*), COALESCE(SUM(LENGTH({self.column})), 0) "
                                     f"FROM {self.name}").fetchone()  # fmt: skip
        return entries, nbytes

    def _emptied(self, db: sqlite3.Connection) -> tuple[int, int]:
        """What there was."""
        found = self._totals(db)
        emptied(db, self.name)
        return found
