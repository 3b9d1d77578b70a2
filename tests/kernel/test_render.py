"""Kernels on devices: random schedules, every operation and dtype, against the interpreter."""

from __future__ import annotations

import random

import numpy as np
import pytest

from anneal.interpret import numpy_dtype
from anneal.kernel.decompose import decompose
from anneal.kernel.interpret import interpret
from anneal.kernel.ir import Kernel, argument, axis, end, load, reduce, stage, store
from anneal.kernel.opts import apply, parse
from anneal.kernel.target import CPU, WEBGPU, Target
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import UOp
from tests.kernel.kernels import softmax
from tests.kernel.run import Run, on_cpu, on_webgpu
from tests.kernel.run import check as check_case
from tests.kernel.schedules import random_case, random_schedule
from tests.kernel.test_opts import TILED

DEVICES = [pytest.param(CPU, on_cpu, id="cpu"), pytest.param(WEBGPU, on_webgpu, id="webgpu")]
F = dtypes.float32


@pytest.mark.parametrize(("target", "run"), DEVICES)
@pytest.mark.parametrize("seed", range(6))
def test_random_schedules_run(target: Target, run: Run, seed: int) -> None:
    rng = random.Random(1000 + seed)
    for _ in range(12):
        name, case = random_case(rng)
        kernel, _ = random_schedule(rng, case.kernel, target)
        got = run(decompose(kernel, target), case.memory)
        check_case(name, kernel, got, case.expected)


def test_a_tiled_product_runs_on_threads() -> None:
    from tests.kernel.kernels import matmul

    case = matmul(np.random.default_rng(0), 61, 130, 50)
    kernel = apply(case.kernel, parse(TILED), CPU)
    np.testing.assert_array_equal(on_cpu(kernel, case.memory)[0], case.expected[0])


@pytest.mark.parametrize(("target", "run"), DEVICES)
def test_partial_results_of_threads_and_workgroups_are_combined_after_them(
    target: Target, run: Run
) -> None:
    kind = "THREAD" if target is CPU else "GRID"
    x, out = argument(2, F, 6000), argument(0, F, 1)  # a position between them is another's
    i = axis(6000, "i")
    body = store(out, i.const_like(0), reduce("add", load(x, i), i))
    opts = parse(f"SPLIT(i, 100) GROUP(i/100) {kind}(i/100)")
    kernel = apply(Kernel(body), opts, target)
    data = np.random.default_rng(0).integers(-4, 5, 6000).astype(np.float32)
    held = run(kernel, {0: np.zeros(1), 2: data})
    assert held[0][0] == data.sum()
    np.testing.assert_array_equal(held[2], data)


@pytest.mark.parametrize(("target", "run"), DEVICES)
def test_rows_shared_by_lanes(target: Target, run: Run) -> None:
    """A softmax whose lanes sum together, the exponentials in memory of all."""
    case = softmax(np.random.default_rng(0), 9, 100)
    lanes = "VECTOR" if target is CPU else "LOCAL"
    opts = (f"SPLIT(m, 16) GROUP(m%16) {lanes}(m%16) SPLIT(s, 16) GROUP(s%16) {lanes}(s%16) "
            f"SPLIT(j, 16) {lanes}(j%16)" + (" GRID(i)" if target is WEBGPU else " THREAD(i)"))
    got = run(decompose(apply(case.kernel, parse(opts), target), target), case.memory)
    np.testing.assert_allclose(got[0], case.expected[0], 2e-6)


# -- operations and dtypes -------------------------------------------------------------------------

_FLOATS = [-np.inf, -3.5, -1.0, -0.5, -0.0, 0.0, 0.25, 0.5, 1.5, 2.5, 3e9, 1e30, np.inf, np.nan]
# What integers just hold, and what they just do not.
_FLOATS += [v for n in (7, 8, 15, 16, 31, 32, 63, 64) for v in (
    2.0**n, -(2.0**n), 2.0**n - 0.5, -(2.0**n) - 0.5, 2.0**n * (1 - 2**-24), 2.0**n * (1 - 2**-11),
    -(2.0**n) * (1 + 2**-23))]  # fmt: skip
_INTS = [-(2**31), -100, -7, -2, -1, 0, 1, 2, 3, 7, 31, 32, 40, 2**31 - 1]
_FLOAT_OPS = (ops.ADD, ops.SUB, ops.MUL, ops.MAX, ops.MIN, ops.LT, ops.EQ, ops.NE)
_INT_OPS = (*_FLOAT_OPS, ops.FLOORDIV, ops.MOD, ops.AND, ops.OR, ops.XOR, ops.SHL, ops.SHR)
_UNARY = {"f": (ops.NEG, ops.ABS, ops.FLOOR, ops.ROUND, ops.SQRT), "i": (ops.NEG, ops.ABS, ops.NOT),
          "u": (ops.NEG, ops.NOT), "b": (ops.NOT,)}  # fmt: skip
_HERE = {"webgpu": {dtypes.float16, dtypes.float32, dtypes.int32, dtypes.uint32, dtypes.bool_}}
_ALL = (dtypes.float16, dtypes.float32, dtypes.float64, dtypes.int8, dtypes.int16, dtypes.int32,
        dtypes.int64, dtypes.uint8, dtypes.uint16, dtypes.uint32, dtypes.uint64,
        dtypes.bool_)  # fmt: skip
