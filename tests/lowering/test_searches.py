"""Results of searches: kept for other processes, sound or not there, moved as JSON."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from anneal.cli import main
from anneal.lowering import database, searches
from anneal.lowering.limits import NOTHING, Limits

LINE = "SPLIT(i, 8) VECTOR(i%8)"
KEY = "0123456789abcdef" * 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANNEAL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(searches, "_known", {})
    return tmp_path / "cache"


def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process."""
    monkeypatch.setattr(searches, "_known", {})


def test_a_result_is_there_for_who_comes_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert searches.found("gpu 1") is NOTHING
    assert not folder.exists()  # nobody asked SQLite
    searches.keep("gpu 1", KEY, LINE, 1e-3, 2e-3)
    assert searches.found("gpu 1").lines == {KEY: LINE}
    anew(monkeypatch)
    assert searches.found("gpu 1").lines == {KEY: LINE}
    assert searches.found("gpu 2").lines == {}
    monkeypatch.setattr(searches, "_version", lambda: "another")
    anew(monkeypatch)
    assert searches.found("gpu 1").lines == {}


def test_results_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searches.keep("gpu", KEY, LINE, 1e-3, 2e-3)
    anew(monkeypatch)
    before = searches.found("gpu")
    monkeypatch.setattr(sqlite3, "connect", None)
    assert searches.found("gpu") is before
    assert searches.find("gpu", KEY) == LINE


def test_what_another_process_found_meanwhile(folder: Path) -> None:
    assert searches.find("gpu", KEY) is None
    code = f"from anneal.lowering import searches; searches.keep('gpu', {KEY!r}, {LINE!r}, 1., 2.)"
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    assert searches.found("gpu").lines == {}  # read before
    assert searches.find("gpu", KEY) == LINE
    assert searches.found("gpu").lines == {KEY: LINE}


def test_what_is_found_later_is_another_value(folder: Path) -> None:
    before = Limits(found=searches.found("gpu"))
    searches.keep("gpu", KEY, LINE, 1e-3, 2e-3)
    after = Limits(found=searches.found("gpu"))
    assert before != after and before.asked(KEY) is None and after.asked(KEY) == LINE
    assert Limits(found=searches.found("gpu"), opts=((KEY[:6], ""),)).asked(KEY) == ""
    assert repr(before) == repr(after)  # plans are looked at one by one


