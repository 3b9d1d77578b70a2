"""Files appear whole or not at all: full disks, other writers, readers, links, devices, modes."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from anneal.io import load_safetensors, save_safetensors
from anneal.io.files import write_whole

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, modes and limits of POSIX")
resource = pytest.importorskip("resource")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def start(program: str, *args: object) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


# -- others at the same time -----------------------------------------------------------------------

WRITER = """
import sys
import numpy as np
from anneal.io import save_safetensors
path, mark = sys.argv[1], int(sys.argv[2])
n = 0
while True:
    n += 1
    if n == 2:
        print("ready", flush=True)
    size = 10000 + mark * 30000
    save_safetensors(path, {"x": np.full(size, mark, np.int32), "n": np.full(size, n, np.int32)})
"""
READER = """
import os, sys
import numpy as np
from anneal.io import load_safetensors
whole = 0
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    found = {k: np.asarray(v) for k, v in load_safetensors(sys.argv[1]).items()}
    mark = int(found["x"][0])
    assert found["x"].shape == found["n"].shape == (10000 + mark * 30000,)
    assert len(set(found["x"].tolist())) == len(set(found["n"].tolist())) == 1
    whole += 1
print(whole)
"""


def test_readers_see_whole_files_while_several_write_and_are_killed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {"x": np.zeros(10000, np.int32), "n": np.zeros(10000, np.int32)})
    reader = start(READER, path, tmp_path / "enough")
    writers = [start(WRITER, path, mark) for mark in (1, 2, 3)]
    try:
        for p in (reader, *writers):
            await_line(p)
        for victim in range(3):
            time.sleep(0.7 + victim * 0.0137)
            assert [p.poll() for p in (reader, *writers)] == [None] * 4, "one failed"
            writers[victim].kill()
            writers[victim].communicate()
            writers[victim] = start(WRITER, path, victim + 1)
            await_line(writers[victim])
        (tmp_path / "enough").touch()
        out, err = reader.communicate()
        assert err == "" and int(out) > 5
    finally:
        for p in (reader, *writers):
            p.kill()
            p.communicate()
    assert set(load_safetensors(path)) == {"n", "x"}


def test_a_file_that_is_replaced_while_it_is_looked_at_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another writer has just taken the place of has no name: it is none to write into."""
    path, other = tmp_path / "x", tmp_path / "other"
    path.write_bytes(b"before")
    other.write_bytes(b"")
    gone = os.stat(other)
    stale = os.stat_result([*gone[:3], 0, *gone[4:]])
    look, looks = os.stat, iter([stale])

    def racing(name: object, **options: object) -> os.stat_result:
        mine = next(looks, None) if str(name) == str(path) else None
        return mine or look(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", racing)
    monkeypatch.setattr(Path, "write_bytes", None)  # in place: readers would see a part
    write_whole(path, b"after")
    assert path.read_bytes() == b"after" and names(tmp_path) == ["other", "x"]


def await_line(p: subprocess.Popen[str]) -> None:
    assert p.stdout is not None and p.stdout.readline() == "ready\n"


def test_a_file_cut_short_while_it_is_read_ends_nobody(tmp_path: Path) -> None:
    program = """
import sys, time
from anneal.io import load_safetensors
from anneal.io.safetensors import FileFormatError
print("ready", flush=True)
end = time.monotonic() + 1.5
seen = set()
while time.monotonic() < end:
    try:
        seen.add(len(load_safetensors(sys.argv[1])))
    except FileFormatError:
        seen.add("refused")
print(*sorted(map(str, seen)))
"""
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {"x": np.zeros(4_000_000, np.int32)})
    whole = path.read_bytes()
    reader = start(program, path)
    assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
    while reader.poll() is None:
        with path.open("r+b") as file:
            file.truncate(5000)
            file.truncate(0)
            file.write(whole)
    out, err = reader.communicate()
    assert (reader.returncode, err) == (0, "")
    assert "refused" in out


# -- full disks and interrupts ---------------------------------------------------------------------


