"""Schedules as text, one file a program and target: what a change of the scheduler or of a
heuristic does to kernels is seen in its diff. `pytest tests/kernel/test_goldens.py
--update-goldens` writes them anew. Each schedule also runs: on the kernels' interpreter, and on its
device.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import device, nn, optim
from anneal.interpret import evaluate
from anneal.kernel.heuristic import for_cpu, for_webgpu
from anneal.kernel.target import CPU, SOFTWARE, WEBGPU, Target
from anneal.lowering.limits import Limits
from anneal.lowering.plan import lower
from tests import programs
from tests.kernel.run import plan_on_interpreter
from tests.lowering.test_nests import graph_of

FOLDER = Path(__file__).parent / "goldens"
TARGETS: dict[str, Target] = {"cpu": CPU, "software": SOFTWARE, "gpu": WEBGPU}


def layer_norm(x: Any, g: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / anp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * g


def attention(q: Any, k: Any, v: Any) -> Any:
    scores = anp.einsum("htd,hsd->hts", q, k) / 4
    seen = anp.arange(q.shape[1])[:, None] >= anp.arange(k.shape[1])
    return anp.einsum("hts,hsd->htd", nn.softmax(anp.where(seen, scores, -1e30)), v)


def embedding_gradient(table: Any, ids: Any) -> Any:
    return anneal.grad(lambda t: (t[ids] ** 2).sum())(table)


def adam_step(w: Any, x: Any) -> Any:
    grads = anneal.grad(lambda w: (nn.gelu(x @ w) ** 2).mean())(w)
    adam = optim.adam(1e-3)
    updates, _ = adam.update(grads, adam.init(w), w)
    return w + updates


def normal(*shape: int) -> Any:
    return programs.normal(*shape)


IDS = np.arange(200, dtype=np.int32) * 7 % 100
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "matmul": (lambda a, b, c: nn.relu(a @ b + c), (normal(64, 96), normal(96, 130), normal(130))),
    "matmul_of_transposes": (lambda a, b: a.T @ b.T, (normal(61, 67), normal(130, 61))),
    "matrix_vector": (lambda a, x: a @ x, (normal(257, 300), normal(300))),
    "batched_matmul": (lambda a, b: a @ b, (normal(3, 32, 48), normal(3, 48, 64))),
    "softmax": (nn.softmax, (normal(64, 257),)),
    "softmax_of_columns": (lambda x: nn.softmax(x, 0), (normal(64, 257),)),
    "layer_norm": (layer_norm, (normal(64, 256), normal(256))),
    "cross_entropy_gradient": (
        anneal.grad(lambda x: nn.logsumexp(x, axis=1).sum()), (normal(64, 100),)),
    "gelu_chain": (lambda x: nn.gelu(x) * x + 1, (normal(64, 999),)),
    "sum": (lambda x: x.sum(), (normal(300, 301),)),
    "sum_of_columns": (lambda x: x.sum(0), (normal(300, 301),)),
    "argmax": (lambda x: anp.argmax(x, 1), (normal(64, 301),)),
    "transpose": (lambda x: x.T * 2, (normal(300, 301),)),
    "convolution": (lambda x, w: nn.relu(anneal.lax.conv(x, w, (1, 1), "SAME")),
                    (normal(2, 3, 16, 16), normal(8, 3, 3, 3))),
    "attention": (attention, (normal(2, 32, 16), normal(2, 32, 16), normal(2, 32, 16))),
    "embedding_gradient": (embedding_gradient, (normal(100, 48), IDS)),
    "adam_step": (adam_step, (normal(64, 96), normal(32, 64))),
}  # fmt: skip


@pytest.mark.parametrize("where", TARGETS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_schedule(name: str, where: str, request: pytest.FixtureRequest,
                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    function, args = PROGRAMS[name]
    target = TARGETS[where]
    graph, data = graph_of(function, args)
    plan = lower(graph, Limits(32, target=target), frozenset())
    text = ""
    for k in (launch.kernel for launch in plan.launches):
        nests = [n.text for n in k.nests]
        text += "\n".join([f"grid {k.grid} workgroup {k.workgroup}", *nests, ""])
    path = FOLDER / where / f"{name}.txt"
    if request.config.getoption("--update-goldens"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"run with --update-goldens and read the diff of {path.name}"

    expected = evaluate(graph.outputs, dict(zip(graph.inputs, data, strict=True)))
    shape = for_cpu if where == "cpu" else for_webgpu
    close(plan_on_interpreter(graph, data, frozenset(), target, shape, monkeypatch), expected)
    runs: Any = device.get("cpu" if where == "cpu" else "webgpu")
    run = runs.compile(graph, frozenset(), Limits(32, target=target))
    close([runs.read(s) for s in run([runs.upload(x) for x in data])], expected)


def close(got: Any, expected: Any) -> None:
    for g, want in zip(got, expected, strict=True):
        scale = max(1.0, float(np.abs(want).max(initial=0)))
        np.testing.assert_allclose(g.ravel()[: want.size], want.ravel(), 2e-5, 2e-5 * scale)


def test_no_golden_is_of_no_program() -> None:
    found = {(p.parent.name, p.stem) for p in FOLDER.rglob("*.txt")}
    assert found == {(where, name) for where in TARGETS for name in PROGRAMS}
