"""Machine code on disk: linked by other processes, never what was not stored under its key."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import anneal
from anneal.cli import main
from anneal.llvm import objects
from anneal.llvm.device import CPU
from anneal.llvm.runtime import CompileError, Launches, Runtime
from anneal.lowering import database
from anneal.lowering.blobs import Blobs

SOURCE = """
define void @kernel(ptr %arguments, i64 %chunk, ptr %scratch) {{
  %word = load i64, ptr %arguments
  %at = inttoptr i64 %word to ptr
  store i64 {n}, ptr %at
  ret void
}}
"""

PROGRAM = """
import json, sys, numpy as np, anneal, anneal.numpy as anp
f = anneal.jit(anneal.value_and_grad(lambda w, x: anp.mean(anp.tanh(x @ w) ** 2)))
with anneal.default_device("cpu"):
    value, slope = f(np.full((40, 30), 0.5, "f"), np.ones((20, 40), "f"))
    found = [float(value), np.asarray(slope).tobytes().hex()]
print(json.dumps({**anneal.stats(), "found": found}))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANNEAL_CACHE_DIR", str(tmp_path / "below"))
    return tmp_path / "below"


def written(runtime: Runtime, n: int) -> int:
    """What the machine code of a kernel that writes `n` writes."""
    out = np.zeros(1, np.int64)
    table = Launches([runtime.load(runtime.object_code(SOURCE.format(n=n)))], [1], [1], 0)
    table.arguments[0][0] = out.ctypes.data
    runtime.run(table)
    return int(out[0])


def counted(name: str, before: dict[str, int]) -> int:
    return anneal.stats()[name] - before[name]


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    env = {**os.environ, "ANNEAL_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}

    def run() -> dict[str, object]:
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True,
                              text=True, check=True)  # fmt: skip
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    first, second = run(), run()
    assert first["objects_loaded"] == 0
    assert first["kernels_compiled"] == second["objects_loaded"] != 0
    assert second["kernels_compiled"] == 0
    assert second["found"] == first["found"]


def test_processes_at_once(tmp_path: Path) -> None:
    env = {**os.environ, "ANNEAL_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    several = [subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, stdout=subprocess.PIPE)
               for _ in range(4)]  # fmt: skip
    assert len({str(json.loads(p.communicate()[0])["found"]) for p in several}) == 1


def test_what_one_runtime_compiled_another_links(folder: Path) -> None:
    assert written(Runtime(1), 7) == 7
    before = anneal.stats()
    assert written(Runtime(1), 7) == 7
    assert counted("kernels_compiled", before) == 0
    assert counted("objects_loaded", before) == 2  # the kernel, and the runtime's own


def test_another_processor_is_another_key(folder: Path) -> None:
    runtime = Runtime(1)
    assert written(runtime, 7) == 7
    runtime.compiler = runtime.compiler.replace("'", "'+more,", 1)
    before = anneal.stats()
    assert written(runtime, 7) == 7
    assert counted("kernels_compiled", before) == 1
    assert objects.key_of("a", "b") != objects.key_of("a", "c")


def test_ir_that_llvm_refuses_is_not_kept(folder: Path) -> None:
    runtime = Runtime(1)
    before = objects.OBJECTS.totals()
    with pytest.raises(CompileError, match="LLVM refuses"):
        runtime.object_codes([SOURCE.format(n=1), "define nonsense"])
    assert objects.OBJECTS.totals() == before


# -- damage ----------------------------------------------------------------------------------------


