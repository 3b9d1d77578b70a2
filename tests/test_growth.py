"""Long runs cost what short ones do: programs, memory and caches do not grow with the steps."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import nn, tree


@pytest.fixture(params=["interpreter", "webgpu", "cpu"], autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with anneal.default_device(request.param):
        yield request.param


def _compiles_nothing_after(steps: int, step: Callable[[int], None], more: int = 12) -> None:
    for i in range(steps):
        step(i)
    before = anneal.stats()
    for i in range(steps, steps + more):
        step(i)
    after = anneal.stats()
    for counter in ("graphs_compiled", "kernels_compiled", "kernels_rendered", "pipelines"):
        assert after[counter] == before[counter], counter


# -- eager loops -----------------------------------------------------------------------------------


class Loop:
    """A loop's state, and the same in NumPy."""

    def __init__(self) -> None:
        self.w: Any = anp.asarray(np.array([1.0, -2.0, 3.0], np.float32))
        self.model: Any = np.array([1.0, -2.0, 3.0])


def _value_and_grad(s: Loop, i: int) -> None:
    v, g = anneal.value_and_grad(lambda w: ((w - 1) ** 2).sum())(s.w)
    s.w = s.w - 0.01 * g
    assert math.isclose(float(v), ((s.model - 1) ** 2).sum(), rel_tol=1e-4)
    s.model = s.model - 0.01 * 2 * (s.model - 1)


def _nothing_read(s: Loop, i: int) -> None:
    s.w = s.w - 0.01 * anneal.grad(lambda w: (w**2).sum())(s.w)
    s.model = s.model - 0.01 * 2 * s.model


def _captured(s: Loop, i: int) -> None:
    g = anneal.grad(lambda x: (s.w * x**2).sum())(anp.ones(3))
    s.w = s.w - 0.01 * g
    s.model = s.model - 0.01 * 2 * s.model


def _a_function_of_the_state(s: Loop, i: int) -> None:
    s.w = s.w * 0.9 + 0.3
    float((s.w * s.w).sum())
    s.model = s.model * 0.9 + 0.3


def _changing_scalars(s: Loop, i: int) -> None:
    rate = 0.3 / (i + 3)
    s.w = s.w - rate * s.w + 1.7 * i - (3 + i % 7)
    float(s.w.sum())
    s.model = s.model - rate * s.model + 1.7 * i - (3 + i % 7)


def _vjp(s: Loop, i: int) -> None:
    _, back = anneal.vjp(lambda w: anp.sin(w).sum(), s.w)
    s.w = s.w - 0.1 * back(1.0)[0]
    s.model = s.model - 0.1 * np.cos(s.model)


def _checkpoint(s: Loop, i: int) -> None:
    layer = anneal.checkpoint(lambda w: anp.tanh(w) * w)
    s.w = s.w - 0.1 * anneal.grad(lambda w: layer(w).sum())(s.w)
    t = np.tanh(s.model)
    s.model = s.model - 0.1 * (t + s.model * (1 - t * t))


def _jitted(s: Loop, i: int) -> None:
    s.w = s.w - 0.01 * JITTED(s.w)
    s.model = s.model - 0.01 * 2 * s.model


JITTED = anneal.jit(anneal.grad(lambda w: (w**2).sum()))
LOOPS = [_value_and_grad, _nothing_read, _captured, _a_function_of_the_state, _changing_scalars,
         _vjp, _checkpoint, _jitted]  # fmt: skip


@pytest.mark.parametrize("step", LOOPS)
def test_an_eager_loop_compiles_nothing_after_its_third_step(step: Any) -> None:
    s = Loop()
    # The rates of the first steps may be among the few that are constants of a program.
    _compiles_nothing_after(4 if step is _changing_scalars else 3, lambda i: step(s, i))
    np.testing.assert_allclose(np.asarray(s.w), s.model, rtol=2e-4)


DATA = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
PARTS: dict[str, Callable[[Any, int], Any]] = {
    "row": lambda x, i: x[i], "element": lambda x, i: x[i, i % 6],
    "column": lambda x, i: x[:, i % 5],
    "from the end": lambda x, i: x[-1 - i], "batch": lambda x, i: x[2 * i : 2 * i + 2],
    "block": lambda x, i: x[i : i + 3, i % 4 : i % 4 + 2], "transposed": lambda x, i: x.T[1:, i],
    "of a shape": lambda x, i: x.reshape(60, 4)[i : i + 7].sum(0),
    "of a part": lambda x, i: x[3 + i : 20 + i][i % 3 : i % 3 + 5],
    "product": lambda x, i: x[i : i + 4] @ x.T,
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "bool"])
def test_a_loop_over_parts_of_data_is_one_program(part: str, dtype: str) -> None:
    if part in ("of a shape", "product") and dtype != "float32":
        pytest.skip("it is about the part")
    data = DATA.astype(dtype)
    x = anp.asarray(data)

    def step(i: int) -> None:
        np.testing.assert_allclose(np.asarray(PARTS[part](x, i)), PARTS[part](data, i), rtol=1e-4)

    _compiles_nothing_after(1, step, 17)