KINDS = [(d, name) for name in ("cpu", "webgpu") for d in _ALL if d in _HERE.get(name, _ALL)]


def pairs(dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of the values of interest."""
    if dtype.kind == "b":
        values = np.array([False, True])
    elif dtype.is_float:
        with np.errstate(over="ignore"):
            values = np.array(_FLOATS, numpy_dtype(dtype))
    else:
        values = np.array(_INTS, np.int64).astype(numpy_dtype(dtype))
    x, y = np.meshgrid(values, values)
    return x.ravel(), y.ravel()


@pytest.mark.parametrize(("dtype", "where"), KINDS, ids=lambda v: str(v))
@pytest.mark.parametrize("wide", [False, True], ids=["scalar", "vector"])
def test_operations_are_the_interpreters(dtype: DType, where: str, wide: bool) -> None:
    x, y = pairs(dtype)
    n = x.size - x.size % 4
    i = axis(n, "i")
    a, b = load(argument(0, dtype, n), i), load(argument(1, dtype, n), i)
    binary = {"f": _FLOAT_OPS, "b": (ops.ADD, ops.MUL, ops.MAX, ops.AND, ops.XOR, ops.EQ)}
    values = [a.alu(op, b) for op in binary.get(dtype.kind, _INT_OPS)]
    values += [a.alu(op) for op in _UNARY[dtype.kind]]
    others = _HERE["webgpu"] if where == "webgpu" else set(_ALL)
    if dtype is dtypes.float64:  # no Array has it; LLVM would call a library that is not there
        others = others - {dtypes.float16}
    values += [a.cast(d) for d in others - {dtype}]
    values.append(a.alu(ops.LT, b).where(a, b))
    target, run = (CPU, on_cpu) if where == "cpu" else (WEBGPU, on_webgpu)
    memory = {0: x[:n], 1: y[:n]}
    for value in sorted(values, key=lambda v: v.op.name):
        check(value, n, i, memory, wide, target, run)


def check(value: UOp, n: int, i: UOp, memory: dict, wide: bool, target: Target, run: Run) -> None:
    out = argument(2, value.dtype, n)
    kernel = Kernel(end(store(out, i, value), i))
    if wide:
        kernel = apply(kernel, parse("SPLIT(i, 4) VECTOR(i%4)"), target)
    held = {**memory, 2: np.zeros(n, numpy_dtype(value.dtype))}
    held = {p.arg: held[p.arg] for p in kernel.params}
    expected, got = interpret(kernel, held)[2], run(decompose(kernel, target), held)[2]
    np.testing.assert_array_equal(got, expected, err_msg=f"{value}")


def test_half_floats_round_to_nearest_even() -> None:
    """Every half, and what lies between halves, on the CPU."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):
        between = every.astype(np.float32) * np.float32(1 + 2**-11)
    n = between.size
    i = axis(n, "i")
    half, single = argument(0, dtypes.float16, n), argument(1, F, n)
    kernel = apply(Kernel(end(store(half, i, load(single, i).cast(dtypes.float16)), i)),
                   parse("SPLIT(i, 16) VECTOR(i%16)"), CPU)  # fmt: skip
    got = on_cpu(kernel, {0: np.zeros(n), 1: between})[0]
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(got, between.astype(np.float16))


@pytest.mark.parametrize(("target", "run"), DEVICES)
def test_what_lanes_count_to_is_compared(target: Target, run: Run) -> None:
    """Remainders and quotients of lanes, lanes in strides, two vectors of indices."""
    n = 32
    i = axis(n, "i")
    conditions = [i % 2 < 1, i // 3 < 2, i * 3 < 20, i < i % 5 + 3, i * -1 + 9 < 4,
                  i % 4 < i // 8]  # fmt: skip
    for condition in conditions:
        out = argument(0, dtypes.int32, n)
        kernel = Kernel(end(store(out, i, condition.where(i, i * -1).cast(dtypes.int32)), i))
        shaped = apply(kernel, parse("SPLIT(i, 4) VECTOR(i%4)"), target)
        memory = {0: np.zeros(n)}
        got = run(decompose(shaped, target), memory)[0]
        np.testing.assert_array_equal(got, interpret(kernel, memory)[0])


def test_vectors_of_two_widths_in_one_kernel() -> None:
    """A row of sums by 4 lanes, kept, then read by 8: each STORE has its own lanes."""
    x, y = argument(0, F, 32), argument(1, F, 16)
    i, k, j = axis(4, "i"), axis(8, "k"), axis(16, "j")
    kept = stage(reduce("add", load(x, k * 4 + i), k), i)
    kernel = Kernel(end(store(y, j, load(kept, j % 4) + 1.0), j))
    shaped = apply(kernel, parse("VECTOR(i) SPLIT(j, 8) VECTOR(j%8)"), CPU)
    data = np.arange(32, dtype=np.float32)
    memory = {0: data, 1: np.zeros(16)}
    want = np.tile(data.reshape(8, 4).sum(0), 4) + 1
    np.testing.assert_array_equal(on_cpu(shaped, memory)[1], want)
