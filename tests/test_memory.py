"""Memory that is the user's: what NumPy gets never writes to what an array holds, and donation
takes what was named and nothing else."""

from __future__ import annotations

import contextlib
import copy
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import lax, nn, random
from anneal.array import Array
from anneal.errors import DeletedArrayError


@pytest.fixture(params=["interpreter", "webgpu", "cpu"], autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with anneal.default_device(request.param):
        yield request.param


# -- NumPy's side ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [
    lambda: anp.zeros(3), lambda: anp.ones((2, 2)), lambda: anp.asarray([1, 2, 3]),
    lambda: anp.arange(4) * 2, lambda: anp.asarray(2.5), lambda: anp.zeros(0),
    lambda: anp.asarray([True, False]), lambda: anneal.jit(lambda x: x + 1)(anp.ones(3)),
    lambda: anneal.jit(lambda x: x)(anp.ones(3)), lambda: anp.zeros((2, 3)).T,
    lambda: anp.broadcast_to(anp.asarray([1.0]), (3,)), lambda: anp.asarray(np.ones(3)).copy(),
])  # fmt: skip
@pytest.mark.parametrize("read", [
    np.asarray, np.array, lambda x: x.numpy(), lambda x: np.asarray(x, np.float32),
    lambda x: np.array(x, copy=True), lambda x: np.asarray(x)[...],
    lambda x: np.asarray(x).reshape(-1), lambda x: np.asarray(x.tolist()),
])  # fmt: skip
def test_nothing_that_numpy_writes_reaches_an_array(
    make: Callable[[], Array], read: Callable[[Array], Any]
) -> None:
    x = make()
    before = x.tolist()
    data = read(x)
    with contextlib.suppress(ValueError):  # read-only, or a copy: whoever insists gets no further
        data[...] = 7
    with contextlib.suppress(ValueError):
        data.flags.writeable = True
        data[...] = 7
    assert x.tolist() == before == make().tolist()


def test_nothing_writes_what_another_device_gave(device: str) -> None:
    with anneal.default_device("webgpu"):
        w = anp.ones(3)
        w.tolist()
    for x in (anneal.jit(lambda x: x)(w), anneal.jit(lambda x: (x, x * 2))(w)[0]):
        data = np.asarray(x)
        with contextlib.suppress(ValueError):
            data.flags.writeable = True
            data[...] = 7
        assert x.tolist() == w.tolist() == [1, 1, 1]


def test_the_users_data_are_copied() -> None:
    data = np.arange(4, dtype=np.float32)
    x, y = anp.asarray(data), anneal.jit(lambda x: x)(data)
    data += 1
    assert x.tolist() == y.tolist() == [0, 1, 2, 3]


def test_an_array_that_must_not_be_copied_and_must_change() -> None:
    x = anp.asarray([1.0, 2.0])
    assert np.asarray(x, np.float64).tolist() == [1, 2]
    with pytest.raises(ValueError, match="float64"):
        x.__array__(np.float64, copy=False)


# -- donation --------------------------------------------------------------------------------------

SHAPES = [(), (1,), (3,), (7, 5), (0,)]


def _fresh(shape: tuple[int, ...]) -> Array:
    """An array of its own on the device, as a call gives it."""
    n = int(np.prod(shape))
    out: Array = anneal.jit(lambda x: x * 2)(np.arange(n, dtype=np.float32).reshape(shape))
    return out


def _take(x: Any) -> Any:
    """Donates all arrays in `x`, whose memory the results want."""
    return anneal.jit(lambda t: anneal.tree.map(lambda a: a * 0 - 5, t), donate_argnums=0)(x)