def test_an_epoch_of_batches_is_one_program() -> None:
    x = anp.asarray(DATA)
    s = Loop()
    s.w = anp.asarray(np.ones(6, np.float32))

    def step(i: int) -> None:
        value, g = anneal.value_and_grad(lambda w, b: ((b @ w) ** 2).mean())(
            s.w, x[4 * (i % 10) : 4 * (i % 10) + 4])  # fmt: skip
        s.w = s.w - 0.01 * g
        assert math.isfinite(float(value))

    _compiles_nothing_after(3, step)


CONSTANTS: dict[str, Callable[[Any, float], Any]] = {
    "full": lambda m, v: m.full((3, 2), v, "float32"),
    "of ones": lambda m, v: m.ones(4, "float32") * v,
    "of zeros": lambda m, v: m.zeros(4, "float32") + v,
    "of a range": lambda m, v: m.arange(5).astype("float32") * v - v,
    "integers": lambda m, v: m.full((3,), int(v), "int32") + 3 * int(v),
    "greatest": lambda m, v: m.maximum(m.ones(3, "float32"), v),
    "sum": lambda m, v: (m.ones((3, 4), "float32") * v).sum(0),
}


@pytest.mark.parametrize("make", CONSTANTS)
def test_a_loop_over_scalars_that_meet_no_data_is_one_program(make: str) -> None:
    def step(i: int) -> None:
        got, want = CONSTANTS[make](anp, i + 3.25), CONSTANTS[make](np, i + 3.25)
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6)
        twice = anneal.jit(lambda x: x * 2)(CONSTANTS[make](anp, i + 3.25))
        np.testing.assert_allclose(np.asarray(twice), want * 2, rtol=1e-6)

    _compiles_nothing_after(1, step)


def test_adam_by_hand() -> None:
    state = [{"w": anp.asarray(np.ones((4, 3), np.float32)), "b": anp.zeros(3)}]
    moments = [tree.map(lambda p: (p * 0, p * 0), state[0])]
    x = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)

    def loss(p: Any) -> Any:
        return (nn.relu(x @ p["w"] + p["b"]) ** 2).mean()

    def step(i: int) -> None:
        value, g = anneal.value_and_grad(loss)(state[0])
        t = i + 1
        new = {}
        for k, p in state[0].items():
            m, v = moments[0][k]
            m, v = 0.9 * m + 0.1 * g[k], 0.999 * v + 0.001 * g[k] ** 2
            moments[0][k] = m, v
            new[k] = p - 0.05 * (m / (1 - 0.9**t)) / (anp.sqrt(v / (1 - 0.999**t)) + 1e-8)
        state[0] = new
        assert math.isfinite(float(value))

    _compiles_nothing_after(4, step)


