"""Plans on disk: found by other processes, safe when damaged, shared or unwritable."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anneal
from anneal import device
from anneal.cli import main
from anneal.lowering import cache, database
from anneal.lowering.plan import Plan
from anneal.memo import Memo
from anneal.uop.uop import Graph

PROGRAM = """
import json, numpy as np, anneal, anneal.numpy as anp
from anneal import nn
with anneal.default_device("webgpu"):
    f = anneal.jit(anneal.value_and_grad(lambda w, x: anp.mean(nn.relu(x @ w) ** 2)))
    value, slope = f(np.full((4, 3), 0.5, "f"), np.ones((2, 4), "f"))
    with anneal.profile() as p:
        f(np.full((4, 3), 0.5, "f"), np.ones((2, 4), "f"))
    lines = [r["lines"] for r in p.rows]
    print(json.dumps({**anneal.stats(), "value": float(value), "lines": lines}))
"""


def run(folder: Path) -> dict[str, object]:
    env = {**os.environ, "ANNEAL_CACHE_DIR": str(folder), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True,
                          check=True)  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_a_second_process_schedules_nothing(tmp_path: Path) -> None:
    first, second = run(tmp_path), run(tmp_path)
    assert first["schedules"] == 1
    assert second["schedules"] == 0
    assert second["plans_loaded"] == 1
    assert second["value"] == first["value"]
    assert second["lines"] == first["lines"]


def test_processes_at_once(tmp_path: Path) -> None:
    env = {**os.environ, "ANNEAL_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    several = [subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, stdout=subprocess.PIPE)
               for _ in range(3)]  # fmt: skip
    assert len({json.loads(p.communicate()[0])["value"] for p in several}) == 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANNEAL_CACHE_DIR", str(tmp_path / "plans"))
    monkeypatch.setattr(device, "_compiled", Memo(1000))
    return tmp_path / "plans"


def compute(scale: float) -> float:
    device._compiled.clear()
    with anneal.default_device("webgpu"):
        return float(anneal.jit(lambda x: (x * scale).sum())(np.ones(8, np.float32)))


def test_a_damaged_file_is_made_anew(folder: Path) -> None:
    assert compute(2.0) == 16
    (folder / "plans.sqlite3").write_bytes(b"not a database, whatever it says" * 100)
    assert compute(2.0) == 16
    assert cache.describe()["plans"] == 1


def test_a_damaged_entry_is_a_miss(folder: Path) -> None:
    assert compute(3.0) == 24
    with sqlite3.connect(folder / "plans.sqlite3") as db:
        db.execute("UPDATE plans SET plan = ?", (b"garbage",))
    db.close()
    assert compute(3.0) == 24


def test_a_folder_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ANNEAL_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert compute(5.0) == 40
    assert cache.describe()["plans"] == 0


def test_the_command_shows_and_clears(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compute(7.0)
    assert main(["cache"]) == 0
    shown = capsys.readouterr().out
    assert str(folder) in shown
    assert "plans     1," in shown
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.startswith("removed 1 plan, 0.0 MB\n")
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.startswith("removed 0 plans, 0.0 MB\n")
    assert cache.describe()["plans"] == 0
    assert main(["cache", "polish"]) == 2


# -- damage ----------------------------------------------------------------------------------------


def lowered(scale: float) -> tuple[Graph, str, Plan]:
    """A program, its key and its plan; for every `scale` another one of the same form."""
    with anneal.default_device("webgpu"):
        found = anneal.jit(lambda x: (x * scale).sum()).lower(np.ones(8, np.float32))
        return found.graph, cache.key_of(found.graph), found.plan


def put(folder: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(folder / "plans.sqlite3") as db:
        db.execute(statement, values)
    db.close()


def test_no_flipped_bit_of_the_index_gives_another_programs_plan(folder: Path) -> None:
    programs = [lowered(scale) for scale in (2.0, 3.0, 5.0)]
    for _, key, plan in programs:
        cache.store(key, plan)
    file = folder / "plans.sqlite3"
    raw = file.read_bytes()
    others = 0
    for _, key, _ in programs:
        at = raw.find(key.encode())  # in the table's row and in the index's
        while at >= 0:
            end = at + len(key)
            near = (*range(at - 4, at + 1), *range(end, min(end + 2, len(raw))))
            for bit in [8 * byte + i for byte in near for i in range(8)]:
                bad = bytearray(raw)
                bad[bit // 8] ^= 1 << bit % 8
                file.write_bytes(bad)
                others += _another_row(file, key)
                for graph, k, plan in programs:
                    file.write_bytes(bad)
                    assert cache.load(graph, k) in (None, plan)
            at = raw.find(key.encode(), at + 1)
    assert others, "no flip tried the digest"


def _another_row(file: Path, key: str) -> bool:
    """Whether SQLite itself answers with another program's row."""
    db = sqlite3.connect(file)
    try:
        row = db.execute("SELECT plan FROM plans WHERE key = ?", (key,)).fetchone()
    except sqlite3.Error:
        return False
    finally:
        db.close()
    found = row[0] if row is not None else None
    return isinstance(found, bytes) and found[:16] != database._digest(key, found[16:])


