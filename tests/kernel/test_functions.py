"""Transcendental functions: how far from the exact value, and the same bits everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anneal.interpret import evaluate, numpy_dtype
from anneal.kernel.decompose import decompose
from anneal.kernel.interpret import interpret
from anneal.kernel.ir import Kernel, argument, axis, block, end, load, store
from anneal.kernel.opts import apply, parse
from anneal.kernel.target import CPU, WEBGPU
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import const, param
from tests.kernel.run import Data, on_cpu, on_webgpu

F = dtypes.float32
# Casts of NaN and overflow are among what is tried.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
FUNCTIONS = sorted(ops.TRANSCENDENTAL, key=str)
# Units in the last place: the worst of all floats, and for POW of some millions, rounded up.
MOST = {ops.EXP: 1.1, ops.EXPM1: 1.8, ops.LOG: 0.9, ops.LOG1P: 1.5, ops.SIN: 1.9, ops.COS: 1.9,
        ops.SINH: 2.4, ops.COSH: 1.6, ops.TANH: 2.7, ops.ERF: 3.3, ops.POW: 1.7}  # fmt: skip
SPECIAL = np.array([0, -0.0, 1, -1, 0.5, 2, -2, 3, -3, np.inf, -np.inf, np.nan, 1e-45, -1e-45,
                    1.17549435e-38, 5e-39, -5e-39, 3.4e38, -3.4e38, 88.7, 88.73, 89.4, 89.42, -103,
                    -104, 0.7853982, 3.92, -3.92, 9.02, 1e8, 1e22, 1e-7, 16777216, 33554432],
                   np.float32)  # fmt: skip
_GPU = ("SPLIT(i, 64) LOCAL(i%64) GRID(i/64)",
        "SPLIT(i, 256) SPLIT(i%256, 4) VECTOR(i%256%4) LOCAL(i%256/4) GRID(i/256)")  # fmt: skip


def operands(op: ops.Op, count: int) -> list[Data]:
    """Bit patterns of every kind, numbers of everyday sizes, and the special ones in pairs."""
    rng = np.random.default_rng(0)
    any_bits = rng.integers(0, 1 << 32, count // 2, dtype=np.uint64).astype(np.uint32)
    sizes = 10.0 ** rng.uniform(-6, 2, count // 2)
    x = np.concatenate([any_bits.view(np.float32), rng.standard_normal(count // 2) * sizes])
    y = rng.standard_normal(count) * 10.0 ** rng.uniform(-3, 2, count)
    y[::7] = np.round(y[::7])
    if op is ops.POW:
        x[::3] = np.abs(x[::3])
    u, v = np.meshgrid(SPECIAL, SPECIAL)
    found = [np.concatenate([x, u.ravel()]), np.concatenate([y, v.ravel()])]
    return [a.astype(np.float32) for a in found[: op.arity]]


def kernel_of(op: ops.Op, n: int, dtype: DType = F) -> Kernel:
    i = axis(n, "i")
    x, *rest = [load(argument(1 + k, dtype, n), i) for k in range(op.arity)]
    return decompose(Kernel(end(store(argument(0, dtype, n), i, x.alu(op, *rest)), i)), CPU)


def powers_of_two(n: int) -> Kernel:
    i = axis(n, "i")
    value = const(2, F).alu(ops.POW, load(argument(1, F, n), i))
    return decompose(Kernel(end(store(argument(0, F, n), i, value), i)), CPU)


def vectorised(kernel: Kernel) -> Kernel:
    return apply(kernel, parse("SPLIT(i, 16) VECTOR(i%16)"), CPU)


def exactly(op: ops.Op, given: list[Data]) -> Data:
    """In float64, by the tensors' interpreter."""
    xs = [param(dtypes.float64, a.shape) for a in given]
    wide = {x: a.astype(np.float64) for x, a in zip(xs, given, strict=True)}
    return evaluate([xs[0].alu(op, *xs[1:])], wide)[0]


def same_bits(a: Data, b: Data) -> Data:
    kind = np.dtype(f"u{a.dtype.itemsize}")
    return (a.view(kind) == b.view(kind)) | ((a != a) & (b != b))


@pytest.mark.parametrize("op", FUNCTIONS, ids=str)
def test_functions_are_within_few_ulp(op: ops.Op) -> None:
    given = operands(op, 1 << 21)
    n = given[0].size
    got = on_cpu(vectorised(kernel_of(op, n)), {0: np.zeros(n), **dict(enumerate(given, 1))})[0]
    exact = exactly(op, given)
    rounded = exact.astype(np.float32)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    ulp = np.spacing(np.abs(rounded[finite])).astype(np.float64)
    error = np.abs(got[finite].astype(np.float64) - exact[finite]) / ulp
    worst = int(np.argmax(error))
    assert error[worst] <= MOST[op], [a[finite][worst] for a in given]
    zero = finite & (rounded == 0) & (exact == 0)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(exact[zero]))


