"""Several threads at once, from a cold start: right results, each its own; and forked processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import device
from anneal.io import load_safetensors, save_safetensors

THREADS = 8
# Everything that a process does for the first time, by all threads at once.
COLD_START = """
import sys, threading, time
sys.setswitchinterval(1e-5)
import numpy as np
import anneal, anneal.numpy as anp
from anneal import random

until = time.monotonic() + float(sys.argv[2])
start, wrong, done = threading.Barrier(THREADS), [], [0] * THREADS
shared = anneal.jit(lambda a, b: ((a @ b).sum(1), anp.tanh(a) * 2))
shared_grad = anneal.jit(anneal.value_and_grad(lambda w, x: ((x @ w) ** 2).mean()))
step = anneal.jit(lambda p, x: {"w": p["w"] - 0.5 * x, "n": p["n"] + 1}, donate_argnums=0)

def check(name, got, want, rtol=1e-4):
    if not np.allclose(np.asarray(got), want, rtol=rtol, atol=1e-4):
        wrong.append((name, np.asarray(got).tolist(), np.asarray(want).tolist()))

def work(t):
    try:
        start.wait()
        rng = np.random.default_rng(t)
        i = 0
        while i < 3 or time.monotonic() < until:
            n = 2 + (t + i) % 5
            a = rng.standard_normal((n, 3)).astype(np.float32)
            b = rng.standard_normal((3, n)).astype(np.float32)
            check("eager", anp.asarray(a) * (t + 0.25) + i, a * (t + 0.25) + i)
            rows, tanh = shared(a, b)
            check("jit", rows, (a @ b).sum(1)); check("jit", tanh, np.tanh(a) * 2)
            own = anneal.jit(lambda x: (x * (t + 3) + i % 4, x.sum()))
            y, s = own(a)
            check("own", y, a * (t + 3) + i % 4); check("own", s, a.sum())
            v, g = shared_grad(anp.asarray(b), a.T.copy().T)
            check("grad", g, 2 * a.T @ (a @ b) / (n * n))
            v, g = anneal.value_and_grad(lambda w: (anp.sin(w) * t).sum())(a)
            check("eager grad", g, np.cos(a) * t)
            p = {"w": anp.asarray(a), "n": anp.asarray(t)}
            for k in range(4):
                p = step(p, np.float32(t))
            check("donated", p["w"], a - 2.0 * t); check("donated", p["n"], t + 4)
            check("random", random.uniform(random.key(t), (3,)), KEYS[t])
            i += 1
        done[t] = i
    except BaseException as e:
        import traceback
        wrong.append(traceback.format_exc())

KEYS = np.array(eval(sys.argv[1]))
threads = [threading.Thread(target=work, args=(t,)) for t in range(THREADS)]
for t in threads: t.start()
for t in threads: t.join()
assert not wrong, wrong[0]
assert all(done), done
print("rounds", sum(done))
""".replace("THREADS", str(THREADS))


@pytest.mark.parametrize("name", ["webgpu", "interpreter", "cpu"])
def test_eight_threads_from_a_cold_start(name: str, tmp_path: Any) -> None:
    with anneal.default_device("interpreter"):
        keys = [np.asarray(anneal.random.uniform(anneal.random.key(t), (3,))).tolist()
                for t in range(THREADS)]  # fmt: skip
    env = {**os.environ, "ANNEAL_DEVICE": name, "ANNEAL_CACHE_DIR": str(tmp_path)}
    for _ in range(2):  # the second finds plans on disk
        out = subprocess.run([sys.executable, "-c", COLD_START, repr(keys), "4"], env=env,
                             capture_output=True, text=True, timeout=240, check=False)  # fmt: skip
        assert out.returncode == 0, out.stderr[-3000:]


def test_nodes_are_interned_once_whoever_makes_them() -> None:
    from anneal.uop import dtypes, ops
    from anneal.uop.uop import UOp, const, live_nodes, param

    p = param(dtypes.float32, (2,))
    before, interval = live_nodes(), sys.getswitchinterval()
    barrier = threading.Barrier(THREADS)

    def make(t: int) -> list[UOp]:
        made = []
        for i in range(2000):
            if i % 50 == 0:
                barrier.wait()
            made.append(UOp(ops.ADD, dtypes.float32, (p, const(i, dtypes.float32))))
            # Dies, and is made again.
            UOp(ops.MUL, dtypes.float32, (p, const(i % 7, dtypes.float32)))
        return made

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            first, *others = pool.map(make, range(THREADS))
    finally:
        sys.setswitchinterval(interval)
    for other in others:
        assert all(a is b for a, b in zip(first, other, strict=True))
    del first, others, other
    assert live_nodes() <= before + 8


# -- the device of a thread ------------------------------------------------------------------------


def test_a_device_called_is_the_processs_and_one_entered_the_contexts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "_process", [])
    monkeypatch.setenv("ANNEAL_DEVICE", "interpreter")

    def elsewhere() -> str:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: device.current().name).result()

    assert (device.current().name, elsewhere()) == ("interpreter", "interpreter")
    with anneal.default_device("webgpu"):
        assert (device.current().name, elsewhere()) == ("webgpu", "interpreter")
        inside = copy_context()
        with anneal.default_device("interpreter"):
            assert device.current().name == "interpreter"
            assert inside.run(lambda: device.current().name) == "webgpu"
        anneal.default_device("webgpu")
        with anneal.default_device("interpreter"):
            assert (device.current().name, elsewhere()) == ("interpreter", "webgpu")
    assert (device.current().name, elsewhere()) == ("webgpu", "webgpu")
    anneal.default_device("interpreter")
    assert (device.current().name, elsewhere()) == ("interpreter", "interpreter")


def test_one_entered_by_several_threads_and_left_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "_process", [])
    monkeypatch.setenv("ANNEAL_DEVICE", "interpreter")
    one = anneal.default_device("webgpu")
    monkeypatch.setattr(device, "_process", [])
    inside = threading.Barrier(THREADS)

    def enter(t: int) -> None:
        for _ in range(20):
            with one:
                inside.wait()
                assert device.current().name == "webgpu"
                with one:
                    inside.wait()
                assert device.current().name == "webgpu"
            assert device.current().name == "interpreter"

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(enter, range(THREADS)))

    def generator(name: str) -> Any:
        with anneal.default_device(name):
            yield

    first, second = generator("webgpu"), generator("interpreter")
    next(first), next(second)
    first.close()
    assert device.current().name == "interpreter"
    second.close()
    assert not device._entered.get()
    third = generator("webgpu")
    next(third)
    copy_context().run(third.close)
    with ThreadPoolExecutor(1) as pool:
        fourth = pool.submit(lambda: (g := generator("webgpu"), next(g))[0]).result()
    fourth.close()


def test_what_a_function_computes_elsewhere_changes_no_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A half of 16 bits that WebGPU lacks is saved by way of the interpreter."""

    class Watched(list[Any]):
        def __setitem__(self, key: Any, value: Any) -> None:
            raise AssertionError("for the process, if only for a moment")

    monkeypatch.setattr(device, "_process", Watched())
    with device.within("webgpu"):
        save_safetensors(tmp_path / "x", {"w": (anp.ones(3) * 3.5).astype("bfloat16")})
        assert load_safetensors(tmp_path / "x")["w"].dtype.name == "bfloat16"


