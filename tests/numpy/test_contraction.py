"""Products that sum: against NumPy's, and as graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anneal
import anneal.numpy as anp
from anneal.uop import ops
from anneal.uop.uop import toposort

rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def check(got: Any, want: Any) -> None:
    g = np.asarray(got)
    assert g.shape == np.shape(want)
    np.testing.assert_allclose(g, want, 1e-5, 1e-5)


MATMULS = [((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
           ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (6, 3, 4)), ((2, 3), (5, 3, 4)),
           ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((0, 3), (3, 2)), ((2, 0), (0, 3)),
           ((1, 1), (1, 1))]  # fmt: skip


@pytest.mark.parametrize("a, b", MATMULS)
def test_matmul(a: Any, b: Any) -> None:
    x, y = normal(*a), normal(*b)
    check(anp.matmul(x, y), x @ y)
    check(anp.asarray(x) @ y, x @ y)


def test_matmul_of_integers_and_bools() -> None:
    x = rng.integers(-5, 5, (3, 4)).astype(np.int32)
    check(anp.matmul(x, x.T), x @ x.T)
    p = x > 0
    assert np.asarray(anp.matmul(p, p.T)).tolist() == (p @ p.T).tolist()


@pytest.mark.parametrize("a, b, message", [
    ((2, 3), (2, 3), r"matmul: the last axis of x \(2, 3\) and the second to last axis of y"),
    ((2, 3), (4,), r"matmul: the last axis of x \(2, 3\) and the only axis of y \(4,\)"),
    ((), (3,), r"matmul: expected arrays of at least one axis, got shapes \(\) and \(3,\)"),
    ((2, 3, 4), (5, 4, 3), r"matmul: x \(2, 3, 4\) and y \(5, 4, 3\) do not fit before their last"),
])  # fmt: skip
def test_matmul_refuses(a: Any, b: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        anp.matmul(anp.zeros(a), anp.zeros(b))


def test_a_matmul_is_one_sum_of_one_product() -> None:
    x, y = anp.asarray(normal(4, 5)), anp.asarray(normal(5, 6))
    nodes = toposort([(x @ y).uop])
    assert sum(u.op is ops.REDUCE for u in nodes) == 1
    assert sum(u.op is ops.MUL for u in nodes) == 1
    assert len(nodes) <= 9


def test_dot_outer_inner_vdot_vecdot() -> None:
    a, b, v, w = normal(2, 3), normal(3, 4), normal(3), normal(3)
    check(anp.dot(a, b), a.dot(b))
    check(anp.dot(v, w), v.dot(w))
    check(anp.dot(2.0, v), 2 * v)
    check(anp.dot(a, normal(5, 3, 2) * 0), np.zeros((2, 5, 2)))
    check(anp.outer(v, b), np.outer(v, b))
    check(anp.inner(a, a), np.inner(a, a))
    check(anp.vdot(a, a), np.vdot(a, a))
    check(anp.vecdot(a, v), (a * v).sum(-1))


@pytest.mark.parametrize("axes", [0, 1, 2, ([1, 0], [0, 1]), ([-1], [1]), (0, 2)])
def test_tensordot(axes: Any) -> None:
    a = normal(3, 4)
    b = normal(*{2: (3, 4, 2)}.get(axes if isinstance(axes, int) else -1, (4, 3, 3)))
    if axes == ([-1], [1]):
        b = normal(2, 4, 3)
    check(anp.tensordot(a, b, axes), np.tensordot(a, b, axes))


def test_tensordot_refuses() -> None:
    with pytest.raises(ValueError, match=r"tensordot: axes \[1\] of \(2, 3\) and \[0\]"):
        anp.tensordot(anp.zeros((2, 3)), anp.zeros((2, 3)), 1)
    with pytest.raises(ValueError, match="tensordot: axes 3 is more than"):
        anp.tensordot(anp.zeros((2, 3)), anp.zeros((2, 3)), 3)


SIZES = dict(zip("ijklm", (2, 3, 4, 5, 1), strict=True))
EINSUMS = ["ij,jk->ik", "ij,jk", "ij->ji", "ij->", "ii->i", "ii", "ij,ij->i", "i,j->ij", "ijk->ki",
           "ij,jk,kl->il", "bij,bjk->bik".replace("b", "l"), "...i,i->...", "...ij,...jk->...ik",
           "iij->j", "ij,kl->", "i...->...i", "ij,j,i->", "ijkl,klj->i", "mi,mj->ij"]  # fmt: skip


@pytest.mark.parametrize("subscripts", EINSUMS)
def test_einsum(subscripts: str) -> None:
    inputs = subscripts.split("->")[0].split(",")
    arrays = [normal(*[d for part in labels.replace("...", ".") for d in (
        (2, 3) if part == "." else (SIZES[part],))]) for labels in inputs]  # fmt: skip
    check(anp.einsum(subscripts, *arrays), np.einsum(subscripts, *arrays))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_einsum(data: Any) -> None:
    labels = st.lists(st.sampled_from("ijk"), max_size=3).map("".join)
    inputs = data.draw(st.lists(labels, min_size=1, max_size=3))
    used = sorted(set("".join(inputs)))
    output = "".join(data.draw(st.permutations(used)))[: data.draw(st.integers(0, 3))]
    arrays = [normal(*[SIZES[c] for c in i]) for i in inputs]
    text = ",".join(inputs) + "->" + output
    with anneal.default_device("interpreter"):
        check(anp.einsum(text, *arrays), np.einsum(text, *arrays))


@pytest.mark.parametrize("subscripts, message", [
    ("ij,jk->ik", "describes 2 operands, got 1"), ("ijk->i", "has labels 'ijk' but shape"),
    ("ij->ii", "repeats a label"), ("i1->i", "may hold letters"), ("ij->k", "label 'k'"),
])  # fmt: skip
def test_einsum_refuses(subscripts: str, message: str) -> None:
    with pytest.raises(ValueError, match="einsum: .*" + message):
        anp.einsum(subscripts, anp.zeros((2, 3)))
    with pytest.raises(ValueError, match="label 'j' of 'ij,jk' is 3 in one operand and 2"):
        anp.einsum("ij,jk", anp.zeros((2, 3)), anp.zeros((2, 3)))


def test_gradient_of_einsum() -> None:
    a, b = normal(2, 3), normal(3, 4)
    g = anneal.grad(lambda a: anp.einsum("ij,jk->ik", a, b).sum())(anp.asarray(a))
    check(g, np.ones((2, 4)) @ b.T)


def test_dtypes_without_a_common_one_name_the_function() -> None:
    with pytest.raises(TypeError, match="matmul: no common dtype for uint32 and int32"):
        anp.matmul(anp.zeros((2, 2), "uint32"), anp.zeros((2, 2), "int32"))
    with pytest.raises(TypeError, match="exp: expected an array"):
        anp.exp("a")