def test_a_row_under_another_key_is_a_miss_and_made_anew(folder: Path) -> None:
    (graph, key, plan), (_, other, _) = lowered(2.0), lowered(3.0)
    cache.store(other, plan)
    put(folder, "UPDATE plans SET key = ?", key)
    assert cache.load(graph, key) is None
    cache.store(key, plan)
    assert cache.load(graph, key) == plan


ROWS: dict[str, Any] = {
    "NULL": None, "text": "a plan", "no text": b"\xff\xfe", "a number": 3, "a length": 10**15,
    "a float": 0.5, "nothing": b"", "short": b"x" * 7,
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_another_type_is_a_miss(row: str, folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    cache.store(key, plan)
    put(folder, "UPDATE plans SET plan = ?", ROWS[row])
    assert cache.load(graph, key) is None
    cache.store(key, plan)
    assert cache.load(graph, key) == plan


def test_text_that_is_none_is_a_miss(folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    cache.store(key, plan)
    put(folder, "UPDATE plans SET plan = CAST(x'fffe' AS TEXT), used = CAST(x'ff' AS TEXT)")
    assert cache.load(graph, key) is None


def _without(plan: dict[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in plan.items() if k != name}


def _changed(*path: Any) -> Callable[[dict[str, Any]], Any]:
    """The plan with the value at `path[:-1]` replaced by the last of `path`."""

    def change(plan: dict[str, Any]) -> dict[str, Any]:
        at: Any = plan
        for step in path[:-2]:
            at = at[step]
        at[path[-2]] = path[-1]
        return plan

    return change


FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda plan: [plan],
    "null": lambda plan: None,
    "no slots": lambda plan: _without(plan, "slots"),
    "no kernels": _changed("kernels", []),
    "an input of another size": _changed("slots", 0, 1, 9),
    "an input of another dtype": _changed("slots", 0, 0, "int32"),
    "an unknown dtype": _changed("slots", 0, 0, "float7"),
    "a kind of slot": _changed("slots", 1, 2, "shelf"),
    "an output that is another's": _changed("outputs", [0]),
    "an output of no slot": _changed("outputs", [7]),
    "a slot from the end": _changed("outputs", [-1]),
    "no outputs": _changed("outputs", []),
    "an alias that does not fit": _changed("slots", 1, 4, 0),
    "a buffer that is not there": _changed("launches", 0, 1, [5, 0]),
    "too few buffers": _changed("launches", 0, 1, [1]),
    "a kernel that is not there": _changed("launches", 0, 0, 3),
    "a node that is not there": _changed("launches", 0, 3, [10**6]),
    "a buffer longer than its slot": _changed("kernels", 0, 4, 1, 1, 10**6),
    "an access": _changed("kernels", 0, 4, 0, 2, "write"),
    "a grid of two": _changed("kernels", 0, 2, [1, 1]),
    "a grid below zero": _changed("kernels", 0, 2, [1, -1, 1]),
    "a grid of truth": _changed("kernels", 0, 2, [True, 1, 1]),
    "a source that is no text": _changed("kernels", 0, 1, 7),
    "a nest without its reasons": _changed("kernels", 0, 7, [["key", None, "text"]]),
    "Opts asked for that are no text": _changed("kernels", 0, 7, [["key", 3, "text", []]]),
    "a reason that is no text": _changed("kernels", 0, 7, [["k", None, "text", [["LOOP(i)", 3]]]]),
    "a name of bytes": _changed("kernels", 0, 0, [65]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_plan_of_another_form_is_a_miss(form: str, folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    changed = FORMS[form](json.loads(json.dumps(cache._encode(plan))))
    _seal(graph, folder, key, plan, json.dumps(changed).encode())
    assert cache.load(graph, key) is None


@pytest.mark.parametrize("text", [b"[" * 10**6, b'{"slots":' * 10**5, b"9" * 10**5, b"", b"\xff"])
def test_json_that_is_deep_long_or_none_is_a_miss(text: bytes, folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    _seal(graph, folder, key, plan, text)
    assert cache.load(graph, key) is None


def _seal(graph: Graph, folder: Path, key: str, plan: Plan, text: bytes) -> None:
    """Stores `text` as a row whose digest is right."""
    cache.store(key, plan)
    assert cache.load(graph, key) == plan
    packed = zlib.compress(text)
    put(folder, "UPDATE plans SET plan = ?", database.sealed(key, packed))


SCHEMAS = [
    "CREATE TABLE plans (key TEXT PRIMARY KEY, plan BLOB)",
    "CREATE TABLE plans (key TEXT, used REAL, plan BLOB, more INTEGER NOT NULL)",
    "CREATE TABLE plans (a, b, c)",
    "CREATE VIEW plans AS SELECT 'k' AS key, 0.0 AS used, x'00' AS plan",
    "CREATE TABLE other (a); CREATE INDEX plans ON other (a)",
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_file_of_other_columns_is_made_anew(schema: str, folder: Path) -> None:
    folder.mkdir()
    db = sqlite3.connect(folder / "plans.sqlite3")
    db.executescript(schema)
    db.close()
    graph, key, plan = lowered(2.0)
    assert cache.load(graph, key) is None
    cache.store(key, plan)
    assert cache.load(graph, key) == plan


def test_every_damaged_byte_of_the_header_is_a_miss_or_harmless(folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    cache.store(key, plan)
    file = folder / "plans.sqlite3"
    raw = file.read_bytes()
    for at in range(100):
        for value in (0, 255, raw[at] ^ 1, raw[at] ^ 128):
            bad = bytearray(raw)
            bad[at] = value
            file.write_bytes(bad)
            assert cache.load(graph, key) in (None, plan)
            cache.store(key, plan)
            assert cache.load(graph, key) in (None, plan)


def test_a_schema_that_is_no_text_is_made_anew(folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    cache.store(key, plan)
    file = folder / "plans.sqlite3"
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b"CREATE TABLE plans", b"CREATE TA\x80\x80\xff plans"))
    assert cache.load(graph, key) is None
    cache.store(key, plan)
    assert cache.load(graph, key) == plan


def test_a_file_that_does_not_find_what_it_stored_is_made_anew(folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    cache.store(key, plan)
    put(folder, "CREATE TRIGGER forgets AFTER INSERT ON plans BEGIN DELETE FROM plans; END")
    cache.store(key, plan)
    assert cache.load(graph, key) == plan


@pytest.mark.parametrize("kept", [0, 1, 99, 100, 4095, 4096, 5000, 8192, -1])
def test_a_file_cut_short_is_made_anew(kept: int, folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    cache.store(key, plan)
    file = folder / "plans.sqlite3"
    file.write_bytes(file.read_bytes()[:kept])
    assert cache.load(graph, key) in (None, plan)
    cache.store(key, plan)
    assert cache.load(graph, key) == plan


# -- files that are not for us ---------------------------------------------------------------------


def test_a_locked_file_is_a_miss_and_asked_once(folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    cache.store(key, plan)
    db = sqlite3.connect(folder / "plans.sqlite3", isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    began = time.perf_counter()
    for _ in range(50):
        assert cache.load(graph, key) is None
        cache.store(key, plan)
    assert time.perf_counter() - began < 5  # 100 waits would be 25 seconds
    assert main(["cache", "clear"]) == main(["cache"]) == 2
    db.execute("ROLLBACK")
    db.close()
    database._asked_again.clear()
    assert cache.load(graph, key) == plan


def test_a_file_that_another_writes_is_read(folder: Path) -> None:
    graph, key, plan = lowered(2.0)
    cache.store(key, plan)
    put(folder, "UPDATE plans SET used = 0.0")
    db = sqlite3.connect(folder / "plans.sqlite3", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    assert cache.load(graph, key) == plan
    db.close()


READ_ONLY = """
import os, numpy as np, anneal, anneal.numpy as anp
from anneal.lowering import cache
from anneal.cli import main
found = anneal.jit(lambda x: (x * 2.0).sum()).lower(np.ones(8, np.float32))
graph, key, plan = found.graph, cache.key_of(found.graph), found.plan
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(cache.load(graph, key) == plan)
cache.store("another", plan)
print(cache.load(graph, "another"))
print(main(["cache", "clear"]))
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="of POSIX's permissions")
@pytest.mark.parametrize("modes", [(0o555, 0o444), (0o555, 0o644), (0o777, 0o444)])
def test_a_read_only_file_is_read(modes: tuple[int, int]) -> None:
    folder = Path(tempfile.gettempdir()) / f"anneal-{os.getpid()}-{modes[0]}-{modes[1]}"
    env = {**os.environ, "ANNEAL_CACHE_DIR": str(folder), "PYTHONPATH": ":".join(sys.path)}
    first = READ_ONLY.partition("if os.getuid")[0] + "cache.store(key, plan)"
    try:
        subprocess.run([sys.executable, "-c", first], env=env, check=True)
        (folder / "plans.sqlite3").chmod(modes[1])
        folder.chmod(modes[0])
        done = subprocess.run([sys.executable, "-c", READ_ONLY], env=env, capture_output=True,
                              text=True, check=True)  # fmt: skip
        assert done.stdout.split() == ["True", "None", "2"]
        assert "attempt to write a readonly database" in done.stderr.splitlines()[-1]
    finally:
        folder.chmod(0o700)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


NO_FOLDERS = ["~nosuch/x", "", "/dev/null", "/dev/null/x", "/proc/x", "x" * 5000]


@pytest.mark.parametrize("value", NO_FOLDERS, ids=lambda value: value[:12])
def test_a_setting_that_is_no_folder(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANNEAL_CACHE_DIR", value)
    assert compute(11.0) == 88
    assert main(["cache"]) in (0, 2)
    assert main(["cache", "clear"]) in (0, 2)
    said = capsys.readouterr()
    assert said.err.count("\n") + said.out.count("\n") <= 6
    assert "removed" not in said.out or "removed nothing" in said.out


@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", os.mkdir)])
def test_a_file_that_is_no_file(make: Callable[[Path], None], folder: Path) -> None:
    folder.mkdir()
    make(folder / "plans.sqlite3")
    began = time.perf_counter()
    assert compute(13.0) == 104
    assert main(["cache", "clear"]) in (0, 2)
    assert time.perf_counter() - began < 5


def test_clearing_says_that_the_file_was_damaged(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compute(2.0)
    for name in ("", "-journal", "-wal"):
        (folder / f"plans.sqlite3{name}").write_bytes(b"no database" * 1000)
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.startswith("removed a damaged file of plans\n")
    assert list(folder.iterdir()) == []
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.startswith(f"removed nothing: no plans in {folder}\n")
