"""Shapes and new arrays against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anneal.numpy as anp

X = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
V = np.array([1, 2, 3], np.int32)


def same(f: Any) -> None:
    """f(namespace) gives the same in both."""
    got, want = f(anp), f(np)
    if not isinstance(want, list | tuple):
        got, want = [got], [want]
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        a = np.asarray(g)
        assert a.shape == w.shape
        np.testing.assert_array_equal(a, w)


CASES = {
    "reshape": lambda n: n.reshape(X, (4, -1)),
    "ravel": lambda n: n.ravel(X),
    "transpose": lambda n: n.transpose(X),
    "transpose axes": lambda n: n.transpose(X, (1, -1, 0)),
    "swapaxes": lambda n: n.swapaxes(X, 0, -1),
    "moveaxis": lambda n: n.moveaxis(X, 0, -1),
    "moveaxis several": lambda n: n.moveaxis(X, (0, 1), (-1, 0)),
    "squeeze": lambda n: n.squeeze(n.reshape(X, (1, 2, 1, 12))),
    "squeeze axis": lambda n: n.squeeze(n.reshape(X, (1, 24, 1)), (0,)),
    "expand_dims": lambda n: n.expand_dims(X, 1),
    "expand_dims several": lambda n: n.expand_dims(X, (0, -1)),
    "broadcast_to": lambda n: n.broadcast_to(V, (2, 3)),
    "broadcast_arrays": lambda n: list(n.broadcast_arrays(V, V[:, None])),
    "flip": lambda n: n.flip(X, (0, 2)),
    "flip all": lambda n: n.flip(X),
    "pad amount": lambda n: n.pad(X, 1),
    "pad pairs": lambda n: n.pad(X, ((1, 0), (0, 2), (3, 1))),
    "pad with": lambda n: n.pad(X, (1, 2), constant_values=-7),
    "pad edge": lambda n: n.pad(X, ((2, 1), (0, 0), (1, 3)), "edge"),
    "pad reflect": lambda n: n.pad(X, ((1, 1), (2, 1), (3, 5)), "reflect"),
    "pad symmetric": lambda n: n.pad(X, ((3, 1), (2, 1), (3, 5)), "symmetric"),
    "pad wrap": lambda n: n.pad(X, ((1, 1), (4, 1), (3, 5)), "wrap"),
    "concatenate": lambda n: n.concatenate([X, X[:, :1], X], 1),
    "concatenate flat": lambda n: n.concatenate([X, V], None),
    "concatenate empty": lambda n: n.concatenate([V[:0], V]),
    "stack": lambda n: n.stack([V, V + 1], -1),
    "vstack": lambda n: n.vstack([V, X[0, :, :3]]),
    "hstack": lambda n: n.hstack([V, V]),
    "hstack matrices": lambda n: n.hstack([X[0], X[1]]),
    "split": lambda n: n.split(X, 2, 2),
    "split at": lambda n: n.split(X, [1, 3], -1),
    "roll": lambda n: n.roll(X, 5),
    "roll axes": lambda n: n.roll(X, (1, -2), (0, 2)),
    "repeat": lambda n: n.repeat(X, 2, 1),
    "repeat flat": lambda n: n.repeat(V, 3),
    "repeat each": lambda n: n.repeat(X, [0, 2, 1], axis=1),
    "tile": lambda n: n.tile(X, (2, 1, 3, 1)),
    "tile less": lambda n: n.tile(X, 2),
    "meshgrid": lambda n: list(n.meshgrid(V, V[:2])),
    "meshgrid ij": lambda n: list(n.meshgrid(V, V[:2], V, indexing="ij")),
    "rot90": lambda n: [n.rot90(X, k) for k in range(-1, 4)],
    "rot90 back": lambda n: n.rot90(X, 1, (1, 0)),
    "tri": lambda n: n.tri(3, 5, -1),
    "tril": lambda n: n.tril(X, 1),
    "triu": lambda n: n.triu(X, -1),
    "eye": lambda n: n.eye(3, 4, -1),
    "identity": lambda n: n.identity(3),
    "diag": lambda n: [n.diag(V, k) for k in (-2, 0, 1)],
    "diag of": lambda n: [n.diag(X[0], k) for k in range(-4, 6)],
    "diagonal": lambda n: n.diagonal(X, 1, 2, 0),
    "trace": lambda n: n.trace(X, -1, 1, 2),
    "arange": lambda n: [n.arange(5), n.arange(2, 9, 3), n.arange(5, 0, -2), n.arange(0)],
    "arange floats": lambda n: n.arange(0.0, 1.0, 0.25),
    "linspace": lambda n: n.linspace(0.0, 2.0, 5),
    "linspace open": lambda n: n.linspace(0.0, 2.0, 4, endpoint=False),
    "full": lambda n: [n.full((2, 2), 3), n.zeros(3), n.ones((2, 1))],
    "like": lambda n: [n.zeros_like(X), n.ones_like(X), n.full_like(X, 2)],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_as_numpy(case: str) -> None:
    same(CASES[case])


def test_unstack() -> None:
    assert [u.tolist() for u in anp.unstack(X, axis=1)] == [X[:, i].tolist() for i in range(3)]


REFUSALS = {
    "reshape": (lambda: anp.reshape(X, (5, -1)), r"reshape: cannot reshape \(2, 3, 4\)"),
    "reshape sizes": (lambda: anp.reshape(X, (5, 5)), "reshape: .*number of elements differs"),
    "reshape negative": (lambda: anp.reshape(X, (-4, -6)), "reshape: dims must not be negative"),
    "reshape twice": (lambda: anp.reshape(X, (-1, -1)), "reshape: dims must not be negative"),
    "transpose": (lambda: anp.transpose(X, (0, 1, 3)), "transpose: axis 3 is out of range"),
    "squeeze": (lambda: anp.squeeze(X, 0), r"squeeze: axis 0 of \(2, 3, 4\) is not of length 1"),
    "concatenate": (lambda: anp.concatenate([X, V]), r"concatenate: shapes \(2, 3, 4\) and \(3,\)"),
    "concatenate none": (lambda: anp.concatenate([]), "at least one array"),
    "stack": (lambda: anp.stack([V, V[:2]]), r"stack: shapes \(3,\) and \(2,\) differ"),
    "split": (lambda: anp.split(V, 2), "split: 3 elements do not split in 2"),
    "broadcast_to": (lambda: anp.broadcast_to(V, (2, 4)), r"broadcast_to: cannot expand"),
    "pad": (lambda: anp.pad(V, -1), "pad: pad_width must be pairs of amounts, not negative"),
    "pad mode": (lambda: anp.pad(V, 1, "mean"), "pad: mode must be"),
    "arange": (lambda: anp.arange(0, 3, 0), "arange: step must not be 0"),
    "zeros": (lambda: anp.zeros((-1,)), r"dims must not be negative, got \(-1,\)"),
    "moveaxis": (lambda: anp.moveaxis(X, (0, 0), (1, 2)), "each once"),
    "tril": (lambda: anp.tril(V), "tril: expected at least two axes"),
    "diagonal": (lambda: anp.diagonal(X, 0, 1, 1), "axis1 and axis2 must differ"),
    "repeat": (lambda: anp.repeat(V, [1, 2]), "repeat: expected 3 numbers of repeats"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case: str) -> None:
    call, message = REFUSALS[case]
    with pytest.raises(ValueError, match=message):
        call()
