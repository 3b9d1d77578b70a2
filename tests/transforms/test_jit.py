"""jit: when it traces, what it returns, static and donated arguments, nesting, and its refusals."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import anneal
from anneal.array import Array, asarray, broadcast, make, promote
from anneal.errors import DeletedArrayError, UnexpectedTracerError


def add(x: Any, y: Any) -> Array:
    (a, b), _, weak = promote(x, y)
    a, b = broadcast(a, b)
    return make(a.uop + b.uop, weak)


def mul(x: Any, y: Any) -> Array:
    (a, b), _, weak = promote(x, y)
    a, b = broadcast(a, b)
    return make(a.uop * b.uop, weak)


class Counted:
    """A function that counts how often Python runs it."""

    def __init__(self, fn: Any) -> None:
        self.fn, self.runs = fn, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.runs += 1
        return self.fn(*args, **kwargs)


# -- signatures ------------------------------------------------------------------------------------


def test_one_trace_for_each_signature() -> None:
    f = Counted(lambda p, x: add(mul(p["w"], x), p["b"]))
    j = anneal.jit(f)
    p = {"w": asarray([1.0, 2.0]), "b": asarray(1.0)}
    assert j(p, 2.0).tolist() == [3, 5]
    assert j(p, 3.0).tolist() == [4, 7]  # another value of a scalar is no other signature
    assert j(p, np.float64(3.0)).tolist() == [4, 7]  # not weak: one more
    assert f.runs == 2
    j(p, asarray([1.0, 2.0]))
    j(p, 2)
    j({"w": asarray([[1.0]]), "b": asarray(1.0)}, 2.0)
    assert f.runs == 5
    for _ in range(3):
        j(p, 2.0)
    assert f.runs == 5


def test_a_function_made_again_is_the_same_graph() -> None:
    x = asarray([1.0, 2.0])
    keys = {anneal.jit(lambda x, k=k: mul(x, x)).lower(x).graph.key() for k in range(3)}
    assert len(keys) == 1


def test_retracing_warns_once_and_says_why() -> None:
    j = anneal.jit(lambda params: params["w"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(1, 9):
            j({"w": np.zeros(n, np.float32)})
    with pytest.warns(UserWarning) as caught:
        j({"w": np.zeros(20, np.float32)})
    assert "params['w'] was float32[8] and is float32[20]" in str(caught[0].message)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        j({"w": np.zeros(21, np.float32)})


# -- results ---------------------------------------------------------------------------------------


def test_outputs_of_every_kind() -> None:
    x = asarray([1.0, 2.0])

    def f(x: Array) -> dict[str, Any]:
        y = mul(x, x)
        return {"y": y, "again": y, "input": x, "none": None, "three": 3, "deeper": (add(y, 1.0),)}

    j = anneal.jit(f)
    for _ in range(2):
        out = j(x)
        assert out["none"] is None
        assert int(out["three"]) == 3 and out["three"].weak_type
        found = [out[k].tolist() for k in ("y", "again", "input")]
        assert found == [[1, 4], [1, 4], [1, 2]]
        assert out["deeper"][0].tolist() == [2, 5]


def test_nothing_in_nothing_out() -> None:
    assert anneal.jit(lambda: ())() == ()
    assert anneal.jit(lambda x: None)(1.0) is None
    assert float(anneal.jit(lambda: 3.0)()) == 3


def test_pending_arguments_are_computed() -> None:
    x = mul(asarray([1.0, 2.0]), 3.0)
    assert anneal.jit(lambda x, y: add(x, y))(x, x).tolist() == [6, 12]


def test_captured_arrays() -> None:
    w = asarray([1.0, 2.0])
    pending = add(w, 1.0)
    j = anneal.jit(lambda x: add(mul(x, w), pending))
    assert j(2.0).tolist() == [4, 7]
    assert j(3.0).tolist() == [5, 9]


def test_methods_and_decorators() -> None:
    class Model:
        scale = 2.0

        @anneal.jit
        def plain(x: Any) -> Array:  # noqa: N805
            return mul(x, 2.0)

    assert float(Model.plain(3.0)) == 6

    @anneal.jit(static_argnames="n")
    def power(x: Array, n: int) -> Array:
        """Docstring."""
        out = x
        for _ in range(n - 1):
            out = mul(out, x)
        return out

    assert power.__doc__ == "Docstring." and repr(power).endswith("power>")
    assert float(power(2.0, n=3)) == float(power(2.0, 3)) == 8


# -- static ----------------------------------------------------------------------------------------


def test_static_arguments() -> None:
    f = Counted(lambda x, double, name=None: mul(x, 2.0) if double else x)
    j = anneal.jit(f, static_argnums=1, static_argnames="name")
    assert float(j(3.0, True)) == 6
    assert float(j(3.0, False)) == 3
    assert float(j(4.0, True)) == 8
    assert f.runs == 2
    j(4.0, True, name="a")
    j(4.0, True, name="b")
    assert f.runs == 4
    j(4.0, 1)  # equal to True, but another type
    assert f.runs == 5


def test_static_refusals() -> None:
    def f(x: Any, shape: Any) -> Any:
        return x

    with pytest.raises(ValueError, match="argument shape of .*f must be hashable, got a list"):
        anneal.jit(f, static_argnums=1)(1.0, [2])
    with pytest.raises(ValueError, match="'size'.*\\['x', 'shape'\\]"):
        anneal.jit(f, static_argnames="size")
    with pytest.raises(ValueError, match=r"\[-2, 2\), got \[2\]"):
        anneal.jit(f, static_argnums=2)
    with pytest.raises(ValueError, match="static and donated"):
        anneal.jit(f, static_argnums=1, donate_argnums=1)
    assert float(anneal.jit(f, static_argnums=1)(1.0, (2,))) == 1


# -- donation --------------------------------------------------------------------------------------


def test_donated_arrays_are_deleted() -> None:
    j = anneal.jit(lambda p, x: {"w": add(p["w"], x)}, donate_argnums=0)
    p = {"w": asarray([1.0, 2.0])}
    x = asarray([1.0, 1.0])
    new = j(p, x)
    assert new["w"].tolist() == [2, 3]
    assert p["w"].is_deleted() and not x.is_deleted()
    with pytest.raises(DeletedArrayError, match=r"float32\[2\].*donate"):
        p["w"].tolist()
    with pytest.raises(RuntimeError):
        j(p, x)
    assert "deleted" in repr(p["w"])
    for _ in range(3):
        new = j(new, x)
    assert new["w"].tolist() == [5, 6]


def test_a_donated_array_returned_as_it_is_lives() -> None:
    j = anneal.jit(lambda a: (a, add(a, 1.0)), donate_argnames="a")
    a = asarray([1.0])
    same, more = j(a)
    assert (same.tolist(), more.tolist()) == ([1], [2])


def test_an_array_donated_and_read_is_copied() -> None:
    j = anneal.jit(lambda a, b: add(a, b), donate_argnums=0)
    a = anneal.jit(lambda x: mul(x, 2.0))(asarray([0.5]))
    assert j(a, a).tolist() == [2]
    with pytest.raises(anneal.errors.DeletedArrayError):
        j(a, asarray([2.0]))


# -- nesting ---------------------------------------------------------------------------------------


def test_jit_in_jit_is_inlined_and_traced_once() -> None:
    inner = Counted(lambda x: mul(x, x))
    ji = anneal.jit(inner)
    outer = anneal.jit(lambda x: add(ji(x), ji(add(x, 1.0))))
    assert float(outer(asarray(2.0))) == 13
    assert inner.runs == 1
    assert float(ji(asarray(5.0))) == 25


def test_an_inner_jit_may_capture_what_is_traced() -> None:
    def outer(x: Array) -> Array:
        inner = anneal.jit(lambda y: mul(x, y))
        return add(inner(3.0), inner(x))

    assert float(anneal.jit(outer)(2.0)) == 10
    assert float(anneal.grad(outer)(2.0)) == 7


# -- errors ----------------------------------------------------------------------------------------


def test_leaks_are_told() -> None:
    kept: list[Array] = []

    def leak(x: Array) -> Array:
        kept.append(mul(x, 2.0))
        return x

    anneal.jit(leak)(1.0)
    with pytest.raises(UnexpectedTracerError, match=r"argument x of .*leak.*test_jit\.py:\d+"):
        kept[0].tolist()
    with pytest.raises(UnexpectedTracerError):
        anneal.jit(lambda y: add(y, kept[0]))(1.0)
    with pytest.raises(UnexpectedTracerError):
        add(kept[0], 1.0).block_until_ready()


def test_an_error_leaves_nothing_behind() -> None:
    fail = True

    @anneal.jit
    def f(x: Array) -> Array:
        y = add(x, asarray([1.0, 2.0]))
        if fail:
            raise KeyError("the user's own")
        return y

    with pytest.raises(KeyError):
        f(asarray([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        f(asarray([1.0, 2.0, 3.0]))
    fail = False
    assert f(asarray([1.0, 2.0])).tolist() == [2, 4]


@pytest.mark.parametrize("bad", ["text", object(), 1j])
def test_arguments_that_are_no_arrays(bad: Any) -> None:
    j = anneal.jit(lambda params: 1)
    with pytest.raises(TypeError, match=r"params\['w'\].*static"):
        j({"w": bad})
    with pytest.raises(TypeError, match=r"returned .* at output\[0\]"):
        anneal.jit(lambda: (bad,))()


def test_lower_shows_the_graph_without_running() -> None:
    f = Counted(lambda x: mul(x, x))
    lowered = anneal.jit(f).lower(asarray([1.0, 2.0]))
    assert f.runs == 1
    assert lowered.as_text("graph") == repr(lowered.graph)
    with pytest.raises(ValueError, match='"kernels"'):
        lowered.as_text("assembly")


def test_an_argument_that_is_not_used_is_an_input_all_the_same() -> None:
    one = anneal.jit(lambda x: add(x, 1.0))
    two = anneal.jit(lambda x, y: add(x, 1.0))
    assert one(asarray([1.0, 2.0])).tolist() == [2, 3]
    for device in ("interpreter", "webgpu"):
        with anneal.default_device(device):
            assert one(asarray([1.0, 2.0])).tolist() == [2, 3]
            assert two(asarray([3.0, 4.0]), asarray([5.0, 6.0, 7.0])).tolist() == [4, 5]


def test_an_argument_returned_as_it_is_may_meet_itself() -> None:
    """Two nodes of one storage: read together, and one of them given away."""
    for name in ("interpreter", "webgpu"):
        with anneal.default_device(name):
            x = anneal.jit(lambda x: x + 1)(np.ones(3, np.float32))
            y = anneal.jit(lambda x: x)(x)
            assert (x * y - x).tolist() == [2, 2, 2]
            both = anneal.jit(lambda a, b: (a * 2 + b, b), donate_argnums=0)(y, x)
            assert [v.tolist() for v in both] == [[6, 6, 6], [2, 2, 2]]