@pytest.mark.parametrize("op", FUNCTIONS, ids=str)
def test_functions_have_the_same_bits_on_every_device(op: ops.Op) -> None:
    given = operands(op, 1 << 21)
    n = given[0].size
    memory = {0: np.zeros(n, np.float32), **dict(enumerate(given, 1))}
    kernel = kernel_of(op, n)
    expected = interpret(kernel, memory)[0]
    gpu = [on_webgpu(apply(kernel, parse(text), WEBGPU), memory) for text in _GPU]
    for got in (on_cpu(vectorised(kernel), memory), *gpu):
        same = same_bits(got[0], expected)
        assert same.all(), [a[~same][:3] for a in given]


@pytest.mark.parametrize("op", FUNCTIONS, ids=str)
def test_functions_of_constants_have_the_same_bits(op: ops.Op) -> None:
    """Drivers compute with numbers that they know in an order of their own."""
    known = [0.1257, 2.5, -0.3, 7.75, -5.125, 0.7, 1.3, 33.3, -0.01, 20.5, 1e-3, 88.1]
    out = argument(0, F, 2 * len(known))
    values = [const(c, F).alu(op, *[const(e, F)] * (op.arity - 1)) for c in known for e in (2, 0.7)]
    if op is ops.POW:
        values[::2] = [const(2, F).alu(op, const(c, F)) for c in known]
    body = block(*[store(out, const(n, dtypes.index), v) for n, v in enumerate(values)])
    kernel = decompose(Kernel(body), CPU)
    memory = {0: np.zeros(len(values), np.float32)}
    want = interpret(kernel, memory)[0].view(np.uint32)
    for run in (on_cpu, on_webgpu):
        got = run(kernel, memory)[0]
        nan = np.isnan(got) & np.isnan(want.view(np.float32))
        np.testing.assert_array_equal(np.where(nan, 0, got.view(np.uint32)), np.where(nan, 0, want))


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=str)
@pytest.mark.parametrize("op", FUNCTIONS, ids=str)
def test_every_number_of_16_bits(op: ops.Op, dtype: DType) -> None:
    """Correctly rounded but for one unit where float32's error tips it, on all devices alike."""
    kind, n = numpy_dtype(dtype), 1 << 16
    every = np.arange(n, dtype=np.uint16)
    others = np.random.default_rng(0).integers(0, n, n, np.uint16)
    given = [a.view(kind) for a in (every, others)[: op.arity]]
    stored = kind if dtype is dtypes.float16 else np.dtype(np.uint16)
    memory = {0: np.zeros(n, stored), **{k: a.view(stored) for k, a in enumerate(given, 1)}}
    kernel = kernel_of(op, n, dtype)
    expected = interpret(kernel, memory)[0].view(kind)
    got = on_cpu(vectorised(kernel), memory)[0].view(kind)
    assert same_bits(got, expected).all()
    if dtype is dtypes.float16:
        for text in _GPU[:1]:
            gpu = on_webgpu(apply(kernel, parse(text), WEBGPU), memory)[0]
            assert same_bits(gpu, expected).all()
    exact = exactly(op, given).astype(kind)
    near = same_bits(got, exact)
    for toward in (-math.inf, math.inf):
        near |= same_bits(got, np.nextafter(exact, kind.type(toward)))
    assert near.all(), [a[~near][:3] for a in given]
    assert np.mean(same_bits(got, exact)) > 0.999


def test_powers_of_two() -> None:
    """By a rule of their own: whole ones exact, and the same bits on every device."""
    whole = np.arange(-151, 130).astype(np.float32)
    x = np.concatenate([operands(ops.EXP, 1 << 20)[0], whole])
    n = x.size
    kernel = powers_of_two(n)
    memory = {0: np.zeros(n, np.float32), 1: x}
    expected = interpret(kernel, memory)[0]
    exact = np.ldexp(1.0, whole.astype(int)).astype(np.float32)
    np.testing.assert_array_equal(expected[-whole.size :], exact)
    gpu = [on_webgpu(apply(kernel, parse(text), WEBGPU), memory) for text in _GPU]
    for got in (on_cpu(vectorised(kernel), memory), *gpu):
        assert same_bits(got[0], expected).all()


@pytest.mark.parametrize("op", [ops.SINH, ops.TANH, ops.ERF, ops.SIN, ops.COS, ops.COSH], ids=str)
def test_odd_and_even_functions_are_so_to_the_bit(op: ops.Op) -> None:
    x = np.abs(operands(op, 1 << 16)[0])
    n = x.size
    kernel = vectorised(kernel_of(op, n))
    up, down = [on_cpu(kernel, {0: np.zeros(n), 1: a})[0] for a in (x, -x)]
    assert same_bits(up, down if op in (ops.COS, ops.COSH) else -down).all()


@pytest.mark.parametrize("op", [ops.TANH, ops.ERF, ops.EXP, ops.EXPM1], ids=str)
def test_bounds_are_never_passed(op: ops.Op) -> None:
    x = np.sort(operands(op, 1 << 20)[0])
    n = x.size
    got = on_cpu(vectorised(kernel_of(op, n)), {0: np.zeros(n), 1: x})[0]
    least, most = {ops.EXP: (0, np.inf), ops.EXPM1: (-1, np.inf)}.get(op, (-1, 1))
    got = got[~np.isnan(got)]
    assert got.min() == least and got.max() == most


