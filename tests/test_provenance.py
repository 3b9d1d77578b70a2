"""Lines: of every program its own, though its nodes, plans and kernels may be another's too."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import provenance
from anneal.errors import ConcretizationTypeError, NonDifferentiableError, UnexpectedTracerError
from anneal.lowering.split import split_long
from anneal.provenance import Lines, Table, lines_of, recording
from anneal.uop import dtypes, ops
from anneal.uop.uop import Graph, Origin, UOp, const, live_nodes, param, scatter

A, B, C = (Origin("a.py", n) for n in (1, 2, 3))
DEVICES = ["interpreter", "webgpu", "cpu"]
X = np.linspace(0.1, 1.0, 8, dtype=np.float32)


@pytest.fixture(params=DEVICES, autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with anneal.default_device(request.param):
        yield request.param


def program(file: str, source: str, **names: Any) -> dict[str, Any]:
    """The names that `source` defines, as if it stood in `file`."""
    names |= {"anneal": anneal, "anp": anp, "np": np}
    exec(compile(source, file, "exec"), names)
    return names


def function(file: str, body: str, first: int = 1) -> Callable[..., Any]:
    """`def f(x)` with `body`, whose first line is line `first` + 1 of `file`."""
    source = "\n" * (first - 1) + "def f(x):\n" + "".join(f"    {s}\n" for s in body.splitlines())
    found: Callable[..., Any] = program(file, source)["f"]
    return found


def profiled(run: Callable[[], Any]) -> list[str]:
    """The lines of all kernels that `run` runs."""
    with anneal.profile() as p:
        np.asarray(run())
    assert p.rows, "nothing ran"
    return sorted({line for row in p.rows for line in row["lines"]})


class Kept:
    """`f(x)`, when called; argument and result stay alive in `among`."""

    def __init__(self, among: list[Any], f: Callable[..., Any], x: Any) -> None:
        self.among, self.f, self.x = among, f, x

    def __call__(self) -> Any:
        self.among += [self.x, self.f(self.x)]
        return self.among[-1]


def shown(text: str) -> set[str]:
    """The lines that a graph's or kernels' text names."""
    found: set[str] = set()
    for line in text.splitlines():
        _, mark, places = line.partition("  # ")
        found |= set(places.split(", ")) if mark else set()
        for phase in ("forward", "backward", "recomputed"):
            if line.startswith(f"    {phase}: "):
                for place in line.split(": ", 1)[1].split("; "):
                    file, numbers = place.rsplit(":", 1)
                    found |= {f"{file}:{n}" for n in numbers.split(", ")}
    return found


TWICE = """a = anp.sin(x)
b = anp.sin(x)
return a + b"""
CONSTANT = """bias = anp.cos(anp.arange(8) * 0.5)
steps = anp.arange(8) * 2
return anp.exp(x) * bias + steps"""
LAYERS = """h = anp.tanh(x @ x.T)
h = h - h.mean(0)
return (h * h).sum()"""
SQUARE = X.reshape(2, 4) @ X.reshape(2, 4).T


# -- one expression on several lines ---------------------------------------------------------------


def test_one_expression_on_two_lines_is_of_both() -> None:
    f = function("twice.py", TWICE)
    lowered = anneal.jit(f).lower(X)
    sine = next(s for s in lowered.as_text().splitlines() if "SIN" in s)
    assert sine.endswith("  # twice.py:2, twice.py:3")
    assert "    forward: twice.py:2, 3, 4" in lowered.as_text("kernels")
    want = ["twice.py:2", "twice.py:3", "twice.py:4"]
    assert profiled(lambda: anneal.jit(f)(X)) == want
    x = anp.asarray(X)
    assert profiled(lambda: f(x)) == want


def test_what_a_call_makes_inside_is_of_both_lines_too() -> None:
    f = function("soft.py", "a = anneal.nn.softmax(x)\nb = anneal.nn.softmax(x)\nreturn a * b")
    graph = anneal.jit(f).lower(X).as_text()
    for op in ("REDUCE[('max'", "EXP", "REDUCE[('add'"):
        line = next(s for s in graph.splitlines() if op in s)
        assert line.endswith("  # soft.py:2, soft.py:3"), line


def test_what_a_call_is_given_is_not_of_its_line() -> None:
    graph = anneal.jit(function("given.py", "a = anp.sin(x)\nb = a * 2\nreturn b + a * 2")).lower(X)
    sine, double = graph.as_text().splitlines()[1:3]
    assert sine.endswith("  # given.py:2")
    assert double.endswith("  # given.py:3, given.py:4")


def test_one_expression_on_hundreds_of_lines_is_of_the_first() -> None:
    """Or each of them would cost as much as there are."""
    f = function("long.py", "y = x\n" + "y = y + x * x\n" * 300 + "return y.sum()")
    for program in (f, anneal.grad(f)):
        lowered = anneal.jit(program).lower(X)
        assert max(map(len, lowered.graph.lines.values())) == 64
        assert {"long.py:3", "long.py:66"} <= shown(lowered.as_text())


def test_lines_that_become_one_by_a_rule_are_both_kept() -> None:
    f = function("rules.py", "a = x * 1 + 3\nb = x + 3\nreturn a * b")
    assert shown(anneal.jit(f).lower(np.arange(8)).as_text("kernels")) == {
        f"rules.py:{n}" for n in (2, 3, 4)
    }


def test_a_reduction_of_a_reduction_is_of_both_lines() -> None:
    f = function("sums.py", "a = x.sum(1)\nreturn a.sum()")
    assert "forward: sums.py:2, 3" in anneal.jit(f).lower(SQUARE).as_text("kernels")


def test_all_kernels_of_a_long_sum_are_of_its_line() -> None:
    text = anneal.jit(function("long.py", "return x.sum()")).lower(anp.ones(100_000)).as_text(
        "kernels")  # fmt: skip
    assert text.count(" workgroup (") == text.count("    forward: long.py:2") == 2


def test_a_scatter_into_a_sum_is_of_both_lines() -> None:
    base, rows = param(dtypes.float32, (70_000,)), param(dtypes.float32, (6,))
    added = scatter("add", param(dtypes.int32, (6,)), rows, 0, 70_000)
    table = Table({added: (A,), base + added: (B,)})
    (out,) = split_long([base + added], table.carry)
    assert out.op is ops.SCATTER and out.src[2] is not base
    assert set(table.of(out)) == {A, B}


PROGRAMS = {
    "layers": LAYERS,
    "sum": "y = x * x\nreturn (y + anp.sin(x)).sum()",
    "relu": "h = anneal.nn.relu(x @ x.T)\ny = anneal.nn.relu(h @ x)\nreturn (y * y).mean()",
    "softmax": "return anneal.nn.log_softmax(x)[:, 0].sum() + anp.max(x)",
    "rows": "return (x[1:] * anp.sort(x[0]) + anp.cumsum(x, 1)[::-1][1:]).sum()",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_node_and_kernel_has_a_line_of_the_program(name: str) -> None:
    f = function(f"{name}.py", PROGRAMS[name])
    for run in (f, anneal.grad(f), anneal.value_and_grad(anneal.checkpoint(f))):
        lowered = anneal.jit(run).lower(SQUARE)
        lines = lowered.graph.lines
        for u in lowered.graph.nodes():
            known = {o.file for o in lines.get(u, ())}
            assert known == {f"{name}.py"} or (not known and not u.src), u
        kernels = Lines(lowered.graph)
        for launch in lowered.plan.launches:
            assert kernels.of(launch.made)


def test_a_value_that_python_branches_on_has_its_line() -> None:
    f = function("branch.py", "a = anp.exp(x).sum()\nif a > 1:\n    a = a * 2\nreturn a")
    with anneal.profile() as p:
        anneal.grad(f)(X)
    assert len(p.rows) > 1
    assert all(row["lines"] for row in p.rows)


# -- programs of the same body ---------------------------------------------------------------------


@pytest.mark.parametrize("body", [TWICE, CONSTANT], ids=["twice", "constant"])
@pytest.mark.parametrize("how", ["jit", "eager"])
def test_programs_of_one_body_have_their_own_lines(body: str, how: str) -> None:
    alive: list[Any] = []
    for file, first in (("one.py", 1), ("two.py", 40), ("one.py", 7)):
        f = function(file, body, first)
        x = anp.asarray(X)
        run = anneal.jit(f) if how == "jit" else f
        want = [f"{file}:{first + n}" for n in (1, 2, 3)]
        alive.append(run)
        assert profiled(Kept(alive, run, x)) == sorted(want)
        if how == "jit":
            lowered = run.lower(x)  # type: ignore[attr-defined]
            assert shown(lowered.as_text()) == shown(lowered.as_text("kernels")) == set(want)


@pytest.mark.parametrize("how", ["jit", "eager"])
@pytest.mark.parametrize("transform", ["grad", "value_and_grad", "checkpoint"])
def test_derivatives_of_programs_of_one_body(transform: str, how: str) -> None:
    alive: list[Any] = []
    for file, first in (("one.py", 1), ("two.py", 30)):
        f = function(file, LAYERS, first)
        want = [f"{file}:{first + n}" for n in (1, 2, 3)]
        run: Any = anneal.grad(anneal.checkpoint(f) if transform == "checkpoint" else f)
        if transform == "value_and_grad":
            both = anneal.value_and_grad(f)
            run = lambda x, both=both: sum(both(x))  # noqa: E731
        if how == "jit":
            run = anneal.jit(run)
        x = anp.asarray(SQUARE)
        alive.append(run)
        found = profiled(Kept(alive, run, x))
        assert [s for s in found if not s.startswith(__file__)] == sorted(want)
        if how == "jit":
            text = run.lower(x).as_text("kernels")
            assert "backward: " in text and ("recomputed: " in text) == (transform == "checkpoint")
            assert {s for s in shown(text) if not s.startswith(__file__)} == set(want)


def test_a_constant_after_an_inner_trace_is_the_outer_ones() -> None:
    held = function("eager.py", "return anp.zeros(8) + 3")(X)
    layer = anneal.checkpoint(function("inner.py", "return anp.exp(x)"))
    f = program("outer.py", "def f(x):\n    h = layer(x)\n    return h * (anp.zeros(8) + 3)",
                layer=layer)["f"]  # fmt: skip
    assert shown(anneal.jit(f).lower(X).as_text()) == {"inner.py:2", "outer.py:3"}
    assert lines_of(held.uop) == (Origin("eager.py", 2),)


def test_vjp_of_programs_of_one_body() -> None:
    alive: list[Any] = []
    for file in ("one.py", "two.py"):
        f = function(file, LAYERS)
        out, pullback = anneal.vjp(f, SQUARE)
        alive += [out, pullback]
        found = profiled(Kept(alive, lambda g, pullback=pullback: pullback(g)[0], 1.0))
        assert [s for s in found if not s.startswith(__file__)] == [
            f"{file}:{n}" for n in (2, 3, 4)
        ]


def test_inlined_functions_keep_their_lines() -> None:
    for file in ("one.py", "two.py"):
        inner = anneal.jit(function(file, CONSTANT))
        outer = anneal.jit(lambda x, inner=inner: inner(anp.cos(x)))
        inner(X)
        assert {s.rsplit(":")[0] for s in shown(outer.lower(X).as_text())} == {file, __file__}


def test_a_captured_expression_is_computed_before_on_lines_of_its_own() -> None:
    x = anp.asarray(X)
    pending = function("captured.py", "return anp.exp(x) + 1")(x)
    f = program("user.py", "def f(y):\n    return y * pending\n", pending=pending)["f"]
    assert shown(anneal.jit(f).lower(X).as_text()) == {"user.py:2"}


def test_zeros_that_eager_code_holds_do_not_leak_into_traces(device: str) -> None:
    constant = f"anp.zeros(8) + {len(device)}"  # whose value no other test knows
    held = function("eager.py", f"return anp.zeros(8), {constant}")(X)
    f = function("jitted.py", f"return {constant} + x")
    assert shown(anneal.jit(f).lower(X).as_text()) == {"jitted.py:2"}
    slope = anneal.jit(anneal.grad(function("slope.py", "return (anp.zeros(8) + x * x).sum()")))
    assert shown(slope.lower(1.0).as_text()) == {"slope.py:2"}
    assert profiled(lambda: held[1]) == ["eager.py:2"]


def test_zeros_of_a_jitted_function_do_not_leak_into_eager_code(device: str) -> None:
    constant = f"anp.zeros(8) + {len(device) + 100}"
    f = anneal.jit(function("jitted.py", "return anp.zeros(8) + x"))
    lowered = f.lower(X)
    f(X)
    eager = function("eager.py", f"return {constant}")
    assert profiled(lambda: eager(X)) == ["eager.py:2"]
    assert shown(lowered.as_text()) == {"jitted.py:2"}


def test_a_value_that_was_computed_on_the_way_is_data() -> None:
    x = anp.asarray(X)
    y = function("first.py", "return anp.sin(x)")(x)
    np.asarray(function("second.py", "return x + 1")(y))
    assert profiled(lambda: function("third.py", "return x * 3")(y)) == ["third.py:2"]


def test_a_part_that_an_earlier_program_computed_too() -> None:
    x = anp.asarray(X)
    kept = function("one.py", "return anp.sin(x).sum()")(x)
    np.asarray(kept)
    assert profiled(lambda: function("two.py", "return anp.sin(x).max()")(x)) == ["two.py:2"]


CACHED = """
import json, sys
import numpy as np
import anneal, anneal.numpy as anp
def f(x):
    h = anp.tanh(x) * 2
    return (h * anp.arange(6)).sum()
