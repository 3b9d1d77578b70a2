"""Opts by hand: `jit(f, opts=...)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import device, errors
from anneal.memo import Memo

X, W = np.arange(24 * 20, dtype="f").reshape(24, 20) % 7, np.arange(20 * 12, dtype="f") % 5


def f(x: Any, w: Any) -> Any:
    return anp.maximum(x @ w.reshape(20, 12), 3.0)


def name_in(fn: Any, *args: Any) -> str:
    text = anneal.jit(fn).lower(*args).as_text("nests")
    assert text.count("kernel ") == 1
    return str(text.split()[1][:6])


@pytest.fixture(params=["cpu", "webgpu"])
def where(request: pytest.FixtureRequest) -> Any:
    with anneal.default_device(request.param):
        yield request.param


LINES = {"cpu": "SPLIT(g1, 8) VECTOR(g1%8) SPLIT(g0, 3) UNROLL(g0%3) THREAD(g0/3)",
         "webgpu": "SPLIT(g1, 4) VECTOR(g1%4) GRID(g0) LOCAL(g1/4)"}  # fmt: skip


@pytest.mark.parametrize("line", ["", "these", "SPLIT(r2, 7)", "UNROLL(r2)"])
def test_a_kernel_is_shaped_as_asked(where: str, line: str) -> None:
    line = LINES[where] if line == "these" else line
    jitted = anneal.jit(f, opts={name_in(f, X, W): line})
    np.testing.assert_array_equal(jitted(X, W), np.maximum(X @ W.reshape(20, 12), 3))
    (nest,) = jitted.lower(X, W).kernels[0].nests
    assert nest.reasons == (((line, "given by hand"),) if line else ())
    assert nest.asked == line
    assert anneal.jit(f).lower(X, W).kernels[0].nests[0].asked is None


def test_one_nest_of_two_launches_keeps_its_name() -> None:
    x = np.arange(4096, dtype="f")
    with anneal.default_device("cpu"):
        name = name_in(lambda x: x.max(), x)
        jitted = anneal.jit(lambda x: x.max(),
                            opts={name: "SPLIT(r0, 512) GROUP(r0/512) THREAD(r0/512)"})  # fmt: skip
        first, second = [k.nests[0] for k in jitted.lower(x).kernels]
        assert float(jitted(x)) == 4095
    assert first.key == second.key and first.reasons == second.reasons
    assert first.text != second.text


def test_opts_are_part_of_what_is_remembered(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEAL_CACHE_DIR", str(tmp_path))
    name = name_in(f, X, W)
    texts = set()
    for line in ("", "UNROLL(r2)", None):
        for _ in range(2):
            monkeypatch.setattr(device, "_compiled", Memo(1000))
            jitted = anneal.jit(f, opts=None if line is None else {name: line})
            np.testing.assert_array_equal(jitted(X, W), np.maximum(X @ W.reshape(20, 12), 3))
            texts.add(jitted.lower(X, W).as_text("source"))
    assert len(texts) == 3


REFUSED = [
    ("SPLIT(q, 4)", "SPLIT(q, 4): no range is called q; there are g0, g1, r2"),
    ("LOOP(g0) VECTOR(g1)", "VECTOR(g1): {} has no vectors of 12 lanes for g1"),
    ("VECTOR(r2)", "VECTOR(r2): {} has no vectors of 20 lanes for r2"),
    ("SPLIT(g0, 4) VECTOR(g0%4) SPLIT(g0%4, 2)", "SPLIT(g0%4, 2): g0%4 is vector already"),
    ("STAGE(7, r2)", "STAGE(7, r2): no LOAD of argument 7 depends on all of r2"),
    ("SPLIT(g0, 0)", "SPLIT(g0, 0): cannot split into parts of 0"),
]


@pytest.mark.parametrize(("line", "why"), REFUSED, ids=[line for line, _ in REFUSED])
def test_what_a_kernel_cannot_take(where: str, line: str, why: str) -> None:
    name = name_in(f, X, W)
    jitted = anneal.jit(f, opts={name: line})
    for act in (lambda: jitted(X, W), lambda: jitted.lower(X, W).plan):
        with pytest.raises(errors.LoweringError) as refused:
            act()
        said = str(refused.value)
        assert f"has opts that kernel {name} refuses: " in said
        assert why.format(where) in said
        assert "test_opts.py:" in said
    assert "loop g0 < 24" in jitted.lower(X, W).as_text("nests")  # to look at all the same


def test_what_would_be_written_out_without_end(where: str) -> None:
    x = np.ones((300, 200), "f")
    jitted = anneal.jit(anp.sin, opts={name_in(anp.sin, x): "UNROLL(g0, g1)"})
    with pytest.raises(errors.LoweringError, match="240806 operations to write out, more than"):
        jitted(x)


def test_a_kernel_that_the_program_does_not_have(where: str) -> None:
    jitted = anneal.jit(f, opts={"0123ab": "UNROLL(r2)"})
    with pytest.raises(errors.LoweringError, match="opts name kernel 0123ab, which the program "
                       f"does not have; it has {name_in(f, X, W)}: see"):  # fmt: skip
        jitted(X, W)


BAD: list[tuple[Any, type[Exception], str]] = [
    ("SPLIT(i, 8)", TypeError, "expected a mapping from names of kernels to lines of Opts"),
    ({"r_0123ab_0": ""}, ValueError, "six digits such as '51484f', got 'r_0123ab_0'"),
    ({3: ""}, ValueError, "six digits such as '51484f', got 3"),
    ({"0123ab": ["SPLIT(i, 8)"]}, TypeError, "opts['0123ab'] of jit: expected a line of Opts"),
    ({"0123ab": "SPLIT(i, 8"}, ValueError, "opts['0123ab'] of jit: expected Opts such as"),
    ({"0123ab": "SPLAT(i, 8)"}, ValueError, "of SPLIT, MERGE, CUT"),
    ({"0123ab": "SPLIT(i)"}, ValueError, "expected SPLIT(range, number), got SPLIT(i)"),
    ({"0123ab": "SPLIT(i, j)"}, ValueError, "expected SPLIT(range, number), got SPLIT(i, j)"),
    ({"0123ab": "SPLIT(i, -1)"}, ValueError, "expected SPLIT(range, number), got SPLIT(i, -1)"),
    ({"0123ab": "SPLIT(i, ²)"}, ValueError, "expected SPLIT(range, number), got SPLIT(i, ²)"),
    ({"0123ab": "VECTOR(4)"}, ValueError, "expected VECTOR(range, ...), got VECTOR(4)"),
    ({"0123ab": "VECTOR()"}, ValueError, "expected VECTOR(range, ...), got VECTOR()"),
    ({"0123ab": "STAGE(i, j)"}, ValueError, "expected STAGE(number, range, ...), got STAGE(i, j)"),
    ({"0123ab": "STAGE(1)"}, ValueError, "expected STAGE(number, range, ...), got STAGE(1)"),
    ({"0123ab": "GROUP(i, j)"}, ValueError, "expected GROUP(range), got GROUP(i, j)"),
]


@pytest.mark.parametrize(("opts", "kind", "why"), BAD, ids=[str(o) for o, _, _ in BAD])
def test_what_are_no_opts(opts: Any, kind: type[Exception], why: str) -> None:
    with pytest.raises(kind) as refused:
        anneal.jit(f, opts=opts)
    assert why in str(refused.value)


def test_nests_are_shown_once_and_without_opts() -> None:
    def layers(w: Any, x: Any) -> Any:
        for _ in range(3):
            x = anp.tanh(x @ w)
        return x

    args = np.ones((32, 32), "f"), np.ones((64, 32), "f")
    with anneal.default_device("cpu"):
        text = anneal.jit(layers).lower(*args).as_text("nests")
    assert text.count("kernel ") == 1
    assert "SPLIT" not in text and "loop g0 < 64" in text


def test_opts_of_what_is_inlined_are_not_looked_at(where: str) -> None:
    inner = anneal.jit(f, opts={"0123ab": "UNROLL(r2)"})
    outer = anneal.jit(lambda x, w: inner(x, w) + 1)
    np.testing.assert_array_equal(outer(X, W), np.maximum(X @ W.reshape(20, 12), 3) + 1)
