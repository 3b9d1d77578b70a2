"""Rows by a workgroup: what real GPUs run; here on whatever adapter there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anneal
import anneal.numpy as anp
from anneal import device, nn
from anneal.lowering import cooperate
from anneal.lowering.limits import Limits
from anneal.lowering.plan import Plan
from anneal.memo import Memo
from anneal.uop import dtypes, ops
from anneal.uop.uop import Graph, param
from tests import programs
from tests.random_graphs import Example, examples
from tests.test_differential import _SETTINGS, compare

LIMITS = Limits(32, gpu=True)
_rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return _rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def webgpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device with workgroups that share, whatever its adapter is."""
    monkeypatch.setattr(device.get("webgpu"), "limits", LIMITS)
    monkeypatch.setattr(device, "_compiled", Memo(1000))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sharing of every loop that can be shared."""
    monkeypatch.setattr(cooperate, "_SHORT", 2)
    monkeypatch.setattr(cooperate, "_LONG", 2)
    monkeypatch.setattr("anneal.lowering.plan._kernels", Memo(1000))


def plan(f: Any, *args: Any) -> Plan:
    with anneal.default_device("webgpu"):
        found: Plan = anneal.jit(f).lower(*args).plan
    return found


def standardise(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / anp.sqrt(x.var(-1, keepdims=True) + 1e-5)


ROWS = {
    "softmax": nn.softmax, "log-softmax": nn.log_softmax, "standardise": standardise,
    "sum": lambda x: x.sum(-1), "max": lambda x: x.max(-1), "min and product": lambda x:
    (x.min(-1), anp.prod(anp.tanh(x) * 0.01 + 1, -1)), "any": lambda x: (x > 2).any(-1),
    "argmax": lambda x: anp.argmax(x, -1), "integers": lambda x: (x * 10).astype(int).sum(-1),
    "halves": lambda x: nn.softmax(x.astype(anp.float16)).astype(anp.float32),
    "two rows": lambda x: nn.softmax(x) - nn.softmax(x[:, ::-1]),
    "scalars beside rows": lambda x: (nn.softmax(x), x.max(-1) * 2, x.sum()),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 128), (5, 1000), (2, 4097)])
@pytest.mark.parametrize("name", ROWS)
def test_rows(webgpu: None, name: str, shape: tuple[int, int]) -> None:
    programs.agree(ROWS[name], normal(*shape))


def test_a_row_is_a_workgroups(webgpu: None) -> None:
    (launch,) = plan(nn.softmax, normal(40, 1000)).launches
    assert launch.kernel.grid == (40, 1, 1)
    assert "max_of_f32" in launch.kernel.source
    assert "r1 < 16" in launch.kernel.source  # 1000 elements by 64 lanes


def test_more_than_one_axis_of_workgroups(webgpu: None) -> None:
    x = normal(40_000, 128)
    assert plan(lambda x: x.sum(-1), x).launches[0].kernel.grid == (32768, 2, 1)
    programs.agree(lambda x: x.sum(-1), x)


def test_what_is_not_shared(webgpu: None) -> None:
    for f, x in [
        (nn.softmax, normal(7, 100)),  # short
        (lambda x: x.sum(0), normal(500, 2000)),  # neighbours would read far apart
        (lambda x: x @ x.T, normal(300, 300)),  # many results
        (lambda x: x * 2, normal(300, 300)),  # no loop
    ]:
        assert not any("lane" in k.kernel.source for k in plan(f, x).launches)


def test_logits_of_a_row_are_shared_memory(webgpu: None) -> None:
    """A product of a row and its cross-entropy: each logit a sum by all lanes."""
    x, w, y = normal(64, 300), normal(300, 10), programs.labels(10, 64)

    def loss(w: Any, x: Any) -> Any:
        return nn.cross_entropy(x @ w, y)

    programs.agree(anneal.value_and_grad(loss, argnums=(0, 1)), w, x)
    sources = [k.kernel.source for k in plan(anneal.value_and_grad(loss), w, x).launches]
    assert any("var<workgroup> w0" in s and "workgroupBarrier();" in s for s in sources)


def test_an_update_in_place_is_left_to_one_invocation(webgpu: None) -> None:
    """A lane that is late would read what the first has written."""
    x, bias = normal(40, 500), normal(40)
    f = anneal.jit(lambda b, x: b - x.sum(-1) * b, donate_argnums=0)
    with anneal.default_device("webgpu"):
        given = anp.asarray(bias) + 0.0
        assert f.lower(given, x).memory_analysis()["alias_size_in_bytes"] == bias.nbytes
        assert "lane" not in f.lower(given, x).kernels[0].source
        got = np.asarray(f(given, x))
    np.testing.assert_allclose(got, bias - x.sum(-1) * bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [64, 129, 700])
def test_values_of_the_same_row_stored_and_read_again(n: int) -> None:
    """More than registers hold: written by some lanes, read by others."""
    x = param(dtypes.float32, (3, n))
    y = x.alu(ops.EXP)
    flipped = y.flip((1,))
    graph = Graph((x,), (y, y - y.sum((1,)).reshape((3, 1)).expand((3, n)), flipped * 2.0))
    compare(Example(graph, (normal(3, n),)), LIMITS, 1e-4)


@pytest.mark.parametrize("p", programs.small(), ids=lambda p: p.name)
def test_programs(webgpu: None, eager: None, p: programs.Program) -> None:
    programs.agree(p.function, *p.args)


@pytest.mark.parametrize("family", ["exact", "smooth"])
@settings(parent=_SETTINGS, max_examples=40)
@given(st.data())
def test_random_graphs(eager: None, family: str, data: st.DataObject) -> None:
    example = data.draw(examples(family))
    compare(example, LIMITS, None if family == "exact" else 1e-4)