x = np.ones(6, np.float32)
step = anneal.jit(anneal.value_and_grad(f))
with anneal.profile() as p:
    step(x)
lines = sorted({int(s.rsplit(":")[-1]) for row in p.rows for s in row["lines"]})
print(json.dumps([anneal.stats()["plans_loaded"], lines]))
"""


def test_a_plan_from_disk_says_the_lines_of_the_program_in_hand(
    tmp_path: Path, device: str
) -> None:
    if device != "webgpu":
        pytest.skip("the interpreter has no plans")
    found = []
    for n, moved in enumerate((0, 5, 20)):
        script = tmp_path / f"program{n % 2}.py"
        script.write_text("\n" * moved + CACHED)
        env = os.environ | {"ANNEAL_DEVICE": "webgpu", "ANNEAL_CACHE_DIR": str(tmp_path)}
        env["PYTHONPATH"] = str(Path(anneal.__file__).parents[1])
        done = subprocess.run([sys.executable, script], env=env, capture_output=True, check=True)
        found.append(json.loads(done.stdout))
    assert found == [[0, [6, 7]], [1, [11, 12]], [1, [26, 27]]]


# -- errors ----------------------------------------------------------------------------------------


def test_errors_say_the_line_of_their_program() -> None:
    held: list[Any] = []
    for file, line in (("one.py", 2), ("two.py", 12)):
        branch = function(file, "return 1 if anp.sin(x) > 0 else 2", line - 1)
        with pytest.raises(ConcretizationTypeError, match=rf" made at {file}:{line} .* argument x"):
            anneal.jit(branch)(1.0)
        leak = program(file, "\n" * (line - 1) + "def f(x): held.append(anp.cos(x)); return x",
                       held=held)["f"]  # fmt: skip
        for transform in (anneal.jit, anneal.grad, anneal.checkpoint):
            transform(leak)(1.0)
            message = rf"x of f. It was made at {file}:{line}\."
            with pytest.raises(UnexpectedTracerError, match=message):
                float(held[-1])
        bits = program(file, "\n" * (line - 1) + "def f(x): return make(bits(x.uop))",
                       make=anneal.array.make,
                       bits=lambda u: UOp(ops.BITCAST, dtypes.float32, (u,)))["f"]  # fmt: skip
        with pytest.raises(NonDifferentiableError, match=rf"BITCAST at {file}:{line} has"):
            anneal.grad(bits)(1.0)


def test_a_leak_into_another_trace_says_whose_argument_it_is() -> None:
    held: list[Any] = []
    for file in ("one.py", "two.py"):
        names = program(file, "def f(x): held.append(x + 1); return x\nanneal.jit(f)(1.0)",
                        held=held)  # fmt: skip
        message = rf"argument x of f\. It was made at {file}:2\."
        with pytest.raises(UnexpectedTracerError, match=message):
            anneal.jit(lambda y: y * held[-1])(1.0)
        assert names["held"] is held


# -- the tables ------------------------------------------------------------------------------------


def sizes() -> tuple[int, int, int]:
    gc.collect()
    return live_nodes(), len(provenance._known), len(provenance._arguments)


def test_exceptions_leave_no_table_behind() -> None:
    def fails(x: Any) -> Any:
        _ = anp.zeros(5) + x
        raise KeyboardInterrupt

    def settles(transform: Any) -> None:
        with pytest.raises(KeyboardInterrupt):
            transform(fails)(1.0)

    for transform in (anneal.jit, anneal.grad, anneal.checkpoint):
        settles(transform)
        before = sizes()
        for _ in range(20):
            settles(transform)
        assert sizes() == before
        assert provenance._trace() is None


def test_a_table_that_an_interrupt_leaves_in_force_is_not() -> None:
    recording().__enter__()  # an exception here would leave `with` no chance to end it
    assert provenance._trace() is None
    assert profiled(lambda: function("after.py", "return anp.exp(x)")(anp.asarray(X))) == [
        "after.py:2"
    ]


def test_loops_leave_no_lines_behind() -> None:
    w = anp.asarray(X)
    step = anneal.jit(lambda w: w * 0.5)
    slope = anneal.grad(lambda w: (w * w).sum())
    counts = []
    for _ in range(30):
        w = step(w) - 0.1 * slope(w)
        w.block_until_ready()
        counts.append(sizes())
    assert counts[10] == counts[-1]


def test_threads_trace_one_body_at_once() -> None:
    """Each while the other does: neither's constants get the other's lines."""
    meet, found = threading.Barrier(2, timeout=60), {}

    def run(file: str) -> None:
        body = "meet.wait()\nz = anp.zeros(8) + 1\nmeet.wait()\nreturn z * x"
        source = "def f(x):\n" + "".join(f"    {s}\n" for s in body.splitlines())
        f = program(file, source, meet=meet)["f"]
        found[file] = shown(anneal.jit(f).lower(X).as_text())

    threads = [threading.Thread(target=run, args=(file,)) for file in ("one.py", "two.py")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for file in ("one.py", "two.py"):  # a constant that the other holds is computed before
        assert {f"{file}:5"} <= found[file] <= {f"{file}:3", f"{file}:5"}


def test_a_table_carries_what_stands_for_what() -> None:
    x = param(dtypes.float32, (3,))
    one, two, inner = x * 2.0, x * 3.0, x + 1.0
    table = Table({one: (A,), two: (B,)})
    new = inner * 5.0
    table.carry(one, new)
    assert table.of(new) == table.of(inner) == (A,)
    table.carry(two, new)
    table.carry(one, new)
    assert (table.of(new), table.of(inner), table.of(one)) == ((A, B), (A,), (A,))
    table.carry(x, two)
    table.add(two, ())
    assert table.of(two) == (B,) and table.of(x) == ()
    assert table.whole() == {one: (A,), two: (B,), new: (A, B), inner: (A,)}


def test_one_node_that_stands_for_very_many() -> None:
    x = param(dtypes.int32, (3,))
    kept = x + 1
    table = Table({kept: (-1,)})
    for i in range(50_000):
        old = x + (i + 2)
        table.add(old, (i,))
        table.carry(old, kept)
    assert table.of(kept) == (-1, *range(50_000))


def test_lines_are_asked_by_position() -> None:
    x = param(dtypes.float32, (3,))
    y = x * 2.0
    z = y + y
    lines = Lines(Graph((x,), (z,), {y: (A, B), z: (B, C)}))
    place = {u: i for i, u in enumerate(Graph((x,), (z,)).nodes())}
    assert lines.of([place[y]]) == (A, B)
    assert lines.of(place.values()) == lines.whole() == (A, B, C)
    assert Lines(Graph((x,), (z,))).of(place.values()) == ()


def test_graphs_that_differ_in_lines_only_are_equal() -> None:
    x = param(dtypes.float32, (3,))
    one, two = Graph((x,), (x * 2.0,), {x * 2.0: (A,)}), Graph((x,), (x * 2.0,))
    assert one == two and hash(one) == hash(two) and one.key() == two.key()


def test_constants_and_data_have_no_lines() -> None:
    assert lines_of(anp.asarray(2.0).uop) == lines_of(anp.asarray(X).uop) == ()
    assert lines_of(const(2.0, dtypes.float32)) == ()
