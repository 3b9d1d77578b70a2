"""Files that appear whole or not at all.

In: a path and bytes. Out: the file, for readers and after a crash either as it was or as it is to
be. The bytes go to a new file beside it, to the disk, then take its place in one step.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path


def write_whole(path: str | Path, data: bytes) -> None:
    """Writes `data` to `path`; OSError, and nothing changed, where that fails.

    A symbolic link stays one: what it points to is replaced. A file that was there keeps its mode
    and, where this process may say so, its owner. What is no file (a device, a pipe) has no place
    to take and is written to.
    """
    target, before = destination(path)
    if before is not None and not _replaceable(before):
        Path(path).write_bytes(data)
        return
    # A name that nobody else writes to or could have planted; O_EXCL follows no link.
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        _write_new(part, data, before)
        part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    _sync_folder(target.parent)


def destination(path: str | Path) -> tuple[Path, os.stat_result | None]:
    """The file that writing to `path` would replace, links resolved, and its status if it exists.

    OSError where it could not be written: a folder, a missing one, missing permission.
    """
    target = Path(os.path.realpath(path))
    try:
        before = _status(path)
    except FileNotFoundError:
        _check(target.parent, os.W_OK | os.X_OK)
        return target, None
    if stat.S_ISDIR(before.st_mode):
        raise _error(errno.EISDIR, path)
    if _replaceable(before):
        _check(target.parent, os.W_OK | os.X_OK)
        _check(target, os.W_OK)
    else:
        _check(Path(path), os.W_OK)
    return target, before


def _status(path: str | Path) -> os.stat_result:
    """What is at `path`. A file that another writer replaces just then has no name left, either:
    it is not there when asked again."""
    found = os.stat(path)
    while found.st_nlink == 0:
        before, found = found, os.stat(path)
        if os.path.samestat(before, found):
            break
    return found


def _replaceable(before: os.stat_result) -> bool:
    """Whether it is a file with a name: not one that was removed, known as /dev/stdout only."""
    return stat.S_ISREG(before.st_mode) and before.st_nlink > 0


def _check(path: Path, mode: int) -> None:
    os.stat(path)
    if not os.access(path, mode):
        raise _error(errno.EACCES, path)


def _error(number: int, path: str | Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))


def _write_new(part: Path, data: bytes, before: os.stat_result | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    # Of a file that was there nobody may read more than before, at no time.
    with open(os.open(part, flags, 0o666 if before is None else 0o600), "wb") as file:
        if before is not None and os.name == "posix":
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """The new name to the disk; where folders cannot be synced, it gets there by itself."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