def test_threads_that_let_go_of_one_arrays_graph_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Raced(weakref.WeakValueDictionary[Any, Any]):
        """Another thread lets go in the moment after this one has looked."""

        def get(self, key: Any, default: Any = None) -> Any:
            return self.pop(key, default)

    monkeypatch.setattr("anneal.array.pending", Raced())
    x = anp.sin(anp.arange(3) * 1.5)
    want = np.sin(np.arange(3) * 1.5)
    np.testing.assert_allclose(np.asarray(x), want, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(x + 1), want + 1, rtol=1e-6)


def test_threads_choose_devices_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_process", [])
    names = ("interpreter", "webgpu")

    def work(t: int) -> bool:
        mine = names[t % 2]
        for i in range(200):
            with anneal.default_device(mine):
                if device.current().name != mine:
                    return False
                if i % 50 == 0 and (anp.ones(3) * t).tolist() != [t] * 3:
                    return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(work, range(THREADS)))
    assert device._process == []


# -- processes -------------------------------------------------------------------------------------

FORK = """
import os, sys, numpy as np, anneal, anneal.numpy as anp
f = anneal.jit(lambda x: x + 1)
with anneal.default_device("webgpu"):
    x = f(np.ones(4, np.float32)); y = anp.ones(3) * 2
    assert y.tolist() == [2, 2, 2]
pid = os.fork()
if pid == 0:
    for use in (lambda: f(np.ones(4, np.float32)), lambda: x.tolist(), lambda: f(x),
                lambda: anneal.default_device("webgpu"), lambda: (y + 1).tolist()):
        try:
            os.environ["ANNEAL_DEVICE"] = "webgpu"
            use()
            print("no error"); os._exit(3)
        except anneal.device.DeviceError as e:
            assert "fork" in str(e) and "spawn" in str(e), e
    with anneal.default_device("interpreter"):
        assert f(np.ones(2, np.float32)).tolist() == [2, 2]
    del x, y
    sys.exit(5)
import time
for _ in range(300):
    got, status = os.waitpid(pid, os.WNOHANG)
    if got:
        break
    time.sleep(0.1)
else:
    os.kill(pid, 9); print("hangs"); sys.exit(1)
assert os.waitstatus_to_exitcode(status) == 5, status
assert x.tolist() == [2, 2, 2, 2]
with anneal.default_device("webgpu"):
    assert f(x).tolist() == [3, 3, 3, 3]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_is_told_not_to_use_webgpu() -> None:
    out = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120,
                         env={**os.environ, "ANNEAL_DEVICE": ""}, check=False)  # fmt: skip
    assert out.returncode == 0, out.stdout + out.stderr[-3000:]
    assert "Exception ignored" not in out.stderr, out.stderr[-3000:]
