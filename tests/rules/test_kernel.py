"""rules/kernel.upat: what is no function of rules/functions.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anneal.interpret import evaluate, numpy_dtype
from anneal.rules._kernel import RULES
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.rewrite import rewrite
from anneal.uop.symbolic import lo
from anneal.uop.uop import UOp, const, param, toposort, var

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 6, 1e-7, -65504], np.float32)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.float32, dtypes.float64], ids=str)
@pytest.mark.parametrize("number", [0.0, -0.0, 6.0, -1.0, math.inf, -math.inf])
@pytest.mark.parametrize("op", [ops.MAX, ops.MIN], ids=str)
def test_the_greater_of_a_number_takes_one_comparison(
    op: ops.Op, number: float, dtype: DType
) -> None:
    x, c = param(dtype, SPECIAL.shape), const(number, dtype)
    given = SPECIAL.astype(numpy_dtype(dtype))
    want = (np.maximum if op is ops.MAX else np.minimum)(given, given.dtype.type(number))
    for u in (x.alu(op, c), c.alu(op, x)):
        (new,) = rewrite([u], RULES)
        assert new.op is ops.WHERE and new.src[0].op is ops.LT
        np.testing.assert_array_equal(evaluate([new], {x: given})[0], want)


def test_the_greater_of_nan_is_left() -> None:
    u = param(dtypes.float32, (3,)).maximum(math.nan)
    assert rewrite([u], RULES) == [u]


def _divisions(u: UOp) -> list[UOp]:
    return [n for n in toposort([u]) if n.op in (ops.FLOORDIV, ops.MOD)]


@pytest.mark.parametrize("op", [ops.FLOORDIV, ops.MOD], ids=str)
@pytest.mark.parametrize("dtype", [dtypes.int8, dtypes.uint8, dtypes.int32, dtypes.uint32,
                                   dtypes.int64], ids=str)  # fmt: skip
def test_division_is_of_numbers_without_a_sign(dtype: DType, op: ops.Op) -> None:
    """Every pair of 8 bits; of wider ones those around zero and the ends."""
    kind = numpy_dtype(dtype)
    near = np.arange(-128, 128) if dtype.bits == 8 else np.arange(-9, 10)
    ends = [np.iinfo(kind).min, np.iinfo(kind).max, np.iinfo(kind).min + 1]
    values = np.unique(np.concatenate([near.astype(kind), np.array(ends, kind)]))
    a, b = [v.ravel() for v in np.meshgrid(values, values)]
    x, y = param(dtype, a.shape), param(dtype, b.shape)
    (new,) = rewrite([x.alu(op, y)], RULES)
    assert all(lo(d.src[0]) >= 0 and lo(d.src[1]) > 0 for d in _divisions(new))
    with np.errstate(all="ignore"):
        want = (np.floor_divide if op is ops.FLOORDIV else np.remainder)(a, b)
    np.testing.assert_array_equal(evaluate([new], {x: a, y: b})[0], np.where(b == 0, 0, want))
    for number in (1, 2, 3, 7, -1, -3) if dtype.kind == "i" else (1, 2, 3, 7):
        (new,) = rewrite([x.alu(op, const(number, dtype))], RULES)
        assert all(lo(d.src[0]) >= 0 and lo(d.src[1]) > 0 for d in _divisions(new))
        full = np.full_like(a, number)
        with np.errstate(all="ignore"):
            want = (np.floor_divide if op is ops.FLOORDIV else np.remainder)(a, full)
        np.testing.assert_array_equal(evaluate([new], {x: a})[0], want)


@pytest.mark.parametrize("op", [ops.FLOORDIV, ops.MOD], ids=str)
def test_division_of_indices(op: ops.Op) -> None:
    n = var("n", -40, 40)
    for size in (1, 2, 3, 7, 50):
        u = n.alu(op, const(size, dtypes.index))
        (new,) = rewrite([u], RULES)
        assert all(lo(d.src[0]) >= 0 and lo(d.src[1]) > 0 for d in _divisions(new))
        for value in range(-40, 41):
            got = evaluate([new], {n: np.asarray(value)})[0]
            assert got == (value // size if op is ops.FLOORDIV else value % size)


def test_division_that_needs_no_care_is_left() -> None:
    x = param(dtypes.uint32, (3,))
    for u in (x // 3, x % 8, var("n", 0, 9) // 4):
        assert rewrite([u], RULES) == [u]
