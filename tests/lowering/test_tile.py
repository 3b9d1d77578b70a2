"""Tiles: the same results, fewer loads."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anneal
import anneal.numpy as anp
from anneal import device, lax
from anneal.lowering import plan, tile
from anneal.lowering.limits import Limits
from anneal.memo import Memo
from tests import programs
from tests.random_graphs import Example, examples
from tests.test_differential import _SETTINGS, LIMITS, compare

_rng = np.random.default_rng(0)


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles in small kernels too, and no kernel rendered before without."""
    monkeypatch.setattr(tile, "_LEAST_LOADS", 0)
    monkeypatch.setattr(tile, "_FEWEST", 1)
    monkeypatch.setattr(tile, "_OUTSIDE", 3)
    monkeypatch.setattr(plan, "_kernels", Memo(1000))
    monkeypatch.setattr(device, "_compiled", Memo(1000))


def normal(*shape: int) -> Any:
    return _rng.standard_normal(shape).astype(np.float32)


def source(f: Any, *args: Any) -> str:
    with anneal.default_device("webgpu"):
        (kernel,) = anneal.jit(f).lower(*args).kernels
    return kernel.source


def test_a_product_loads_sixteen_elements_for_sixty_four() -> None:
    text = source(lambda a, b: a @ b, normal(512, 300), normal(300, 512))
    loop = text[text.index("for (") :]
    assert len(re.findall(r"= b[12]\[", loop)) == 16
    assert len(re.findall(r"acc\d+ = acc", loop)) == 64
    assert "if (r" not in text


def test_small_kernels_and_those_that_share_nothing_have_no_tiles() -> None:
    assert source(lambda a, b: a @ b, normal(8, 30), normal(30, 8)).count("var acc") == 1
    assert source(lambda a: a.sum(1), normal(4096, 300)).count("var acc") == 1


def test_few_results_are_left_to_many_invocations() -> None:
    """32 by 1024 results by 2048 invocations: 16 each."""
    assert source(lambda a, b: a @ b, normal(32, 900), normal(900, 1024)).count("var acc") == 16


def test_a_gpu_keeps_more_invocations_busy() -> None:
    with anneal.default_device("webgpu"):
        graph = anneal.jit(lambda a, b: a @ b).lower(normal(512, 9), normal(9, 512)).graph
    for limits, results in ((Limits(32), 64), (Limits(32, gpu=True), 32)):
        (launch,) = plan.lower(graph, limits, frozenset()).launches
        assert launch.kernel.source.count("var acc") == results


@pytest.mark.parametrize("shape", [(128, 60, 128), (127, 61, 130), (1000, 33, 90), (9, 1000, 999)])
def test_products_of_any_shape(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    programs.agree(lambda a, b, c: anp.maximum(a @ b + c, 0), normal(m, k), normal(k, n), normal(n))


@pytest.mark.parametrize("shape", [(8, 5, 8), (7, 3, 9), (1, 4, 6), (3, 2, 1), (5, 1, 5)])
def test_small_products(tiles: None, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    programs.agree(lambda a, b, c: anp.tanh(a @ b + c), normal(m, k), normal(k, n), normal(n))
    programs.agree(lambda a, b: (a @ b, (a @ b).sum(0), b.sum(0)), normal(m, k), normal(k, n))
    programs.agree(lambda a, b: anp.einsum("bij,bjk->bik", a, b), normal(3, m, k), normal(3, k, n))


@pytest.mark.parametrize("size", [8, 9, 11])
def test_convolutions_and_their_gradients(tiles: None, size: int) -> None:
    def loss(w: Any, x: Any) -> Any:
        return (lax.conv_general_dilated(x, w, (1, 1), "SAME") ** 2).sum()

    step = anneal.value_and_grad(loss, argnums=(0, 1))
    programs.agree(step, normal(5, 3, 3, 3), normal(2, 3, size, size))


@pytest.mark.parametrize("n", [16, 17])
def test_an_update_in_place_reads_each_element_before_it_is_written(tiles: None, n: int) -> None:
    x, g, w = normal(20, n), normal(20, 9), normal(n, 9)

    def step(w: Any, x: Any, g: Any) -> Any:
        return w - 0.1 * (x.T @ g), g.sum(0)

    with anneal.default_device("webgpu"):
        given = anp.asarray(w) + 0.0
        f = anneal.jit(step, donate_argnums=0)
        assert f.lower(given, x, g).memory_analysis()["alias_size_in_bytes"] == w.nbytes
        got, total = f(given, x, g)
    np.testing.assert_allclose(np.asarray(got), w - 0.1 * (x.T @ g), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.asarray(total), g.sum(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", programs.small()[-9:], ids=lambda p: p.name)
def test_programs(tiles: None, p: programs.Program) -> None:
    programs.agree(p.function, *p.args)


@settings(parent=_SETTINGS, max_examples=60)
@given(examples("exact"), st.sampled_from(LIMITS))
def test_random_graphs(tiles: None, example: Example, limits: Limits) -> None:
    compare(example, limits, None)