SHARING: dict[str, Callable[[Array], Array]] = {
    "copy": lambda p: p.copy(), "array": anp.array, "whole": lambda p: p[...],
    "plus": lambda p: +p, "positive": anp.positive, "pending": lambda p: p + 0.0,
    "chain": lambda p: anp.sin(p) * 2, "reshape": lambda p: p.reshape(p.shape),
    "flat": lambda p: p.reshape(-1), "astype": lambda p: p.astype(p.dtype),
    "transpose": lambda p: p.T, "ravel": anp.ravel, "squeeze": anp.squeeze,
    "identity": lambda p: anneal.jit(lambda x: x)(p),
    "renamed": lambda p: anneal.jit(lambda x: x.reshape(-1))(p),
    "both": lambda p: anneal.jit(lambda x: (x, x + 1))(p)[0],
    "stop_gradient": lax.stop_gradient, "checkpoint": lambda p: anneal.checkpoint(anp.tanh)(p),
    "dropout": lambda p: nn.dropout(random.key(0), 0.0, p), "roll": lambda p: anp.roll(p, 0),
    "captured": lambda p: anneal.jit(lambda: p)(),
    "broadcast": lambda p: anp.broadcast_to(p, p.shape),
    "vjp": lambda p: anneal.vjp(lambda x: x, p)[0],
    "where": lambda p: anp.where(True, p, p), "atleast": anp.atleast_1d,
    "tree": lambda p: anneal.tree.map(lambda x: x[...], {"a": p})["a"],
    "copy.copy": copy.copy, "deepcopy": lambda p: copy.deepcopy({"a": [p]})["a"][0],
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", SHARING)
@pytest.mark.parametrize("first", [True, False])
def test_what_was_not_named_is_not_taken(
    how: str, shape: tuple[int, ...], first: bool
) -> None:
    p = _fresh(shape)
    q = SHARING[how](p)
    given, kept = (p, q) if first else (q, p)
    # What SHARING gives of data that nothing else holds.
    want = np.asarray(SHARING[how](_fresh(shape)) if first else _fresh(shape))
    _take(given)
    np.testing.assert_allclose(np.asarray(kept), want, rtol=1e-6)
    assert given.is_deleted() and not kept.is_deleted()
    with pytest.raises(DeletedArrayError):
        given.tolist()


@pytest.mark.parametrize("make", [
    lambda x: (x + 1, x + 1), lambda x: [x + 1] * 3, lambda x: {"params": x + 1, "ema": x + 1},
    lambda x: (x, x), lambda x: (x + 1, (x + 1).reshape(-1)),
])  # fmt: skip
def test_results_are_arrays_of_their_own(make: Callable[[Array], Any]) -> None:
    x = _fresh((4,))
    first, *others = anneal.tree.leaves(anneal.jit(make)(x))
    want = [np.asarray(o) for o in others]
    _take(first)
    for o, w in zip(others, want, strict=True):
        np.testing.assert_array_equal(np.asarray(o), w)
    assert x.tolist() == [0, 2, 4, 6]


def test_one_value_under_two_names_over_many_steps() -> None:
    def step(s: Any, x: Any) -> Any:
        p = s["params"] - 0.5 * x
        return {"params": p, "ema": p}

    j = anneal.jit(step, donate_argnums=0)
    p = _fresh((3,))
    state, x = {"params": p, "ema": p}, anp.asarray([2.0, 2.0, 2.0])
    for i in range(1, 6):
        state = j(state, x)
        assert state["params"].tolist() == state["ema"].tolist() == [-i, 2 - i, 4 - i]


def test_a_captured_array_that_is_returned_and_donated() -> None:
    w = _fresh((3,))
    f = anneal.jit(lambda x: (w, x + w))
    for _ in range(3):
        got, total = f(anp.asarray([1.0, 1.0, 1.0]))
        assert (got.tolist(), total.tolist()) == ([0, 2, 4], [1, 3, 5])
        _take((got, total))
    assert w.tolist() == [0, 2, 4]


def test_a_captured_array_that_is_donated_itself() -> None:
    w = _fresh((3,))
    f = anneal.jit(lambda x: x + w)
    x = anp.asarray([1.0, 1.0, 1.0])
    assert f(x).tolist() == [1, 3, 5]
    _take(w)
    assert f(x).tolist() == [1, 3, 5]  # the trace has the value
    with pytest.raises(DeletedArrayError):
        (w + 1).tolist()


@pytest.mark.parametrize("donate", [(0,), (1,), (0, 1)])
def test_the_same_array_twice(donate: tuple[int, ...]) -> None:
    f = anneal.jit(lambda a, b: (a * 3, b - 1), donate_argnums=donate)
    x = _fresh((3,))
    assert [v.tolist() for v in f(x, x)] == [[0, 6, 12], [-1, 1, 3]]
    assert x.is_deleted()
    x = _fresh((3,))
    y = anneal.jit(lambda a: a)(x)
    assert [v.tolist() for v in f(x, y)] == [[0, 6, 12], [-1, 1, 3]]
    assert (x.is_deleted(), y.is_deleted()) == (0 in donate, 1 in donate)


@pytest.mark.parametrize("value", [2.0, np.float32(2), np.full(3, 2.0, np.float32)])
def test_donated_data_that_are_no_arrays(value: Any) -> None:
    f = anneal.jit(lambda a: a + 1, donate_argnums=0)
    for _ in range(3):
        assert np.asarray(f(value)).tolist() == (np.asarray(value) + 1).tolist()


def test_a_pending_array_donated_to_a_call_that_reads_what_it_came_from() -> None:
    p = _fresh((3,))
    q = p * 2
    f = anneal.jit(lambda a, b: a + b, donate_argnums=(0, 1))
    assert f(q, p).tolist() == [0, 6, 12]
    assert p.is_deleted() and q.is_deleted()


def test_zeros_are_donated_and_stay_zeros() -> None:
    for _ in range(3):
        _take((anp.zeros(3), anp.zeros(3)))
        assert anp.zeros(3).tolist() == [0, 0, 0]


def test_what_is_the_calls_alone_is_updated_in_place() -> None:
    """Sharing is seen, not suspected: a training loop copies nothing."""
    step = anneal.jit(lambda p, x: anneal.tree.map(lambda a: a - 0.5 * x, p), donate_argnums=0)
    p = {"a": _fresh((1024,)), "b": _fresh((1024,))}
    x = anp.asarray(1.0)
    for _ in range(3):
        p = step(p, x)
        np.asarray(p["a"]), repr(p["b"]), p["a"].shape  # reading shares nothing
    gc.collect()
    before = anneal.stats()
    for _ in range(5):
        p = step(p, x)
    after = anneal.stats()
    assert after["peak_bytes"] == before["peak_bytes"]
    assert after["buffers"] == before["buffers"] and after["live_bytes"] == before["live_bytes"]


def test_random_programs_of_sharing_and_donating(device: str) -> None:
    """Against a model that copies everything."""
    donated = [(), (0,), (1,), (0, 1)]
    steps = [anneal.jit(lambda a, b: (a + b, a - 1, b), donate_argnums=d) for d in donated]
    for seed in range(6):
        rng = np.random.default_rng(seed)
        arrays = [_fresh((4,)) for _ in range(3)]
        model: list[Any] = [np.asarray(a).copy() for a in arrays]
        for _ in range(25):
            alive = [i for i, m in enumerate(model) if m is not None][-8:]
            i, j = (int(rng.choice(alive)) for _ in range(2))
            kind = rng.integers(5)
            if kind == 0:
                how = str(rng.choice(["copy", "whole", "pending", "identity", "reshape"]))
                arrays.append(SHARING[how](arrays[i]))
                model.append(model[i].copy())
            elif kind == 1:
                arrays.append(arrays[i] - arrays[j])
                model.append(model[i] - model[j])
            elif kind == 2:
                np.testing.assert_array_equal(np.asarray(arrays[i]), model[i])
            else:
                d = int(rng.integers(4))
                arrays += steps[d](arrays[i], arrays[j])
                model += [model[i] + model[j], model[i] - 1, model[j].copy()]
                for k in donated[d]:
                    model[(i, j)[k]] = None
                if len([m for m in model if m is not None]) < 2:
                    arrays.append(_fresh((4,)))
                    model.append(np.asarray(arrays[-1]).copy())
        for a, m in zip(arrays, model, strict=True):
            assert a.is_deleted() == (m is None)
            if m is not None:
                np.testing.assert_array_equal(np.asarray(a), m)


def test_arrays_in_cycles_of_garbage_give_their_memory_back_whole() -> None:
    """The collector finalizes all of a cycle: who borrowed a buffer, and the buffer if only the
    cycle held it."""
    with anneal.default_device("webgpu"):
        for _ in range(5):
            model: dict[str, Any] = {"w": anneal.jit(lambda x: x)(np.zeros(1003, np.float32))}
            model["self"] = model
            del model
            gc.collect()
            fresh = [anp.array(np.ones(1003, np.float32)) for _ in range(3)]
            assert all((np.asarray(a * 3.0) == 3).all() for a in fresh)


def test_what_is_read_while_python_ends_is_an_error_and_no_wait(device: str) -> None:
    program = f"""
import anneal, anneal.numpy as anp
anneal.default_device({device!r})
class Cycle:
    def __init__(self):
        self.own, self.x = self, anneal.jit(lambda x: x + 1)(anp.ones(3))
    def __del__(self):
        print("read", self.x.tolist())
Cycle()
anp.ones(2).numpy()
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                         timeout=60, check=False)  # fmt: skip
    assert out.returncode == 0, out.stderr
    assert "read [2.0, 2.0, 2.0]" in out.stdout or "DeviceError" in out.stderr
