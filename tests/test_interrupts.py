"""Ctrl-C at random moments of a training loop: a step is not done, or returned, and what is then
computed is right."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from anneal.interrupts import Apart, raise_soon

LOOP = """
import ctypes, os, random, signal, sys, threading, time
import numpy as np
import anneal, anneal.numpy as anp

how, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
N = [3, 64, 64, 1000, 7]  # two of one size: their buffers may be exchanged

def update(state, x):
    new = {k: v * 0.5 + x for k, v in state.items()}
    return new, sum(v.sum() for v in state.values())

step = anneal.jit(update, donate_argnums=0)
eager = anneal.value_and_grad(lambda s: sum((v * v).sum() for v in s.values()))
place = anneal.jit(lambda s: {k: v * 1 for k, v in s.items()})

def fresh():
    return {str(i): np.full(n, i + 1, np.float32) for i, n in enumerate(N)}

def advanced(model, x):
    return ({k: (v * np.float32(0.5) + np.float32(x)).astype(np.float32) for k, v in model.items()},
            sum(float(v.sum()) for v in model.values()))

armed = [False]
def interrupt(*_):
    if armed[0]:
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
signal.signal(signal.SIGINT, interrupt)

def arm():
    if how == "timer":
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 3e-3))
    else:
        wait, me = rng.uniform(1e-5, 3e-3), threading.get_ident()
        def later():
            time.sleep(wait)
            if armed[0]:
                if how == "signal":
                    os.kill(os.getpid(), signal.SIGINT)
                else:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(me), ctypes.py_object(KeyboardInterrupt))
        threading.Thread(target=later, daemon=True).start()

def quiet(f):
    # What came late is over before the next interrupt.
    while True:
        try:
            armed[0] = False
            time.sleep(0.005)
            return f()
        except KeyboardInterrupt:
            continue

def check(state, model, where):
    for k in model:
        got = np.asarray(state[k])
        if not np.allclose(got, model[k], rtol=1e-5):
            print("WRONG", where, k, got[:4], model[k][:4]); sys.exit(4)

interrupts = lost = steps = 0
x = np.float32(0.5)
state, model = place(fresh()), fresh()
state, _ = step(state, 0.5); model, _ = advanced(model, 0.5)
eager(state)
until = time.monotonic() + seconds
while time.monotonic() < until:
    try:
        armed[0] = True
        arm()
        soon = time.monotonic() + 0.02  # an interrupt that met a finalizer is lost
        while time.monotonic() < soon:
            x = np.float32(steps % 5)
            state, total = step(state, x)
            model, want = advanced(model, x)
            steps += 1
            if steps % 3 == 0:
                got = float(total)
                if abs(got - want) > 1e-3 * abs(want) + 1e-3:
                    print("WRONG total", got, want); sys.exit(4)
            if steps % 7 == 0:
                v, g = eager(state)
                float(v)
        armed[0] = False
        time.sleep(0.005)  # what is on its way arrives here
    except KeyboardInterrupt:
        armed[0] = False
    interrupts += 1
    def look():
        gone = [v.is_deleted() for v in state.values()]
        if any(gone):
            if not all(gone):
                print("MIXED", gone); sys.exit(4)
            return True
        # The model may be a step behind: interrupted after `step` had returned.
        ahead, _ = advanced(model, x)
        now = np.asarray(state["0"])
        return ahead if not np.allclose(now, model["0"], rtol=1e-5) else model
    found = quiet(look)
    if found is True:
        lost += 1
        model = fresh()
        state = quiet(lambda: place(fresh()))
    else:
        model = found
    quiet(lambda: check(state, model, "after an interrupt"))
print(interrupts, lost, steps)
"""


@pytest.mark.parametrize("device", ["webgpu", "cpu"])
@pytest.mark.parametrize("how", ["timer", "signal", "asynchronous"])
def test_interrupts_leave_no_wrong_number(how: str, device: str) -> None:
    if sys.platform == "win32":
        pytest.skip("no timers that interrupt")
    env = {**os.environ, "ANNEAL_DEVICE": device}
    out = subprocess.run([sys.executable, "-c", LOOP, how, "6", "1"], env=env,
                         capture_output=True, text=True, timeout=200, check=False)  # fmt: skip
    assert out.returncode == 0, out.stdout + out.stderr[-3000:]
    interrupts, lost, steps = map(int, out.stdout.split())
    assert interrupts > 20 and steps > 20
    # Between the return of a step and the assignment of its results nobody can help.
    assert lost <= 2 + interrupts // 10, (interrupts, lost)


def test_what_runs_apart_ends_before_an_interrupt_is_raised() -> None:
    apart, ended = Apart(), []

    def slow() -> int:
        time.sleep(0.05)
        ended.append(True)
        return 7

    for n in range(1, 6):
        raise_soon(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            apart.run(slow)
        assert len(ended) == n
    assert apart.run(slow) == 7
    with pytest.raises(ZeroDivisionError):
        apart.run(lambda: 1 // 0)
