"""x[...] and x.at[...] against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anneal
import anneal.numpy as anp
from anneal import errors
from anneal.uop import ops
from anneal.uop.uop import toposort

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
A = anp.asarray(X)
I2 = np.array([1, 0], np.int32)
S = slice(None)

KEYS = {
    "int": 1, "negative": -1, "ints": (1, 2, 3, 4), "slice": slice(1, None), "none": None,
    "ellipsis": (..., 2), "between": (0, ..., 1), "nones": (None, 0, None, ...),
    "steps": (S, slice(None, None, 2), slice(3, 0, -2), slice(None, None, -1)),
    "empty": (S, slice(2, 1)), "beyond": (S, slice(0, 99)), "empty tuple": (),
    "array": I2, "list": [1, 1, 0], "negative array": np.array([-1, 0]),
    "second": (S, I2), "matrix": (S, np.array([[0, 2], [1, 1]])), "last": (..., I2),
    "two": (I2, np.array([2, 1])), "broadcast": (I2[:, None], np.array([0, 2, 1])),
    "apart": (I2, S, np.array([3, 0])), "apart by none": (I2, None, I2),
    "int and array": (0, I2), "array and int": (I2, 1), "int apart": (0, S, I2),
    "array apart int": (I2, S, 2), "all": (I2, I2, I2, I2), "slices and array": (slice(1), S, I2),
    "three": (S, I2[:, None], I2, S), "mask": X[:, 0, 0, 0] > 10, "mask 2": X[:, :, 0, 0] % 3 == 0,
    "whole mask": X > 50, "mask second": (0, X[0, :, 0, 0] > 10), "uint8": I2.astype(np.uint8),
    "empty array": np.zeros(0, np.int32), "scalar array": np.int32(1),
    "arange": (np.arange(2), np.array([2, 0])), "arange inside": (S, np.arange(3), np.arange(3)),
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_getitem(name: str) -> None:
    got, want = np.asarray(A[KEYS[name]]), X[KEYS[name]]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("how", ["set", "add", "multiply", "min", "max"])
def test_at(name: str, how: str) -> None:
    key = KEYS[name]
    want = X.copy()
    values = np.arange(want[key].size, dtype=np.float32).reshape(want[key].shape) + 30
    if how == "set":
        want[key] = values
    else:
        f = {"add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum}[how]
        f.at(want, key, values)
    got = np.asarray(getattr(A.at[key], how)(values))
    np.testing.assert_allclose(got, want, 1e-6)
    np.testing.assert_array_equal(np.asarray(A), X)


INDEX = st.one_of(st.none(), st.just(...), st.integers(-2, 1),
                  st.builds(slice, *[st.none() | st.integers(-5, 5)] * 2,
                            st.sampled_from([None, 1, 2, -1, -3])))  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(INDEX, max_size=5).filter(lambda k: k.count(...) <= 1))
def test_any_basic_index(key: list[Any]) -> None:
    k = tuple(key)
    try:
        want = X[k]
    except IndexError:
        with pytest.raises(IndexError):
            _ = A[k]
        return
    with anneal.default_device("interpreter"):
        np.testing.assert_array_equal(np.asarray(A[k]), want)
        new = X.copy()
        new[k] = -1
        np.testing.assert_array_equal(np.asarray(A.at[k].set(-1)), new)


def test_values_broadcast_and_take_the_dtype() -> None:
    assert anp.zeros((2, 2), "int32").at[:, 0].set([1.9, 2.1]).tolist() == [[1, 0], [2, 0]]
    with pytest.raises(ValueError, match=r"at: values of shape \(3,\) do not broadcast to"):
        anp.zeros((2, 2)).at[0].set([1, 2, 3])


_UPDATES = {"add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum}


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint32", "bool"])
@pytest.mark.parametrize(("rows", "count"), [(1, 3), (3, 1), (7, 11), (97, 101), (3, 0)])
@pytest.mark.parametrize("how", _UPDATES)
def test_many_updates_of_one_element(how: str, rows: int, count: int, dtype: str) -> None:
    """Some outside, which are dropped, and some elements that nothing names."""
    rng = np.random.default_rng(rows)
    x, v = (rng.integers(0, 3, (2, n, 2)).astype(dtype) for n in (rows, count))
    i = rng.integers(-rows - 2, rows + 2, count).astype(np.int32)
    want, inside = x.copy(), (i >= -rows) & (i < rows)
    _UPDATES[how].at(want, (slice(None), i[inside]), v[:, inside])
    got = getattr(anp.asarray(x).at[:, anp.asarray(i)], how)(anp.asarray(v))
    assert str(got.dtype) == dtype
    np.testing.assert_array_equal(np.asarray(got), want)


@pytest.mark.parametrize("how", ["max", "min", "multiply"])
def test_updates_are_in_proportion_to_the_indices(how: str) -> None:
    f = anneal.jit(lambda x, i, v: getattr(x.at[i], how)(v))
    with anneal.default_device("webgpu"):
        args = (np.zeros(5000, "f"), np.zeros(4000, "i"), np.zeros(4000, "f"))
        assert f.lower(*args).cost_analysis()["flops"] < 10 * 9000


def test_gradients_of_updates_with_ties_and_zeros() -> None:
    i = anp.asarray(np.array([0, 2, 2, 2, 7, 0], np.int32))
    x = anp.asarray(np.array([1.0, 5.0, 2.0], "f"))
    v = anp.asarray(np.array([3.0, 4.0, 4.0, 0.0, 9.0, -1.0], "f"))
    slope = anneal.grad(lambda v: (x.at[i].max(v) * anp.array([1.0, 10.0, 100.0])).sum())
    assert slope(v).tolist() == [1, 50, 50, 0, 0, 0]
    product = anneal.grad(lambda v: (x.at[i].multiply(v) * anp.array([1.0, 10.0, 100.0])).sum())
    assert product(v).tolist() == [-1, 0, 0, 3200, 0, 3]
    curved = anneal.grad(lambda v: product(v)[1])  # through the zero among the factors
    assert curved(v).tolist() == [0, 0, 0, 800, 0, 0]
    slope = anneal.grad(lambda v: x.at[i].min(v).sum())
    assert slope(v).tolist() == [0, 0, 0, 1, 0, 1]


def test_other_updates() -> None:
    x = anp.asarray([2.0, 4.0, 8.0])
    assert x.at[1:].divide(2).tolist() == [2, 2, 4]
    assert x.at[0].power(3).tolist() == [8, 4, 8]
    assert x.at[0].subtract(3).tolist() == [-1, 4, 8]
    assert x.at[[0, 0]].subtract(1).tolist() == [0, 4, 8]
    assert x.at[[0, 0]].divide(2).tolist() == [0.5, 4, 8]
    assert x.at[1:].apply(lambda v: v * v).tolist() == [2, 16, 64]
    assert x.at[1:].get().tolist() == [4, 8]


def test_a_mask_inside_jit() -> None:
    f = anneal.jit(lambda x, m: x.at[m].set(0.0))
    assert f(anp.arange(4.0), anp.asarray([True, False, True, False])).tolist() == [0, 1, 0, 3]
    with pytest.raises(errors.NonConcreteBooleanIndexError, match="use anneal.numpy.where"):
        anneal.jit(lambda x: x[x > 1])(anp.arange(4.0))


def test_updates_outside_are_dropped_and_reads_outside_clamped() -> None:
    x = anp.arange(3)
    outside = anp.asarray([5, -7, 1])
    assert x.at[outside].set(9).tolist() == [0, 9, 2]
    assert x.at[outside].add(9).tolist() == [0, 10, 2]
    assert x[outside].tolist() == [2, 0, 1]


def test_the_last_of_several_wins() -> None:
    assert anp.zeros(3).at[[1, 1, 1]].set([1.0, 2.0, 3.0]).tolist() == [0, 3, 0]


def test_gradients() -> None:
    g = anneal.grad(lambda x, v: (x.at[[0, 2]].set(v) * anp.arange(4.0)).sum(), (0, 1))
    dx, dv = g(anp.ones(4), anp.ones(2))
    assert dx.tolist() == [0, 1, 0, 3] and dv.tolist() == [0, 2]
    dx, dv = anneal.grad(lambda x, v: (x.at[1:3].add(v) ** 2).sum(), (0, 1))(anp.ones(4), 2.0)
    assert dx.tolist() == [2, 6, 6, 2] and dv.item() == 12
    assert anneal.grad(lambda x: x[[1, 1, 2]].sum())(anp.ones(4)).tolist() == [0, 2, 1, 0]


def test_labels_pick_one_of_each_row() -> None:
    logits, labels = anp.asarray(X[0, 0]), anp.asarray([4, 0, 2, 1])
    picked = logits[anp.arange(4), labels]
    gathers = [u for u in toposort([picked.uop]) if u.op is ops.GATHER]
    assert [(u.arg, u.shape) for u in gathers] == [(1, (4, 1))]
    assert picked.tolist() == X[0, 0][np.arange(4), [4, 0, 2, 1]].tolist()


def test_traced_indices() -> None:
    f = anneal.jit(lambda x, i: (x[i], x[1:, i], x.at[i].add(1)))
    a, b, c = f(anp.arange(9).reshape(3, 3), 2)
    assert a.tolist() == [6, 7, 8] and b.tolist() == [5, 8] and c[2].tolist() == [7, 8, 9]


def test_take() -> None:
    i = np.array([[0, 2], [1, 1]])
    np.testing.assert_array_equal(np.asarray(anp.take(A, i, 1)), np.take(X, i, 1))
    np.testing.assert_array_equal(np.asarray(anp.take(A, [3, -1])), np.take(X, [3, -1]))
    x = anp.asarray([1.0, 2.0])
    assert str(anp.take(x, anp.asarray([0, 2, -3])).tolist()) == "[1.0, nan, nan]"
    assert anp.take(x, anp.asarray([0, 2, -3]), mode="clip").tolist() == [1, 2, 1]
    assert anp.take(x, anp.asarray([0, 2, -3]), mode="wrap").tolist() == [1, 1, 2]
    with pytest.raises(ValueError, match="take: mode must be"):
        anp.take(x, 0, mode="raise")
    with pytest.raises(TypeError, match="take: indices must be integers"):
        anp.take(x, [0.5])


def test_take_along_axis() -> None:
    i = np.argsort(-X, 2)
    np.testing.assert_array_equal(np.asarray(anp.take_along_axis(A, i, 2)),
                                  np.take_along_axis(X, i, 2))  # fmt: skip
    one = np.zeros((1, 1, 1, 1), np.int32)
    np.testing.assert_array_equal(np.asarray(anp.take_along_axis(A, one, -1)), X[..., :1])
    with pytest.raises(ValueError, match="take_along_axis: x .* equally many axes"):
        anp.take_along_axis(A, [0], 0)
    with pytest.raises(ValueError, match="beyond axis 0, cannot broadcast"):
        anp.take_along_axis(anp.zeros((2, 3)), np.zeros((1, 4), np.int32), 0)


@pytest.mark.parametrize("key, error, message", [
    (2, IndexError, "index 2 is out of range for axis of length 2"),
    ((0, 0, 0, 0, 0), IndexError, r"5 indices for an array of shape \(2, 3, 4, 5\)"),
    ((..., ...), IndexError, "only one ellipsis"),
    (1.5, TypeError, "index arrays must be integers, got float32"),
    ("a", TypeError, "an index must be of ints"),
    ((np.zeros(2, int), np.zeros(3, int)), IndexError, "do not broadcast"),
    (np.zeros((2, 2), bool), IndexError, "boolean index"),
])  # fmt: skip
def test_refusals(key: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _ = A[key]


def test_items_cannot_be_assigned() -> None:
    with pytest.raises(TypeError, match=r"x.at\[i\].set\(v\)"):
        A[0] = 1


INDEX_DTYPES = ["int8", "uint8", "uint16", "uint32", ">i2", ">u4", ">i8"]


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
@pytest.mark.parametrize("n", [1, 129, 70001])
def test_indices_of_every_integer_dtype(dtype: str, n: int) -> None:
    """An index is a number, whatever it is stored in: n, -n and n + 1 need not fit its dtype."""
    x = np.arange(n, dtype=np.float32) * 2 + 1
    info = np.iinfo(dtype)
    places = [0, n // 2, n - 1, n, n + 7, -1, -n, -n - 1, info.max, info.min]
    kept = [p for p in places if info.min <= p <= info.max and abs(p) <= 2**31 - 1]
    i = np.array(kept, dtype)
    wide = i.astype(np.int64)
    inside = (wide >= -n) & (wide < n)
    wrapped = np.where(wide < 0, wide + n, wide)
    clamped = x[np.clip(wrapped, 0, n - 1)]
    filled = np.where(inside, clamped, np.float32(np.nan))
    for got, want in [
        (anp.asarray(x)[i], clamped),
        (anp.take(x, i), filled),
        (anp.take(x, i, mode="clip"), x[np.clip(wide, 0, n - 1)]),
        (anp.take(x, i, mode="wrap"), x[wide % n]),
        (anp.take_along_axis(x, i, 0), filled),
        (anp.take_along_axis(x, i, 0, mode="clip"), clamped),
        (anneal.jit(lambda v, k: v[k])(x, i.astype(np.int32)), clamped),
    ]:
        np.testing.assert_array_equal(np.asarray(got), want)
    counts = np.zeros(n, np.float32)
    np.add.at(counts, wrapped[inside], 1)
    np.testing.assert_array_equal(np.asarray(anp.zeros(n).at[i].add(1.0)), counts)
    slope = anneal.grad(lambda v: anp.take(v, i[inside]).sum())(anp.asarray(x))
    np.testing.assert_array_equal(np.asarray(slope), counts)


def test_arrays_of_unsigned_indices_beyond_int32_are_outside() -> None:
    x, i = anp.asarray([1.0, 2.0]), anp.asarray([0, 1, 2**32 - 1, 2**31], "uint32")
    np.testing.assert_array_equal(np.asarray(anp.take(x, i)), [1, 2, np.nan, np.nan])
    assert x[i].tolist() == [1, 2, 2, 2]
    assert anp.zeros(2).at[i].set(5.0).tolist() == [5, 5]
    assert anneal.jit(anp.take)(x, i[:2]).tolist() == [1, 2]


@pytest.mark.parametrize("mode", ["fill", "clip", "wrap"])
@pytest.mark.parametrize("i", [0, 2, 3, 100, -1, -3, -4, -100])
def test_take_with_one_index(mode: str, i: int) -> None:
    x = np.array([10.0, 20.0, 30.0], np.float32)
    inside = np.nan if not -3 <= i < 3 else x[i]
    want = inside if mode == "fill" else np.take(x, i, mode=mode)
    for index in (i, np.int64(i), np.int8(i), anp.asarray(i)):
        got = anp.take(x, index, mode=mode)
        assert got.shape == ()
        np.testing.assert_array_equal(np.asarray(got), np.float32(want))


def test_every_mask_must_fit() -> None:
    x = np.arange(6).reshape(3, 2)
    a = anp.asarray(x)
    rows, columns = np.array([True, False, True]), np.array([False, True])
    for key in [(slice(None), columns), (..., columns), (None, rows), (rows, columns[:0].sum()),
                (0, columns), (..., x > 2), (None, x > 2, None), (rows, [0, 1]),
                (slice(1), columns, None)]:  # fmt: skip
        want = x[key]
        assert a[key].shape == want.shape and a[key].tolist() == want.tolist()
        changed = x.copy()
        changed[key] = -1
        assert a.at[key].set(-1).tolist() == changed.tolist()
    for key in [(slice(None), rows), (..., rows), (0, rows), (columns,), (None, columns),
                (rows, rows), (x[:2] > 0,), (slice(None), [True])]:  # fmt: skip
        with pytest.raises(IndexError):
            x[key]
        with pytest.raises(IndexError, match="boolean index|indices"):
            a[key]
        with pytest.raises(IndexError, match="boolean index|indices"):
            a.at[key].set(0)


def test_true_and_false_as_indices() -> None:
    x = np.arange(6).reshape(3, 2)
    a = anp.asarray(x)
    for key in [True, False, np.True_, np.False_, (0, True), (False, 1), (..., True),
                (slice(None), False), (slice(1), True, slice(1))]:  # fmt: skip
        want = x[key]
        assert a[key].shape == want.shape and a[key].tolist() == want.tolist()
    assert a.at[True].set(0).tolist() == [[0, 0]] * 3 and a.at[False].set(0) is a
    with pytest.raises(IndexError, match=r"shape \(\)"):
        a[True, [0]]
    with pytest.raises(errors.NonConcreteBooleanIndexError):
        anneal.jit(lambda v: a[v])(True)


def test_axes_without_elements_and_axes_beyond_32_bits() -> None:
    none = anp.zeros((2, 0))
    for take in (lambda i: none[:, i], lambda i: anp.take(none, i, 1, "clip"),
                 lambda i: anp.take(none, i, 1, "wrap")):  # fmt: skip
        assert take(np.zeros(0, np.int32)).shape == (2, 0)
        with pytest.raises(IndexError, match="length 0"):
            take([0])
    assert np.isnan(np.asarray(anp.take(none, [0, 1], 1))).tolist() == [[True] * 2] * 2
    assert np.isnan(np.asarray(anp.take_along_axis(none, [[0], [0]], 1))).tolist() == [[True]] * 2
    long = anp.zeros(2**31 + 8)
    assert long[2**31 + 4].item() == 0 and long.at[2**31 + 4].set(3.0)[2**31 + 4].item() == 3
    wide = anp.zeros((70000, 70000))
    assert wide[69999, 69999].item() == 0
    for refused in (lambda: long[[5]], lambda: anp.take(long, [5]), lambda: wide[[5], [3]],
                    lambda: wide.at[[5], [3]].set(1.0), lambda: wide.argmax(),
                    lambda: anp.arange(2**31 + 1), lambda: anp.arange(2**31, 2**31 + 4)):
        with pytest.raises(OverflowError):
            refused()
    assert anp.arange(2**31 - 2, 2**31).tolist() == [2**31 - 2, 2**31 - 1]
