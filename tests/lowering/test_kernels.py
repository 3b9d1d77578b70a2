"""The kernels' loop nests: index arithmetic without needless division."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import lax, nn
from anneal.kernel.heuristic import Choices
from anneal.kernel.target import CPU
from anneal.lowering import code, kernels
from anneal.lowering.limits import Limits
from anneal.lowering.plan import lower
from anneal.memo import Memo
from anneal.rules import _symbolic


@pytest.fixture(autouse=True)
def _without_opts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels as the scheduler leaves them, made anew."""
    monkeypatch.setitem(code._TARGETS, "cpu", (Choices, code._for_cpu))
    monkeypatch.setattr(code, "_written", Memo(1000))


def sources(f: Any, *shapes: tuple[int, ...]) -> list[str]:
    """The loop nests of `f` on float32 arguments of these shapes."""
    lowered = anneal.jit(f).lower(*[np.zeros(s, np.float32) for s in shapes])
    plan = lower(lowered.graph, Limits(32, target=CPU), frozenset())
    return [nest.text for launch in plan.launches for nest in launch.kernel.nests]


def divisions(kernels: list[str]) -> list[str]:
    """Lines that divide integers."""
    return [line for text in kernels for line in text.splitlines() if re.search(r"//|%", line)]


def conv(x: Any, w: Any) -> Any:
    return nn.relu(lax.conv_general_dilated(x, w, (1, 1), "SAME"))


PROGRAMS = {
    "convolution": (conv, (2, 3, 8, 8), (4, 3, 3, 3)),
    "reshape there and back": (lambda x: x.reshape(6, 20).reshape(3, 2, 20) * 2, (3, 40)),
    "flip of a slice": (lambda x: x[::-1][1:4] + 1, (6, 5)),
    "strided slice": (lambda x: x[::2] + 1, (7, 5)),
    "padding": (lambda x: anp.pad(x, 2) * 2, (3, 4)),
    "rows of a reshape": (lambda x: (x.reshape(4, 6) + x.reshape(4, 6)[::-1]), (2, 12)),
    "mean of a slice": (lambda x: (x[1:, 2:] * 1.0 + 0.0).mean(), (4, 5)),
    "pool": (nn.max_pool, (2, 3, 8, 8)),
    "transpose": (lambda x: x.reshape(2, 3, 4).transpose(2, 0, 1) + 1, (6, 4)),
}


@pytest.mark.parametrize("name", [n for n in PROGRAMS if n != "rows of a reshape"])
def test_no_division_of_loop_counters(name: str) -> None:
    f, *shapes = PROGRAMS[name]
    assert divisions(sources(f, *shapes)) == []


def test_a_convolutions_gradients_divide_no_counters() -> None:
    def loss(x: Any, w: Any) -> Any:
        return (conv(x, w) ** 2).sum()

    assert divisions(sources(anneal.grad(loss, argnums=(0, 1)), (2, 3, 8, 8), (4, 3, 3, 3))) == []


# -- the rewriter is what does the work: without a rule, the kernels are others --------------------

NEEDED = {
    "fold_mul": "convolution",
    "mul_one": "mean of a slice",
    "and_true": "padding",
    "mul_const": "strided slice",
    "sub_as_add": "flip of a slice",
    "distribute": "transpose",
    "sum_form": "pool",
    "split_quotient": "rows of a reshape",
    "split_remainder": "rows of a reshape",
    "coarser_quotient": "rows of a reshape",
    "negative_remainder": "rows of a reshape",
    "lt_form": "convolution",
}


@pytest.mark.parametrize("rule", NEEDED)
def test_without_a_rule_kernels_change(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f, *shapes = PROGRAMS[NEEDED[rule]]
    before = sources(f, *shapes)
    for memo in (kernels._positions, kernels._reshapes):  # made by the rules that were
        memo.clear()
    monkeypatch.setattr(_symbolic, "RULES", _symbolic.RULES.without(rule))
    changed = sources(f, *shapes) != before
    for memo in (kernels._positions, kernels._reshapes):
        memo.clear()
    assert changed
