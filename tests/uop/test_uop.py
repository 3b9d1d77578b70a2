"""The node: interning, shapes, walks, keys."""

from __future__ import annotations

import gc
import math
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal.uop import dtypes, ops
from anneal.uop.uop import (
    Graph,
    UOp,
    arange,
    const,
    live_nodes,
    param,
    round_float,
    structural_key,
    substitute,
    toposort,
    var,
)

f32, i32 = dtypes.float32, dtypes.int32


def test_the_same_node_is_the_same_object() -> None:
    x = param(f32, (3,))
    assert x + 1.0 is x + 1.0
    assert param(f32, (3,)) is not x


def test_constants_that_compare_equal_in_python_are_told_apart() -> None:
    zero, minus = const(0.0, f32), const(-0.0, f32)
    assert zero is not minus
    assert math.copysign(1, minus.arg) == -1
    assert const(1, i32) is not const(1.0, f32)
    assert const(True, dtypes.bool_) is not const(1, i32)
    assert const(math.nan, f32) is const(float("nan"), f32)


def test_dropped_nodes_are_forgotten() -> None:
    gc.collect()
    before = live_nodes()
    x = param(f32, (2,))
    for i in range(5000):
        x = x + float(i)
    assert live_nodes() > before + 5000
    del x
    gc.collect()
    assert live_nodes() <= before + 1


def test_a_chain_of_fifty_thousand_nodes() -> None:
    x = top = param(f32, (2,))
    for i in range(50_000):
        x = x * 1.5 if i % 2 else x + 1.0
    assert len(toposort([x])) == 50_003
    assert "more" in repr(x)
    (y,) = substitute([x], {top: param(f32, (2,))})
    assert y is not x
    assert len(structural_key([x], [top])) == 32


def test_a_key_is_the_same_in_every_process() -> None:
    code = (
        "from anneal.uop.uop import *\n"
        "from anneal.uop import dtypes\n"
        "[param(dtypes.int32, (1,)) for _ in range({n})]\n"
        "x = param(dtypes.float32, (3, 4))\n"
        "print(structural_key([(x * 2.0 + 1.0).sum((1,))], [x]))\n"
    )
    keys = {
        subprocess.run([sys.executable, "-c", code.format(n=n)], capture_output=True, text=True,
                       check=True, env={"PYTHONHASHSEED": str(n), "PYTHONPATH": ":".join(sys.path)},
                       ).stdout
        for n in (0, 1, 7)
    }  # fmt: skip
    assert len(keys) == 1
    assert len(keys.pop().strip()) == 32


def test_keys_tell_graphs_apart() -> None:
    x = param(f32, (3,))
    graphs = [x + 1.0, x + 2.0, x * 1.0, 1.0 - x, x.cast(i32), x.reshape((1, 3)), -x]
    assert len({structural_key([g], [x]) for g in graphs}) == len(graphs)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda x: x.reshape((5,)), r"cannot reshape \(3, 4\) to \(5,\)"),
        (lambda x: x.expand((3, 5)), r"cannot expand \(3, 4\) to \(3, 5\)"),
        (lambda x: x.permute((0, 0)), "no permutation"),
        (lambda x: x.pad([(0, -1), (0, 0)]), "cannot pad"),
        (lambda x: x.shrink([(0, 3), (2, 5)]), "out of range"),
        (lambda x: x.flip((2,)), "cannot flip"),
        (lambda x: x.sum((2,)), "cannot reduce"),
        (lambda x: x + param(f32, (4, 3)), "equal shapes"),
        (lambda x: x.gather(param(i32, (3,)), 0), "cannot gather"),
        (lambda x: x.shear(0, 0, 1, 0, 3), "cannot shear"),
    ],
)
def test_shapes_are_checked_when_built(build, said) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=said):
        build(param(f32, (3, 4)))


def test_symbolic_dims_are_sources() -> None:
    n = var("n", 1, 8)
    x = param(f32, (n, 4))
    y = x.reshape((n * 4,)).reshape((n, 2, 2))
    assert y.shape[0] is n
    (z,) = substitute([y], {n: const(3, dtypes.index)})
    assert z.shape == (3, 2, 2)
    assert x.pad([(1, 0), (0, 0)]).sum((1,)).ndim == 1
    assert arange(n, i32).shape == (n,)


FLOATS = {
    dtypes.float16: np.float16,
    dtypes.bfloat16: ml_dtypes.bfloat16,
    dtypes.float32: np.float32,
}


@given(st.floats(allow_nan=True), st.sampled_from(list(FLOATS)))
def test_constants_round_to_nearest_even(value: float, dtype: dtypes.DType) -> None:
    got = round_float(value, dtype)
    kind = np.dtype(FLOATS[dtype])
    with np.errstate(all="ignore"):
        if dtype is dtypes.bfloat16:  # ml_dtypes rounds doubles by way of float32: compare there
            value = float(np.float32(value))
            got = round_float(value, dtype)
        want = float(np.float64(value).astype(kind))
    assert got == want or (math.isnan(got) and math.isnan(want))


def test_a_node_stays_in_its_process() -> None:
    import pickle

    with pytest.raises(TypeError, match="belongs to its process"):
        pickle.dumps(const(1, i32))


def test_a_movement_that_moves_nothing_is_no_node() -> None:
    x = param(f32, (3, 4))
    assert x.reshape((3, 4)) is x
    assert x.permute((0, 1)) is x
    assert x.shrink([(0, 3), (0, 4)]) is x
    assert x.pad([(0, 0), (0, 0)]) is x
    assert x.sum(()) is x
    assert isinstance(x.flip(()), UOp)
    assert x.reshape((12,)).op is ops.RESHAPE


def test_inputs_that_nothing_reads_are_part_of_the_key() -> None:
    x, y = param(f32, (3,)), param(f32, (3,))
    keys = {Graph((x,), (x + 1.0,)).key(), Graph((x, y), (x + 1.0,)).key(),
            Graph((y, x), (x + 1.0,)).key(), Graph((x, param(i32, ())), (x + 1.0,)).key()}
    assert len(keys) == 4