def test_a_scalar_that_was_read_is_a_scalar_like_others() -> None:
    x, seven = anp.asarray(np.ones(3, np.float32)), anp.asarray(7.25)
    assert seven.numpy() == 7.25 and anp.asarray(9.25).block_until_ready() is not None
    _compiles_nothing_after(1, lambda i: (x + (6.25 + i)).tolist(), 5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint32"])
def test_scalars_of_every_dtype_are_inputs(dtype: str) -> None:
    x = anp.asarray(np.array([1, 2, 3], dtype))

    def step(i: int) -> None:
        n = i + 3
        got = np.asarray(anp.maximum(x * n + (n + 2), n))
        np.testing.assert_array_equal(got, np.maximum(np.array([1, 2, 3]) * n + n + 2, n))

    _compiles_nothing_after(2, step, 20)


@pytest.mark.parametrize("value", [0, 1, -1, 2, 0.5, -0.5, 3.0, -2.0, 0.1, 1e30, 1e-30, math.inf,
                                   -math.inf, math.nan, -0.0, 2.5])  # fmt: skip
def test_scalars_mean_what_they_mean_in_a_trace(value: float) -> None:
    x = anp.asarray(np.array([0.5, -1.5, 2.0, 0.0], np.float32))

    def f(x: Any) -> Any:
        return [x + value, x - value, value - x, x * value, x / (value or 3.0),
                anp.maximum(x, value), anp.where(x > value, x, value), anp.where(x > 0, value, x),
                x == value, anp.abs(x) ** value]  # fmt: skip

    for eager, traced in zip(f(x), anneal.jit(f)(x), strict=True):
        np.testing.assert_allclose(np.asarray(eager), np.asarray(traced), rtol=1e-5)


def test_powers_have_their_derivatives() -> None:
    x = anp.asarray(np.array([-2.0, 3.0], np.float32))
    for n in (2, 3, -1, 1, 0):
        got = anneal.grad(lambda x, n=n: (x**n).sum())(x)
        np.testing.assert_allclose(np.asarray(got), n * np.asarray(x) ** float(n - 1), rtol=1e-5)


def test_large_values_that_are_only_on_the_way_are_not_stored() -> None:
    x = anp.asarray(np.arange(3000, dtype=np.float32))
    apart = x[:, None] - x[None, :]
    before = anneal.stats()["peak_bytes"]
    assert float(apart.max()) == 2999
    assert anneal.stats()["peak_bytes"] - before < 3000 * 3000


def test_a_captured_value_is_computed_once() -> None:
    w = anp.sin(anp.asarray(np.arange(5, dtype=np.float32))) * 3
    f = anneal.jit(lambda x: x + w)
    assert "SIN" not in f.lower(anp.ones(5)).as_text("graph")
    np.testing.assert_allclose(np.asarray(f(anp.ones(5))), 1 + 3 * np.sin(np.arange(5)), rtol=1e-5)


# -- memory ----------------------------------------------------------------------------------------


def _in_a_process(code: str) -> str:
    env = {**os.environ, "ANNEAL_DEVICE": "webgpu"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True,
                         timeout=300, check=False)  # fmt: skip
    assert out.returncode == 0, out.stderr[-2000:]
    return out.stdout


MANY_SHAPES = """
import numpy as np, anneal, anneal.numpy as anp
from anneal.wgsl import pool
pool.KEPT_BYTES = 32 << 20
f = anneal.jit(lambda x: (x * 2, (x + 1).sum()))
import warnings; warnings.simplefilter("ignore")
for n in range(60):
    x = np.full((1 << 20) + 4 * n, n, np.float32)
    y, total = f(x)
    assert float(y[0]) == 2 * n and float(y[-1]) == 2 * n
    del y, total
s = anneal.stats()
print(s["live_bytes"], s["pooled_bytes"])
"""


def test_many_shapes_keep_few_bytes(device: str) -> None:
    if device == "interpreter":
        return
    live, pooled = map(int, _in_a_process(MANY_SHAPES).split())
    assert live < 1 << 20 and pooled <= 32 << 20


OUT_OF_MEMORY = """
import resource, numpy as np, anneal, anneal.numpy as anp
from anneal.device import DeviceError
f = anneal.jit(lambda x: x + 1)
small = f(np.ones(4, np.float32))
big = [f(np.zeros((4 << 20) + i, np.float32)) for i in range(2)]
del big  # free, and pooled
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (400 << 20),) * 2)
keep, told = [], 0
data = f(np.ones(8 << 20, np.float32))
try:
    for i in range(200):
        keep.append(f(data))
except DeviceError as e:
    assert "memory" in str(e), e
    told = len(keep)
assert 2 <= told < 100, told
assert small.tolist() == [2, 2, 2, 2] and f(small).tolist() == [3, 3, 3, 3]
assert float(keep[-1][5]) == 3
del keep
for _ in range(5):
    again = f(data)
assert float(again[7]) == 3
print("goes on")
"""


def test_out_of_memory_is_an_error_and_the_device_goes_on(device: str) -> None:
    if device == "interpreter" or not sys.platform.startswith("linux"):
        return
    assert "goes on" in _in_a_process(OUT_OF_MEMORY)


NEW_BUFFERS = """
import gc, numpy as np, anneal
from anneal import device
f = anneal.jit(lambda x, y: (x * 2 + y, (x - y).sum()))
pool = device.current().pool
for i in range(300):
    x, y = np.full(5, i, np.float32), np.arange(5, dtype=np.float32)
    a, b = f(x, y)
    assert a.tolist() == (2 * x + y).tolist() and float(b) == (x - y).sum(), i
    del a, b
    gc.collect(0)
    pool.empty()
"""


def test_what_is_bound_is_what_is_there(device: str) -> None:
    """Buffers that went back to the driver, whose ids new ones get."""
    if device == "webgpu":
        _in_a_process(NEW_BUFFERS)


def test_caches_are_bounded() -> None:
    from anneal import device as devices
    from anneal import realization
    from anneal.lowering import code

    for memo in (devices._compiled, realization._scalars, code._written):
        assert 0 < memo._most <= 4096


def test_scalars_that_a_jitted_function_is_given_do_not_pile_up() -> None:
    f = anneal.jit(lambda x, r: x * r)
    x = anp.asarray([1.0, 2.0])
    for i in range(600):
        f(x, 0.001 * i)
    gc.collect()
    before = anneal.stats()
    for i in range(600, 1500):
        f(x, 0.001 * i)
    gc.collect()
    after = anneal.stats()
    assert after["live_bytes"] - before["live_bytes"] < 2000 and after["uops"] - before["uops"] < 50
