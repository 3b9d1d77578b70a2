"""The verifier: every op has its entry, and what is wrong is named."""

from __future__ import annotations

import pytest

from anneal.kernel.spec import SPEC as NESTS
from anneal.uop import dtypes, ops
from anneal.uop.spec import SPECS, SpecError, verify
from anneal.uop.uop import UOp, const, param

f32 = dtypes.float32


def test_every_op_has_an_entry() -> None:
    known = {*SPECS["tensor"], *SPECS["kernel"], *NESTS}
    assert known == set(ops.BY_NAME.values())


def test_a_graph_of_the_usual_kind_passes() -> None:
    x = param(f32, (3, 4))
    verify([(x * 2.0 + 1.0).sum((1,)).reshape((1, 3)).expand((5, 3))], "tensor")


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (UOp(ops.ADD, f32, (const(1, f32), const(1, dtypes.int32))), "sources of the result's"),
        (UOp(ops.EXP, dtypes.int32, (const(1, dtypes.int32),)), "kind f"),
        (UOp(ops.ADD, f32, (const(1, f32),)), "2 sources"),
        (UOp(ops.LT, f32, (const(1, f32), const(1, f32))), "a bool result"),
        (UOp(ops.WHERE, f32, (const(1, f32), const(1, f32), const(2, f32))), "a bool condition"),
        (UOp(ops.BITCAST, dtypes.int8, (const(1, f32),)), "equal width"),
        (UOp(ops.REDUCE, f32, (param(f32, (3,)),), ("median", (0,))), "add, mul, max or min"),
    ],
)
def test_what_is_wrong_is_named(node: UOp, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        verify([node], "tensor")


def test_a_tensor_op_in_a_kernel() -> None:
    with pytest.raises(SpecError, match="PARAM may not appear at the kernel stage"):
        verify([param(f32, ())], "kernel")