@pytest.fixture
def full() -> Iterator[None]:
    """No file may grow beyond 1,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)


@pytest.mark.parametrize("old", [None, b"what was there"])
def test_a_full_disk_changes_nothing(old: bytes | None, tmp_path: Path, full: None) -> None:
    path = tmp_path / "x"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(OSError) as refused:
        write_whole(path, bytes(10_000))
    assert refused.value.errno == errno.EFBIG
    assert names(tmp_path) == (["x"] if old is not None else [])
    assert old is None or path.read_bytes() == old


@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace"])
def test_an_interrupt_changes_nothing(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "x"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path if step == "replace" else os, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["x"]


def test_the_bytes_are_on_the_disk_before_they_take_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(fd: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        assert done[-1] == "folder" or os.fstat(fd).st_size == 3
        sync(fd)

    def replaced(self: Path, target: Path) -> Path:
        done.append("replaced")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replaced)
    write_whole(tmp_path / "x", b"new")
    assert done == ["file", "replaced", "folder"]


# -- links, modes, devices -------------------------------------------------------------------------


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "x.part").symlink_to(victim)
    write_whole(tmp_path / "x", b"new")
    assert victim.read_bytes() == b"precious"
    assert names(tmp_path) == ["victim", "x", "x.part"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link, chain = tmp_path / "link", tmp_path / "chain"
    link.symlink_to("there/target")
    chain.symlink_to("link")
    for text in (b"new", b"newer"):  # dangling at first
        write_whole(chain, text)
        assert link.is_symlink() and chain.is_symlink()
        assert (tmp_path / "there" / "target").read_bytes() == text
    assert names(tmp_path / "there") == ["target"]


def test_links_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    loop, lost = tmp_path / "loop", tmp_path / "lost"
    loop.symlink_to("loop")
    lost.symlink_to("no/such/folder")
    for link in (loop, lost):
        with pytest.raises(OSError):
            write_whole(link, b"new")
        assert link.is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_the_mode_of_a_file_is_kept(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_whole(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == b"new"


def test_a_new_file_has_the_mode_that_the_user_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "x", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs two users")
def test_the_owner_of_a_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    os.chown(path, 65534, 65534)
    write_whole(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def device(folder: Path, minor: int) -> Path:
    """A device of our own, which a mistake may replace: 3 is /dev/null, 7 is /dev/full."""
    path = folder / f"device{minor}"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        path.open("wb").close()
    except PermissionError:
        pytest.skip("this user makes no devices")
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's devices")
def test_a_device_stays_a_device(tmp_path: Path) -> None:
    null, full = device(tmp_path, 3), device(tmp_path, 7)
    link = tmp_path / "link"
    link.symlink_to(null)
    write_whole(null, b"new")
    save_safetensors(link, {"x": np.ones(3)})
    assert null.is_char_device() and link.is_symlink()
    with pytest.raises(OSError) as refused:
        write_whole(full, b"new")
    assert refused.value.errno == errno.ENOSPC
    assert full.is_char_device()
    with pytest.raises(ValueError, match="not a regular file"):
        load_safetensors(null)


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = start("import sys; print(len(open(sys.argv[1], 'rb').read()))", pipe)
    write_whole(pipe, bytes(100_000))
    assert reader.communicate()[0] == "100000\n"
    assert stat.S_ISFIFO(pipe.stat().st_mode) and names(tmp_path) == ["pipe"]


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        load_safetensors(tmp_path / "pipe")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's /proc")
def test_a_removed_file_that_is_still_open_is_written_to() -> None:
    program = """
import os
from anneal.io.files import write_whole
write_whole("/proc/self/fd/1", b"whole")
"""
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with tempfile.TemporaryFile() as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, env=env, check=True)
        file.seek(0)
        assert file.read() == b"whole"


READ_ONLY = """
import os, sys
from anneal.io.files import write_whole
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    write_whole(sys.argv[1], b"new")
except PermissionError as e:
    print(e.filename)
"""


@pytest.mark.parametrize(("folder", "file"), [(0o555, 0o666), (0o777, 0o444), (0o555, None)])
def test_what_is_write_protected_is_left(folder: int, file: int | None) -> None:
    with tempfile.TemporaryDirectory(dir=tempfile.gettempdir()) as outer:
        path = Path(outer) / "below" / "x"
        path.parent.mkdir()
        Path(outer).chmod(0o755)
        if file is not None:
            path.write_bytes(b"old")
            path.chmod(file)
        path.parent.chmod(folder)
        out, err = start(READ_ONLY, path).communicate()
        path.parent.chmod(0o777)
        assert out.strip() == str(path if folder == 0o777 else path.parent), err
        assert names(path.parent) == (["x"] if file is not None else [])
        assert file is None or path.read_bytes() == b"old"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, b"new")


def test_the_longest_names_are_possible(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_whole(path, b"new")
    assert names(tmp_path) == [path.name]
