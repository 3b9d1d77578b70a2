"""Native threads: every chunk once, from several callers, over many calls."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from anneal.kernel.ir import Kernel, argument, axis, end, load, store
from anneal.kernel.opts import apply, parse
from anneal.kernel.target import CPU
from anneal.llvm.render import render
from anneal.llvm.runtime import CompileError, Launches, Runtime
from anneal.uop import dtypes

F = dtypes.float32


def increment(runtime: Runtime, data: np.ndarray, chunks: int, times: int = 1) -> Launches:
    """Launches that add 1 to every element, each in so many chunks."""
    i = axis(data.size, "i")
    x = argument(0, F, data.size)
    kernel = Kernel(end(store(x, i, load(x, i) + 1.0), i))
    part = -(-data.size // chunks)
    kernel = apply(kernel, parse(f"SPLIT(i, {part}) THREAD(i/{part})"), CPU)
    text = render(kernel)
    function = runtime.load(runtime.object_code(text.source))
    table = Launches([function] * times, [1] * times, [int(text.chunks.arg)] * times, text.scratch)
    for words in table.arguments:
        words[0] = data.ctypes.data
    return table


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_chunk_runs_once(threads: int) -> None:
    runtime = Runtime(threads)
    data = np.zeros(1000, np.float32)
    table = increment(runtime, data, chunks=100, times=20)
    for n in range(1, 201):
        runtime.run(table)
        assert (data == 20 * n).all()


def test_callers_on_several_threads_take_turns() -> None:
    runtime = Runtime(2)
    arrays = [np.zeros(640, np.float32) for _ in range(6)]
    tables = [increment(runtime, a, chunks=8, times=3) for a in arrays]

    def call(table: Launches) -> None:
        for _ in range(100):
            runtime.run(table)

    callers = [threading.Thread(target=call, args=(t,)) for t in tables]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert all((a == 300).all() for a in arrays)


def test_scratch_grows_while_workers_wait() -> None:
    """A kernel that needs more memory than the one before, again and again."""
    from tests.kernel.kernels import matmul

    runtime = Runtime(2)
    for n in (20, 60, 180):
        case = matmul(np.random.default_rng(0), n, n, n)
        opts = "SPLIT(i, 8) THREAD(i/8) STAGE(2, k, j) STAGE(1, k)"
        kernel = apply(case.kernel, parse(opts), CPU)
        text = render(kernel)
        table = Launches([runtime.load(runtime.object_code(text.source))], [4],
                         [int(text.chunks.arg)], text.scratch)  # fmt: skip
        held = [np.array(case.memory[p], np.float32).ravel() for p in range(4)]
        for p, data in enumerate(held):
            table.arguments[0][p] = data.ctypes.data
        runtime.run(table)
        np.testing.assert_array_equal(held[0], case.expected[0])


def test_what_llvm_refuses_is_shown() -> None:
    with pytest.raises(CompileError, match="1 define nonsense"):
        Runtime(1).object_code("define nonsense")


FORKING = """
import os
import numpy as np, anneal, anneal.numpy as anp
anneal.default_device("cpu")
f = anneal.jit(lambda x: (x @ x).sum(1))
x = np.ones((300, 300), np.float32)
f(x).numpy()
child = os.fork()
if child == 0:
    ok = f(x).tolist() == [90000.0] * 300 and (anp.ones(5) * 2).sum().item() == 10
    os._exit(0 if ok else 1)
assert f(x).tolist() == [90000.0] * 300
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_child_computes_too() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING], timeout=120)
    assert run.returncode == 0