def test_no_flipped_bit_is_linked(folder: Path) -> None:
    runtime = Runtime(1)
    code = runtime.object_code(SOURCE.format(n=3))
    key = objects.key_of(SOURCE.format(n=3), runtime.compiler)
    file = folder / "objects.sqlite3"
    raw = file.read_bytes()
    start = raw.find(code[:64])
    assert start > 0
    rng = np.random.default_rng(0)
    for at in rng.integers(start - 80, start + 600, 200):
        bad = bytearray(raw)
        bad[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(bad)
        assert objects.load([key]) in ({}, {key: code})
    file.write_bytes(raw)
    assert objects.load([key]) == {key: code}


def test_an_object_under_another_key_is_compiled_anew(folder: Path) -> None:
    runtime = Runtime(1)
    assert (written(runtime, 3), written(runtime, 5)) == (3, 5)
    three, five = (objects.key_of(SOURCE.format(n=n), runtime.compiler) for n in (3, 5))
    with sqlite3.connect(folder / "objects.sqlite3") as db:
        db.execute("DELETE FROM objects WHERE key = ?", (five,))
        db.execute("UPDATE objects SET key = ? WHERE key = ?", (five, three))
    db.close()
    assert written(runtime, 5) == 5
    assert written(runtime, 3) == 3


@pytest.mark.parametrize("row", [None, "text", 3, b"", b"short", b"\0" * 4096])
def test_a_row_of_another_type_is_compiled_anew(row: object, folder: Path) -> None:
    runtime = Runtime(1)
    assert written(runtime, 3) == 3
    with sqlite3.connect(folder / "objects.sqlite3") as db:
        db.execute("UPDATE objects SET object = ?", (row,))
    db.close()
    before = anneal.stats()
    assert written(runtime, 3) == 3
    assert counted("kernels_compiled", before) == 1
    assert written(runtime, 3) == 3
    assert counted("kernels_compiled", before) == 1


@pytest.mark.parametrize("content", [b"", b"none" * 999, b"SQLite format 3\0" + b"\xff" * 99])
def test_a_damaged_file_is_made_anew(content: bytes, folder: Path) -> None:
    folder.mkdir()
    (folder / "objects.sqlite3").write_bytes(content)
    assert written(Runtime(1), 9) == 9
    assert objects.OBJECTS.totals()[0] == 2


@pytest.mark.parametrize("where", ["", "/dev/null/x", "/proc/x", "x" * 5000])
def test_a_folder_that_cannot_be(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEAL_CACHE_DIR", where)
    assert written(Runtime(1), 9) == 9


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk(folder: Path) -> None:
    folder.mkdir()
    (folder / "objects.sqlite3").symlink_to("/dev/full")
    assert written(Runtime(1), 9) == 9


def test_a_locked_file_is_waited_for_once(folder: Path) -> None:
    runtime = Runtime(1)
    assert written(runtime, 3) == 3
    db = sqlite3.connect(folder / "objects.sqlite3", isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    began = time.perf_counter()
    for n in range(30):
        assert written(runtime, n) == n
    assert time.perf_counter() - began < 10
    db.execute("ROLLBACK")
    db.close()
    database._asked_again.clear()


# -- how much is kept ------------------------------------------------------------------------------


def test_the_last_used_ones_are_kept(folder: Path) -> None:
    kept = Blobs("few", "one", most=16)
    for n in range(100):
        kept.store({f"k{n}": bytes([n])})
        assert kept.totals()[0] <= 16
    assert kept.load([f"k{n}" for n in range(100)], bytes)["k99"] == b"c"
    assert kept.load(["k0"], bytes) == {}


def test_the_command_counts_and_clears(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert written(Runtime(1), 3) == 3
    assert main(["cache"]) == 0
    assert "objects   2," in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert "removed 2 objects, 0.0 MB" in capsys.readouterr().out
    assert objects.OBJECTS.totals()[0] == 0


def test_kernels_of_a_program_are_asked_for_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    codes = Runtime.object_codes

    def noted(self: Runtime, sources: list[str]) -> list[bytes]:
        asked.append(len(sources))
        return codes(self, sources)

    runtime = Runtime(1)
    monkeypatch.setattr(Runtime, "object_codes", noted)
    sources = [SOURCE.format(n=n) for n in (1, 2, 1)]
    device = CPU(runtime)
    first = device.functions_of(sources)
    assert first[0] is first[2] is not first[1]
    assert device.functions_of(sources[::-1]) == first[::-1]
    assert asked == [2]
