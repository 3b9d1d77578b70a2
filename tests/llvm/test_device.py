"""A call on the CPU: what is prepared once, and what every call has of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

import anneal
import anneal.numpy as anp

F = np.float32


@pytest.fixture(autouse=True)
def on_the_cpu() -> Iterator[None]:
    with anneal.default_device("cpu"):
        yield


def test_every_call_has_results_of_its_own() -> None:
    f = anneal.jit(lambda x: (x + 1, x * 2))
    x = anp.asarray(np.arange(4, dtype=F))
    calls = [f(x + i) for i in range(50)]
    for i, (more, twice) in enumerate(calls):
        np.testing.assert_array_equal(more, np.arange(4) + i + 1)
        np.testing.assert_array_equal(twice, (np.arange(4) + i) * 2)
    addresses = {np.asarray(r).ctypes.data for call in calls for r in call}
    assert len(addresses) == 100


def test_results_cannot_be_written() -> None:
    seen = np.asarray(anneal.jit(lambda x: x + 1)(np.zeros(4, F)))
    assert not seen.flags.writeable
    with pytest.raises(ValueError, match="writeable|WRITEABLE"):
        seen.flags.writeable = True


def test_a_result_returned_twice_and_an_argument_returned() -> None:
    x = anp.asarray(np.ones(4, F))
    a, b, c = anneal.jit(lambda x: (y := x + 1, y, x))(x)
    for got, want in ((a, 2), (b, 2), (c, 1)):
        np.testing.assert_array_equal(got, np.full(4, want))
    donated = anneal.jit(lambda v: v * 3, donate_argnums=0)
    np.testing.assert_array_equal(donated(a), np.full(4, 6))
    np.testing.assert_array_equal(b, np.full(4, 2))
    np.testing.assert_array_equal(x, np.ones(4))


def test_donation_takes_a_results_memory_and_only_if_nobody_looks() -> None:
    step = anneal.jit(lambda x: x + 1, donate_argnums=0)
    x = step(anp.asarray(np.zeros(1000, F)) * 1)
    x = step(x)
    before = x._uop.arg[0].data.ctypes.data
    x = step(x)
    assert x._uop.arg[0].data.ctypes.data == before
    seen = np.asarray(x)
    y = step(x)
    assert y._uop.arg[0].data.ctypes.data != seen.ctypes.data
    np.testing.assert_array_equal(seen, np.full(1000, 3))
    np.testing.assert_array_equal(y, np.full(1000, 4))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "float16", "bfloat16"])
@pytest.mark.parametrize("size", [0, 1, 7, 10_007])
def test_results_of_every_dtype_and_size(dtype: str, size: int) -> None:
    x = anp.asarray(np.arange(size) % 2, dtype=dtype)
    got = anneal.jit(lambda x: anp.where(x == x, x, x)[::-1])(x)
    want = (np.arange(size) % 2)[::-1]
    np.testing.assert_array_equal(np.asarray(got).astype(F), want.astype(F))


def test_views_and_other_orders_are_copied_once_asked() -> None:
    base = np.arange(24, dtype=F).reshape(4, 6)
    f = anneal.jit(lambda x: x * 2)
    for view in (base.T, base[:, ::2], base[::-1], base[1:3]):
        np.testing.assert_array_equal(f(view), view * 2)


def test_threads_share_one_compiled_call() -> None:
    f = anneal.jit(lambda x: anp.sum(x * 2 + 1, axis=1) * x[:, 0])
    wrong: list[int] = []

    def call(n: int) -> None:
        with anneal.default_device("cpu"):
            x = np.full((40, 30), n, F)
            want = np.full(40, 30 * (2 * n + 1) * n, F)
            wrong.extend(n for _ in range(100) if not (np.asarray(f(x)) == want).all())

    threads = [threading.Thread(target=call, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_setting_that_changes_between_calls_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    f = anneal.jit(lambda x: anp.tanh(x) * 2 + anp.exp(x))
    x = anp.asarray(np.ones(5, F))
    first = np.asarray(f(x))
    before = anneal.stats()["graphs_compiled"]
    f(x)
    assert anneal.stats()["graphs_compiled"] == before
    monkeypatch.setenv("ANNEAL_FUSE", "0")
    np.testing.assert_allclose(f(x), first, rtol=1e-6)
    assert anneal.stats()["graphs_compiled"] == before + 1
    monkeypatch.delenv("ANNEAL_FUSE")
    f(x)
    assert anneal.stats()["graphs_compiled"] == before + 1


@pytest.mark.parametrize("widths", [((1, 1), (1, 1)), ((3, 0), (1, 2)), ((0, 2), (20, 0))])
def test_lanes_that_share_an_element_and_not_its_gate(widths: tuple[tuple[int, int], ...]) -> None:
    """A row's statistic, or an operand of one column, in a padding: some lanes read it, or none."""
    x = np.random.default_rng(0).standard_normal((8, 64)).astype(F)
    column = x[:, :1].copy()
    np.testing.assert_array_equal(
        anneal.jit(lambda x, b: anp.pad(x + b, widths))(x, column), np.pad(x + column, widths)
    )
    centred = anneal.jit(lambda x: anp.pad(x - x.mean(-1, keepdims=True), widths))(x)
    np.testing.assert_allclose(centred, np.pad(x - x.mean(-1, keepdims=True), widths), atol=1e-6)
    soft = anneal.jit(lambda x: anp.pad(anneal.nn.softmax(x), widths))(x)
    e = np.exp(x - x.max(-1, keepdims=True))
    np.testing.assert_allclose(soft, np.pad(e / e.sum(-1, keepdims=True), widths), rtol=1e-5)
    twice = anneal.jit(lambda x: (lambda p: p - 0.5 * p)(anp.pad(x, widths)))(x[:3, :1])
    np.testing.assert_array_equal(twice, 0.5 * np.pad(x[:3, :1], widths))
