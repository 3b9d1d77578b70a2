"""Sizes, counts and axes: whatever `operator.index` takes, and Python ints in what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import lax, nn, random
from anneal.array import Array
from anneal.uop.spec import verify
from anneal.uop.uop import toposort

X = anp.asarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
LABELS = anp.asarray(np.array([0, 2, 1], np.int32))
IMAGE = anp.asarray(np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4))
KERNEL = anp.ones((2, 1, 2, 2))
KEY = random.key(0)

# Functions of one integer, 2 or 1 as they stand.
TWO: dict[str, Callable[[Any], Any]] = {
    "zeros": lambda n: anp.zeros(n), "zeros of a tuple": lambda n: anp.zeros((n, 3)),
    "ones": lambda n: anp.ones([n, n]), "full": lambda n: anp.full((3, n), 1.5),
    "empty": lambda n: anp.empty((n,)), "arange": lambda n: anp.arange(n),
    "linspace": lambda n: anp.linspace(0, 1, n), "eye": lambda n: anp.eye(n, n + 1, n),
    "tri": lambda n: anp.tri(n, n, n), "identity": lambda n: anp.identity(n),
    "tril": lambda n: anp.tril(X, n), "triu": lambda n: anp.triu(X, n),
    "diag": lambda n: anp.diag(X[0, 0], n), "diagonal": lambda n: anp.diagonal(X, n, 1, n),
    "trace": lambda n: anp.trace(X, n, 1, n), "diff": lambda n: anp.diff(X, n),
    "reshape": lambda n: anp.reshape(X, (n, -1)), "method": lambda n: X.reshape(n, 12),
    "reshape to a line": lambda n: X[:1, :1, :2].reshape(n),
    "broadcast_to": lambda n: anp.broadcast_to(X[0, 0, :1], (n, n)),
    "repeat": lambda n: anp.repeat(X, n, 1), "repeats": lambda n: anp.repeat(X, [n, n, 0], 1),
    "tile": lambda n: anp.tile(X, n), "tile twice": lambda n: anp.tile(X, (n, n)),
    "roll": lambda n: anp.roll(X, n), "roll along": lambda n: anp.roll(X, n, n),
    "roll both": lambda n: anp.roll(X, (n, 1), (n, 0)), "pad": lambda n: anp.pad(X, n),
    "pad around": lambda n: anp.pad(X, (n, n)), "pads": lambda n: anp.pad(X, [(n, 0)] * 3),
    "split": lambda n: anp.split(X, n)[0], "split at": lambda n: anp.split(X, [n, 3], 2)[1],
    "rot90": lambda n: anp.rot90(X, n), "moveaxis": lambda n: anp.moveaxis(X, n, 0),
    "swapaxes": lambda n: anp.swapaxes(X, n, 0), "transpose": lambda n: X.transpose(n, 0, 1),
    "expand_dims": lambda n: anp.expand_dims(X, n), "squeeze": lambda n: X[:, :, :1].squeeze(n),
    "flip": lambda n: anp.flip(X, n), "stack": lambda n: anp.stack([X, X], n),
    "concatenate": lambda n: anp.concatenate([X, X], n), "sum": lambda n: X.sum(n),
    "sum of two": lambda n: X.sum((n, 0)), "max": lambda n: X.max(n), "var": lambda n: X.var(n),
    "argmax": lambda n: X.argmax(n), "cumsum": lambda n: anp.cumsum(X, n),
    "sort": lambda n: anp.sort(X, n), "take": lambda n: anp.take(X, n, n),
    "take_along_axis": lambda n: anp.take_along_axis(X, X[:, :, :1].astype(int) % n, n),
    "getitem": lambda n: X[:, n], "slice": lambda n: X[:n, :, ::n],
    "at": lambda n: X.at[:, n].set(0),
    "tensordot": lambda n: anp.tensordot(X, X[0], n), "axes": lambda n: anp.tensordot(X, X, (n, n)),
    "one_hot": lambda n: nn.one_hot(LABELS, n), "max_pool": lambda n: nn.max_pool(IMAGE, n),
    "avg_pool": lambda n: nn.avg_pool(IMAGE, n, n), "softmax": lambda n: nn.softmax(X, n),
    "layer_norm": lambda n: nn.layer_norm(X, axis=n), "glu": lambda n: nn.glu(X, n),
    "strides": lambda n: lax.conv_general_dilated(IMAGE[:, :1], KERNEL, (n, n), [(n, n), (0, n)]),
    "groups": lambda n: lax.conv_general_dilated(IMAGE, KERNEL, (1, 1), "SAME", (n, n), (n, n),
                                                 feature_group_count=n),
    "reduce_window": lambda n: lax.reduce_window(X, 0.0, anp.add, (1, n, n), (1, n, n)),
    "dynamic_slice": lambda n: lax.dynamic_slice(X, (0, 0, n), (n, n, n)),
    "dynamic_update_slice": lambda n: lax.dynamic_update_slice(X, X[:1, :1, :1], (0, n, n)),
    "key": lambda n: random.key(n), "split a key": lambda n: random.split(KEY, n),
    "fold_in": lambda n: random.fold_in(KEY, n), "normal": lambda n: random.normal(KEY, (n, n)),
    "uniform": lambda n: random.uniform(KEY, n), "randint": lambda n: random.randint(KEY, n, 0, n),
    "bernoulli": lambda n: random.bernoulli(KEY, 0.5, (n,)),
    "categorical": lambda n: random.categorical(KEY, X[0], shape=(n, 3)),
    "permutation": lambda n: random.permutation(KEY, n),
    "choice": lambda n: random.choice(KEY, n, (n,)),
    "dense_init": lambda n: nn.dense_init(KEY, n, n)["w"],
    "initializer": lambda n: nn.initializers.he_normal(n - 2, n - 1)(KEY, (n, n)),
    "grad": lambda n: anneal.grad(lambda a, b, c: a * b * c, n)(2.0, 3.0, 4.0),
}  # fmt: skip
KINDS: list[Callable[[int], Any]] = [np.int64, np.int32, np.uint8, np.intp, lambda n: np.array(n),
                                     lambda n: anp.asarray(n), lambda n: anp.max(LABELS) + (n - 2)]
_NAMES = ["int64", "int32", "uint8", "intp", "array", "Array", "computed"]


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("kind", KINDS, ids=_NAMES)
def test_integers_that_are_no_ints(name: str, kind: Callable[[int], Any]) -> None:
    given = kind(2)
    if name == "bernoulli" and isinstance(given, np.ndarray):
        given = int(given)
    got, want = TWO[name](given), TWO[name](2)
    assert isinstance(got, Array) and got.shape == want.shape and got.dtype is want.dtype
    assert all(type(d) is int for u in toposort([got.uop]) for d in u.shape)
    verify([got.uop], "tensor")
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


@pytest.mark.parametrize("name", ["zeros", "ones", "repeat", "tile", "method", "eye", "sum", "roll",
                                  "one_hot", "uniform", "broadcast_to", "getitem"])  # fmt: skip
def test_true_is_one(name: str) -> None:
    f = TWO[name] if name not in ("method", "getitem") else {
        "method": lambda n: X.reshape(n, 24), "getitem": lambda n: X[:n]}[name]  # fmt: skip
    got, want = f(True), f(1)
    assert got.shape == want.shape and all(type(d) is int for d in got.shape)
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


@pytest.mark.parametrize("name", sorted(set(TWO) - {"getitem", "slice", "at", "take", "key",
                                                    "arange", "choice", "permutation", "fold_in",
                                                    "randint", "initializer",
                                                    "dynamic_slice", "dynamic_update_slice"}))
def test_floats_are_no_sizes(name: str) -> None:
    with pytest.raises(TypeError, match="integer|float"):
        TWO[name](2.0)


def test_a_traced_size_is_refused_as_such() -> None:
    with pytest.raises(anneal.errors.TracerIntegerConversionError):
        anneal.jit(lambda n: anp.zeros((n, 2)))(3)
    with pytest.raises(anneal.errors.TracerIntegerConversionError):
        anneal.jit(lambda n: anp.repeat(anp.ones(3), n))(3)
