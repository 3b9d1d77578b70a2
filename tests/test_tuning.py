"""Searches on devices: measured, checked, kept, and used by jit."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import config, device, errors, nn, tuning
from anneal.kernel.ir import Kernel
from anneal.lowering import code, searches
from anneal.memo import Memo
from tests.programs import normal

X, W = normal(24, 40), normal(40, 20)


@pytest.fixture(autouse=True)
def small_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten candidates, of kernels that take no time at all, and a folder of its own."""
    monkeypatch.setenv("ANNEAL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tuning, "_BUDGET", 5)
    monkeypatch.setattr(tuning, "_LAUNCH", 0.0)
    monkeypatch.setattr(tuning, "_TURNS", 2)
    monkeypatch.setattr(searches, "_known", {})
    anew(monkeypatch)


def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process, with the same files."""
    monkeypatch.setattr(searches, "_known", {})
    monkeypatch.setattr(device, "_compiled", Memo(1000))
    monkeypatch.setattr(code, "_written", Memo(1000))


@pytest.fixture(params=["cpu", "webgpu"])
def where(request: pytest.FixtureRequest) -> Iterator[str]:
    with anneal.default_device(request.param):
        yield request.param


def images() -> tuple[Any, Any]:
    return normal(2, 3, 9, 8), normal(4, 3, 3, 3)


PROGRAMS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "matmul": (lambda x, w: x @ w, (X, W)),
    "softmax": (nn.softmax, (normal(30, 70),)),
    "rows": (lambda x: (x.sum(1), x.max(0)), (normal(33, 65),)),
    "reduce": (lambda x: (x * x).sum(), (normal(3000),)),
    "conv": (lambda x, w: nn.relu(anneal.lax.conv(x, w, (1, 1), "SAME")), images()),
    "integers": (lambda x: (anp.cumsum(x, 0), anp.argmax(x, 1)),
                 (np.arange(96).reshape(8, 12) * 7 % 13,)),
    "gradient": (anneal.grad(lambda w, x: anp.mean(nn.relu(x @ w) ** 2)), (W, X)),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_search_changes_no_numbers(
    name: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, args = PROGRAMS[name]
    before = anneal.tree.leaves(anneal.jit(f)(*args))
    monkeypatch.setenv("ANNEAL_BEAM", "2")
    searched = anneal.stats().get("kernels_searched", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no candidate computed anything else
        after = anneal.tree.leaves(anneal.jit(f)(*args))
    assert anneal.stats()["kernels_searched"] > searched
    monkeypatch.delenv("ANNEAL_BEAM")
    anew(monkeypatch)
    later = anneal.tree.leaves(anneal.jit(f)(*args))
    for x, y, z in zip(before, after, later, strict=True):
        np.testing.assert_allclose(np.asarray(y), np.asarray(x), 1e-4, 1e-4)
        np.testing.assert_array_equal(np.asarray(z), np.asarray(y))


def keep(line: str, f: Any, *args: Any) -> str:
    """Notes a result for the one kernel of a program; its key."""
    (kernel,) = anneal.jit(f).lower(*args).kernels
    key = kernel.nests[0].key
    searches.keep(device.current().driver, key, line, 1e-3, 2e-3)
    return key


def product(x: Any, w: Any) -> Any:
    return x @ w


LINE = {"cpu": "SPLIT(g1, 4) VECTOR(g1%4) UNROLL(r2)", "webgpu": "GRID(g0) LOCAL(g1)"}


def test_jit_takes_what_was_found(where: str) -> None:
    keep(LINE[where], product, X, W)
    lowered = anneal.jit(product).lower(X, W)
    (nest,) = lowered.kernels[0].nests
    assert nest.reasons == ((LINE[where], "found by a search"),)
    assert f"    {LINE[where]}: found by a search" in lowered.as_text("kernels").splitlines()
    np.testing.assert_allclose(anneal.jit(product)(X, W), X @ W, 1e-5, 1e-5)
    by_hand = anneal.jit(product, opts={nest.key[:6]: ""})
    assert by_hand.lower(X, W).kernels[0].nests[0].reasons == ()
    np.testing.assert_allclose(by_hand(X, W), X @ W, 1e-5, 1e-5)


@pytest.mark.parametrize("line", ["SPLIT(q, 4)", "VECTOR(g1)", "STAGE(9, g0)"])
def test_what_a_kernel_refuses_is_the_heuristics(line: str, where: str) -> None:
    chosen = anneal.jit(product).lower(X, W).kernels[0]
    keep(line, product, X, W)
    kept = anneal.jit(product).lower(X, W).kernels[0]
    assert kept.source == chosen.source and kept.nests[0].asked == line
    np.testing.assert_allclose(anneal.jit(product)(X, W), X @ W, 1e-5, 1e-5)


def test_a_plan_on_disk_is_of_what_is_known(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> dict[str, int]:
        anew(monkeypatch)
        before = anneal.stats()
        np.testing.assert_allclose(anneal.jit(product)(X, W), X @ W, 1e-5, 1e-5)
        now = anneal.stats()
        return {k: now[k] - before[k] for k in ("schedules", "plans_loaded")}

    assert run() == {"schedules": 1, "plans_loaded": 0}
    assert run() == {"schedules": 0, "plans_loaded": 1}
    keep(LINE[where], product, X, W)
    assert run()["schedules"] == 1  # the plan was another's
    assert run() == {"schedules": 0, "plans_loaded": 1}
    keep("", lambda x: x * 3, X)  # another kernel's
    assert run() == {"schedules": 0, "plans_loaded": 1}
    searches.clear()
    assert run()["schedules"] == 1
    assert run() == {"schedules": 0, "plans_loaded": 1}


def test_what_has_a_result_is_not_searched(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEAL_BEAM", "1")
    anneal.jit(product)(X, W)
    monkeypatch.setattr(tuning, "tune", None)
    anew(monkeypatch)
    np.testing.assert_allclose(anneal.jit(product)(X, W), X @ W, 1e-5, 1e-5)
    anew(monkeypatch)
    monkeypatch.setattr(tuning, "lower", None)  # nor lowered
    np.testing.assert_allclose(anneal.jit(product)(X, W), X @ W, 1e-5, 1e-5)


def test_what_is_not_jitted_is_not_searched(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEAL_BEAM", "1")
    monkeypatch.setattr(tuning, "tune", None)
    assert float((anp.ones(100) * 3).sum()) == 300
    by_hand = anneal.jit(lambda x: x * 3)
    name = by_hand.lower(X).kernels[0].nests[0].key[:6]
    np.testing.assert_allclose(anneal.jit(lambda x: x * 3, opts={name: ""})(X), X * 3)


def test_an_interrupt_leaves_what_was_found(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEAL_BEAM", "1")
    searched = 0

    def interrupted(kernel: Kernel, target: Any, starts: Any, measure: Any, *rest: Any) -> Any:
        nonlocal searched
        searched += 1
        if searched == 2:
            measure(kernel, 1.0)
            raise KeyboardInterrupt
        return search(kernel, target, starts, measure, *rest)

    def f(x: Any, w: Any) -> Any:
        return x @ w, nn.softmax(x), x.sum()

    search = tuning.search
    monkeypatch.setattr(tuning, "search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        anneal.jit(f)(X, W)
    assert len(searches.every()) == 1
    anew(monkeypatch)
    found = anneal.jit(f)(X, W)
    assert len(searches.every()) == searched - 1 >= 3
    np.testing.assert_allclose(found[0], X @ W, 1e-5, 1e-5)


def test_who_computes_something_else_is_dropped_and_told(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEAL_BEAM", "2")
    chosen = " ".join(map(str, code.heuristic(nest_of(product, X, W), device.limits().target)
                                   .kernel.opts))  # fmt: skip
    read = tuning._is_near
    calls = 0

    def only_the_first(got: Any, want: Any) -> bool:
        nonlocal calls
        calls += 1
        return calls <= 2 and read(got, want)  # the heuristic's, alone and as a start

    monkeypatch.setattr(tuning, "_is_near", only_the_first)
    with pytest.warns(UserWarning, match="were dropped; .* computes something else"):
        anneal.jit(product)(X, W)
    assert [r.opts for r in searches.every()] == [chosen]


def test_who_does_not_compile_is_dropped_and_told(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEAL_BEAM", "2")
    plan, calls = tuning._plan, 0

    def only_the_first(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:  # as no Opt has touched it, the heuristic's, and that as a start
            raise KeyError("a renderer's defect")
        return plan(*args)

    monkeypatch.setattr(tuning, "_plan", only_the_first)
    with pytest.warns(UserWarning, match="does not compile: KeyError"):
        np.testing.assert_allclose(anneal.jit(product)(X, W), X @ W, 1e-5, 1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="of terminals")
def test_a_terminal_shows_how_much_is_left(tmp_path: Path) -> None:
    import pty

    master, slave = pty.openpty()
    process = start(tmp_path / "another", slave, ANNEAL_BEAM="1", TERM="xterm", COLUMNS="100")
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
        while more := os.read(master, 1 << 16):
            shown += more
    out = process.communicate()[0]
    assert b"searching " in shown and b"8/8" in shown and b"0:00:00" in shown
    assert out.split()[1] == "2" and "searching" not in out


def nest_of(f: Any, *args: Any) -> Kernel:
    graph = anneal.jit(f).lower(*args).graph
    (nest,) = tuning._nests(graph, frozenset(), device.limits())
    return nest


def test_a_real_difference_is_seen() -> None:
    want = np.cumsum(normal(1000)).astype("f")
    assert tuning._is_near(want + np.float32(1e-6), want)
    lost = want.copy()
    lost[500:] -= normal(1)[0]
    assert not tuning._is_near(lost, want)
    assert not tuning._is_near(np.arange(4) + 1, np.arange(4))
    nans = np.array([np.nan, 1.0], "f")
    assert tuning._is_near(nans, nans) and not tuning._is_near(nans[::-1], nans)


def test_data_are_such_that_results_are_numbers(where: str) -> None:
    nest = nest_of(lambda x: anp.log(x) + anp.sqrt(x), normal(200))
    limits = device.limits()
    gpu: Any = device.current()
    with tuning._bench(gpu, nest, code.heuristic(nest, limits.target), limits) as bench:
        assert all(np.isfinite(x).all() for x in bench.expected)


def test_a_kernel_that_reads_what_it_writes_is_searched(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEAL_BEAM", "1")
    step = anneal.jit(lambda w, g: w - 0.1 * g, donate_argnums=0)
    w, g = normal(500), normal(500)
    np.testing.assert_allclose(step(anp.asarray(w), g), w - 0.1 * g, 1e-5, 1e-6)
    assert len(searches.every()) == 1


@pytest.mark.parametrize("value", ["two", "-1", "1.5", "²", "1" * 30])
def test_a_width_that_is_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEAL_BEAM", value)
    with pytest.raises(config.SettingError, match="ANNEAL_BEAM: expected a number from 0 to 999"):
        anneal.jit(lambda x: x * 2)(X)
    assert issubclass(config.SettingError, errors.AnnealError)


def test_the_interpreter_has_nothing_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEAL_BEAM", "2")
    with anneal.default_device("interpreter"):
        np.testing.assert_allclose(anneal.jit(product)(X, W), X @ W, 1e-5, 1e-5)
    assert searches.every() == []


PROGRAM = """
import numpy as np, anneal, sys
from anneal import tuning, nn
tuning._BUDGET, tuning._LAUNCH, tuning._TURNS = 4, 0.0, 2
x = np.arange(600, dtype="f").reshape(20, 30) / 600
with anneal.default_device("cpu"):
    print(float(anneal.jit(lambda x: (nn.softmax(x @ x.T) @ x).sum())(x)))
    print(anneal.stats().get("kernels_searched", 0), sys.stderr.isatty())
"""


def start(folder: Path, err: int = subprocess.PIPE, **more: str) -> subprocess.Popen[str]:
    env = {**os.environ, "ANNEAL_CACHE_DIR": str(folder), "PYTHONPATH": ":".join(sys.path), **more}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, text=True,
                            stdout=subprocess.PIPE, stderr=err)  # fmt: skip


def test_processes_share_what_they_find(tmp_path: Path) -> None:
    both = [start(tmp_path, ANNEAL_BEAM="1") for _ in range(2)]
    said = [p.communicate() for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert [err for _, err in said] == ["", ""]  # no bar, no complaint
    third = start(tmp_path, ANNEAL_BEAM="1")
    out, _ = third.communicate()
    values = [float(text.split()[0]) for text in (said[0][0], said[1][0], out)]
    assert out.split()[1] == "0"  # all were found before
    np.testing.assert_allclose(values, values[0], 1e-5)