@pytest.mark.parametrize("value", ["", "/dev/null", "/proc/x", "~nosuch/x"])
def test_without_a_folder_results_last_as_long_as_the_process(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANNEAL_CACHE_DIR", value)
    anew(monkeypatch)
    searches.keep("gpu", KEY, LINE, 1e-3, 2e-3)
    assert searches.found("gpu").lines == {KEY: LINE}
    assert searches.find("gpu", "other") is None
    assert main(["cache", "clear-searches"]) in (0, 2)


def test_a_full_disk_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searches.keep("gpu", "first", LINE, 1e-3, 2e-3)

    def full(db: Any, results: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(searches, "_put", full)
    searches.keep("gpu", KEY, LINE, 1e-3, 2e-3)
    assert searches.found("gpu").lines == {"first": LINE, KEY: LINE}
    anew(monkeypatch)
    assert searches.found("gpu").lines == {"first": LINE}


def put(folder: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(folder / "searches.sqlite3") as db:
        db.execute(statement, values)
    db.close()


ROWS: dict[str, Any] = {"NULL": None, "text": "a", "a number": 3, "nothing": b"", "short": b"abc",
                        "garbage": b"x" * 100}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_damaged_row_is_none_and_the_others_stay(
    row: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("good", "bad"):
        searches.keep("gpu", key, LINE, 1e-3, 2e-3)
    put(folder, "UPDATE searches SET result = ? WHERE kernel = 'bad'", ROWS[row])
    anew(monkeypatch)
    assert searches.found("gpu").lines == {"good": LINE}
    assert len(searches.every()) == 1


def test_a_row_under_another_key_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searches.keep("gpu", KEY, LINE, 1e-3, 2e-3)
    put(folder, "UPDATE searches SET kernel = 'another'")
    anew(monkeypatch)
    assert searches.found("gpu").lines == {}


TEXTS = [b"{}", b"[1]", b"\xff", b"[" * 10**5, b'{"opts": 3}',
         b'{"opts": "SPLAT(i)", "seconds": 1, "heuristic_seconds": 1}',
         b'{"opts": "", "seconds": 0, "heuristic_seconds": 1}']  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_row_of_another_form_is_none(
    text: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches.keep("gpu", KEY, LINE, 1e-3, 2e-3)
    row = database.sealed(f"gpu {searches._version()} {KEY}", text)
    put(folder, "UPDATE searches SET result = ?", row)
    anew(monkeypatch)
    assert searches.found("gpu").lines == {}


def test_a_damaged_file_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searches.keep("gpu", KEY, LINE, 1e-3, 2e-3)
    for text in (b"not a database, whatever it says" * 100, b""):
        (folder / "searches.sqlite3").write_bytes(text)
        anew(monkeypatch)
        assert searches.found("gpu").lines == {}
        searches.keep("gpu", KEY, LINE, 1e-3, 2e-3)
        anew(monkeypatch)
        assert searches.found("gpu").lines == {KEY: LINE}


def test_the_oldest_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "_MOST_RESULTS", 8)
    for n in range(9):
        searches.keep("gpu", f"kernel {n}", LINE, 1e-3, 2e-3)
    anew(monkeypatch)
    assert sorted(searches.found("gpu").lines) == [f"kernel {n}" for n in range(1, 9)]


def test_threads_keep_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(n: int) -> None:
        for k in range(10):
            searches.keep("gpu", f"{n} {k}", LINE, 1e-3, 2e-3)

    threads = [threading.Thread(target=keep, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(searches.found("gpu").lines) == 40


# -- the command -----------------------------------------------------------------------------------


def test_the_command_shows_the_best(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    searches.keep("gpu one", KEY, LINE, 1e-3, 2e-3)
    searches.keep("gpu two", KEY, "", 1e-3, 1e-3)
    assert main(["cache"]) == 0
    shown = capsys.readouterr().out
    assert "searches  2\n" in shown
    assert f"  012345   2.00 times the heuristic's speed, 1.000 ms, on gpu one: {LINE}" in shown
    assert "gpu two" not in shown  # nothing gained
    assert main(["cache", "clear"]) == 0
    assert len(searches.every()) == 2
    assert main(["cache", "clear-searches"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "removed 2 results of searches"
    assert searches.every() == [] and searches.found("gpu one").lines == {}
    assert main(["cache", "clear-searches"]) == 0
    assert capsys.readouterr().out == "removed 0 results of searches\n"


def test_results_move_as_a_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    searches.keep("gpu é", KEY, LINE, 1e-3, 2e-3)
    searches.keep("gpu é", "other", "", 1e-3, 1e-3)
    file = tmp_path / "results.json"
    assert main(["cache", "--export", str(file)]) == 0
    assert capsys.readouterr().out == f"exported 2 results of searches to {file}\n"
    monkeypatch.setenv("ANNEAL_CACHE_DIR", str(tmp_path / "elsewhere"))
    anew(monkeypatch)
    assert searches.found("gpu é").lines == {}
    assert main(["cache", "--import", str(file)]) == 0
    assert capsys.readouterr().out == f"imported 2 results of searches from {file}\n"
    assert searches.found("gpu é").lines == {KEY: LINE, "other": ""}
    anew(monkeypatch)
    assert searches.found("gpu é").lines == {KEY: LINE, "other": ""}


GOOD = {"device": "gpu", "version": "1", "kernel": KEY, "opts": LINE, "seconds": 1e-3,
        "heuristic_seconds": 2e-3}  # fmt: skip
BAD: dict[str, tuple[Any, str]] = {
    "a list": ([], 'expected an object with "anneal": "searches"'),
    "another object": ({"anneal": "plans"}, 'expected an object with "anneal": "searches"'),
    "no results": ({"anneal": "searches"}, "results: expected a list, got nothing"),
    "a result": ([3], "results[0]: expected an object, got a number"),
    "a device": ([GOOD, {**GOOD, "device": 3}], "results[1].device: expected text, got a number"),
    "no kernel": ([{k: v for k, v in GOOD.items() if k != "kernel"}],
                  "results[0].kernel: expected text, got nothing"),
    "Opts": ([{**GOOD, "opts": "SPLAT(i)"}], "results[0].opts: expected Opts such as"),
    "an Opt": ([{**GOOD, "opts": "SPLIT(i)"}], "results[0].opts: expected SPLIT(range, number)"),
    "seconds": ([{**GOOD, "seconds": -1}], "results[0].seconds: expected a number above 0, got -1"),
    "truth": ([{**GOOD, "seconds": True}], "results[0].seconds: expected a number above 0"),
    "no number": ([{**GOOD, "heuristic_seconds": float("nan")}],
                  "results[0].heuristic_seconds: expected a number above 0, got nan"),
    "more": ([{**GOOD, "speed": 3}], "results[0].speed: unknown"),
}  # fmt: skip


@pytest.mark.parametrize("which", BAD)
def test_a_malformed_file_is_refused_by_name_and_place(
    which: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, why = BAD[which]
    if isinstance(whole, list) and whole:
        whole = {"anneal": "searches", "results": whole}
    file = tmp_path / "results.json"
    file.write_text(json.dumps(whole))
    assert main(["cache", "--import", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"anneal: {file}: {why}") and said.count("\n") == 1
    assert searches.every() == []  # nothing of it


@pytest.mark.parametrize(("text", "why"), [
    (b'{"anneal":\n "searches",', ":2:"), (b"\xff\xfe", ": no text at byte 0"),
    (b"[" * 10**5, ": no JSON that results of searches could be"), (b"", ":1:1: "),
    (b"9" * 10**4, ": no JSON"),
])  # fmt: skip
def test_a_file_that_is_no_json(
    text: bytes, why: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(text)
    assert main(["cache", "--import", str(file)]) == 2
    assert f"{file}{why}" in capsys.readouterr().err


@pytest.mark.parametrize(("argv", "said"), [
    (["cache", "polish"], "unknown argument 'polish': expected clear or clear-searches"),
    (["cache", "clear", "--export", "x"], "expected one of clear, clear-searches, --export"),
    (["cache", "--import", "nowhere.json"], "nowhere.json"),
    (["cache", "--export", "no/such/folder/x.json"], "No such file or directory"),
])  # fmt: skip
def test_what_the_command_refuses(
    argv: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert said in capsys.readouterr().err
