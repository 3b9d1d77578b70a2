"""Files of the cache's folder: SQLite tables that processes share.

In: what to do with a table. Out: its result, or None. What cannot be read is nothing, and a damaged
file is made anew. Nothing here can fail a program: a folder that cannot be written is no cache.

Neither SQLite nor zlib notices every flipped bit, and one in SQLite's index answers with another
row. So a row is stored under a digest of its key and its text (`sealed`, `opened`).
"""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from anneal import config, errors

T = TypeVar("T")

# A write holds the file for milliseconds; whoever holds it longer is not worth a wait each time.
_BUSY_SECONDS = 0.25
_LEFT_ALONE_SECONDS = 60.0
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
    """The cache's folder cannot be read or changed now; programs go on without it."""


class DamagedError(Exception):
    """The file holds what was not written here, or not like this."""


@dataclass(frozen=True, slots=True)
class Database:
    """A file, and the columns of its table, which is called as the file is."""

    name: str
    columns: str

    @property
    def file(self) -> str:
        return f"{self.name}.sqlite3"

    def attempt(self, use: Callable[[sqlite3.Connection], T]) -> T | None:
        """The result of `use`; None where there is no file to use."""
        folder = config.cache_folder()
        if folder is None or time.monotonic() < _asked_again.get(folder / self.file, 0.0):
            return None
        try:
            return self.mended(folder, use)
        except CacheError:
            return None

    def mended(self, folder: Path, use: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `use`, on a new file where the old one is damaged. CacheError without."""
        try:
            return self.once(folder, use)
        except DamagedError:
            self.discard(folder)
        try:
            return self.once(folder, use)
        except DamagedError as e:
            raise CacheError(f"{folder / self.file}: damaged: {e}") from None

    def once(self, folder: Path, use: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `use`. DamagedError for what the file holds, CacheError for all else."""
        path = folder / self.file
        try:
            folder.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=_BUSY_SECONDS)
            try:
                db.text_factory = bytes  # text that is none is not decoded
                db.execute("PRAGMA synchronous = OFF")  # after a crash, a miss
                db.execute(f"CREATE TABLE IF NOT EXISTS {self.name} ({self.columns})")
                with db:
                    return use(db)
            finally:
                db.close()
        except sqlite3.Error as e:
            code = getattr(e, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if code & 0xFF not in _CIRCUMSTANCES or code == sqlite3.SQLITE_IOERR_SHORT_READ:
                raise DamagedError(str(e)) from None
            if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                _asked_again[path] = time.monotonic() + _LEFT_ALONE_SECONDS
            raise CacheError(f"{path}: {e}") from None
        except (MemoryError, UnicodeDecodeError):  # a length that nothing has, a complaint in none
            raise DamagedError("SQLite cannot say why") from None
        except OSError as e:
            raise CacheError(f"{folder}: {e.strerror or e}") from None

    def exists(self, folder: Path) -> bool:
        try:
            return (folder / self.file).exists()
        except OSError as e:
            raise CacheError(f"{folder}: {e.strerror or e}") from None

    def discard(self, folder: Path) -> None:
        try:
            (folder / self.file).unlink(missing_ok=True)  # a journal beside it SQLite drops itself
        except OSError as e:
            raise CacheError(f"{folder / self.file}: {e.strerror or e}") from None


def sealed(key: str, text: bytes) -> bytes:
    """`text` as it is stored under `key`."""
    return _digest(key, text) + text


def opened(key: str, row: object) -> bytes:
    """The text that was stored under `key`. DamagedError for another row."""
    if not isinstance(row, bytes) or len(row) < _DIGEST_BYTES:
        raise DamagedError("a row of another type")
    text = row[_DIGEST_BYTES:]
    if row[:_DIGEST_BYTES] != _digest(key, text):
        raise DamagedError("a row whose digest differs")
    return text


def emptied(db: sqlite3.Connection, name: str) -> None:
    """Forgets all rows; the bytes go back to the disk."""
    db.execute(f"DELETE FROM {name}")
    db.commit()
    db.execute("VACUUM")


def _digest(key: str, text: bytes) -> bytes:
    return blake2b(key.encode() + text, digest_size=_DIGEST_BYTES).digest()


@functools.cache
def version(*rooms: str) -> str:
    """A digest of the text of folders and modules: what another one made is not used."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for room in (Path(__file__).parent.parent / room for room in rooms):
        for path in sorted(room.rglob("*.py")) if room.is_dir() else [room]:
            digest.update(path.read_bytes())
    return digest.hexdigest()
