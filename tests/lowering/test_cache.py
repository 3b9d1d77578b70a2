"""Plans on disk: found by other processes, safe when damaged, shared or unwritable."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import anneal
from anneal import device
from anneal.cli import main
from anneal.lowering import cache
from anneal.memo import Memo

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
    assert "plans   1," in shown
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == "removed 1 plans\n"
    assert cache.describe()["plans"] == 0
    assert main(["cache", "polish"]) == 2
