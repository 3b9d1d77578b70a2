"""Transcendental functions: how far from the exact value, and the same bits everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from anneal.kernel.decompose import decompose
from anneal.kernel.interpret import interpret
from anneal.kernel.ir import Kernel, argument, axis, end, load, store
from anneal.kernel.opts import apply, parse
from anneal.kernel.target import CPU, WEBGPU
from anneal.uop import dtypes, ops
from tests.kernel.run import on_cpu, on_webgpu

F = dtypes.float32
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NaNs are among the operands
REFERENCE = {ops.EXP: np.exp, ops.LOG: np.log, ops.LOG1P: np.log1p, ops.SIN: np.sin,
             ops.COS: np.cos, ops.TANH: np.tanh, ops.POW: np.power}  # fmt: skip
# Units in the last place.
MOST = {ops.EXP: 1.0, ops.LOG: 1.0, ops.LOG1P: 1.5, ops.SIN: 2.5, ops.COS: 2.5, ops.TANH: 1.5,
        ops.POW: 1.5}  # fmt: skip
SPECIAL = np.array([0, -0.0, 1, -1, 0.5, 2, -2, 3, -3, np.inf, -np.inf, np.nan, 1e-45, -1e-45,
                    1.17549435e-38, 3.4e38, -3.4e38, 88.7, 88.73, -103, -104, 0.7853982, 1e8, 1e22,
                    1e-7, 16777216, 33554432], np.float32)  # fmt: skip


def operands(op: ops.Op, count: int) -> list[np.ndarray]:
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


def kernel_of(op: ops.Op, n: int) -> Kernel:
    i = axis(n, "i")
    x, *rest = [load(argument(1 + k, F, n), i) for k in range(op.arity)]
    return decompose(Kernel(end(store(argument(0, F, n), i, x.alu(op, *rest)), i)), CPU)


@pytest.mark.parametrize("op", REFERENCE, ids=str)
def test_functions_are_within_few_ulp(op: ops.Op) -> None:
    given = operands(op, 1 << 19)
    n = given[0].size
    kernel = apply(kernel_of(op, n), parse("SPLIT(i, 16) VECTOR(i%16)"), CPU)
    got = on_cpu(kernel, {0: np.zeros(n), **dict(enumerate(given, 1))})[0]
    exact = REFERENCE[op](*[a.astype(np.float64) for a in given])
    rounded = exact.astype(np.float32)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    ulp = np.spacing(np.abs(rounded[finite])).astype(np.float64)
    error = np.abs(got[finite].astype(np.float64) - exact[finite]) / ulp
    worst = int(np.argmax(error))
    assert error[worst] <= MOST[op], [a[finite][worst] for a in given]
    zero = finite & (rounded == 0) & (exact == 0)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(exact[zero]))


@pytest.mark.parametrize("op", REFERENCE, ids=str)
def test_functions_have_the_same_bits_on_every_device(op: ops.Op) -> None:
    given = operands(op, 1 << 15)
    n = given[0].size
    memory = {0: np.zeros(n, np.float32), **dict(enumerate(given, 1))}
    kernel = kernel_of(op, n)
    expected = interpret(kernel, memory)[0]
    cpu = apply(kernel, parse("SPLIT(i, 16) VECTOR(i%16)"), CPU)
    gpu = apply(kernel, parse("SPLIT(i, 64) LOCAL(i%64) GRID(i/64)"), WEBGPU)
    wide = apply(kernel, parse("SPLIT(i, 256) SPLIT(i%256, 4) VECTOR(i%256%4) LOCAL(i%256/4) "
                               "GRID(i/256)"), WEBGPU)  # fmt: skip
    for got in (on_cpu(cpu, memory), on_webgpu(gpu, memory), on_webgpu(wide, memory)):
        same = (got[0].view(np.uint32) == expected.view(np.uint32)) | (
            np.isnan(got[0]) & np.isnan(expected))  # fmt: skip
        assert same.all(), [a[~same][:3] for a in given]
