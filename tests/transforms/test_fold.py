"""Calls: jitted functions, and checkpointed ones, within others. What they compute, and how."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import Array, errors, lax, tree
from anneal.stats import stats
from anneal.uop import ops
from anneal.uop.call import bodies, live_bodies
from anneal.uop.uop import UOp, live_nodes

DEVICES = pytest.mark.parametrize("name", ["interpreter", "webgpu", "cpu"])
MARKS = pytest.mark.parametrize("mark", [anneal.jit, anneal.checkpoint])
X = np.linspace(0.1, 1.0, 6, dtype=np.float32)
Mark = Callable[[Callable[..., Any]], Callable[..., Any]]


def close(got: Any, want: Any) -> None:
    assert tree.structure(got) == tree.structure(want)
    for g, w in zip(tree.leaves(got), tree.leaves(want), strict=True):
        assert g.dtype == w.dtype and g.weak_type == w.weak_type
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), rtol=2e-5, atol=2e-6)


def calls(lowered: Any) -> list[UOp]:
    return [u for u in lowered.graph.nodes() if u.op is ops.CALL]


def traces(run: Callable[[], Any]) -> int:
    before = stats()["traces"]
    run()
    return stats()["traces"] - before


def same(program: Callable[[Mark], Callable[..., Any]], *args: Any) -> None:
    """`program` of functions marked as calls, in every transform, is what it is without marks."""
    plain = program(lambda f: f)
    for mark in (anneal.jit, anneal.checkpoint, lambda f: anneal.jit(anneal.checkpoint(f)),
                 lambda f: anneal.checkpoint(anneal.jit(f))):  # fmt: skip
        f = program(mark)
        close(anneal.jit(f)(*args), anneal.jit(plain)(*args))

        def total(f: Callable[..., Any]) -> Callable[..., Any]:
            def of(*given: Any) -> Any:
                out = [anp.asarray(x) for x in tree.leaves(f(*given))]
                found = [x for x in out if x.dtype.name.startswith("float")]
                return sum([(x * x).sum() for x in found], anp.asarray(0.0))

            return of

        floats = tuple(i for i, a in enumerate(args)
                       if all(np.asarray(x).dtype.kind == "f" for x in tree.leaves(a)))  # fmt: skip
        want = anneal.value_and_grad(total(plain), floats)(*args)
        close(anneal.value_and_grad(total(f), floats)(*args), want)
        close(anneal.jit(anneal.value_and_grad(total(f), floats))(*args), want)


# -- what a call may be given, and give ------------------------------------------------------------


def test_arguments() -> None:
    def static(mark: Mark) -> Callable[..., Any]:
        def f(x: Any, kind: str = "sin", *, by: Any = None) -> Any:
            out = anp.sin(x) if kind == "sin" else anp.cos(x)
            return out if by is None else {"out": out * by["scale"], "more": [by["add"] + x]}

        if mark is anneal.jit:
            f = anneal.jit(f, static_argnames="kind")
        elif mark is anneal.checkpoint:
            f = anneal.checkpoint(f, static_argnums=1)
        return lambda x, y: (f(x), f(x, kind="cos"), f(x, "sin", by={"scale": y, "add": 2.0}))

    plain = static(lambda f: f)
    for mark in (anneal.jit, anneal.checkpoint):
        close(anneal.jit(static(mark))(X, X), anneal.jit(plain)(X, X))

        def loss(f: Any) -> Any:
            return lambda x, y: sum([anp.sum(v) for v in tree.leaves(f(x, y))], 0.0)

        close(anneal.grad(loss(static(mark)), (0, 1))(X, X), anneal.grad(loss(plain), (0, 1))(X, X))


def test_what_is_closed_over() -> None:
    held = anp.asarray(X * 3)
    pending = anp.exp(anp.asarray(X))

    def program(mark: Mark) -> Callable[..., Any]:
        def f(w: Any, x: Any) -> Any:
            scaled = anp.exp(w)
            inner = mark(lambda x: anp.tanh(x * scaled) * w + held * pending + anp.arange(6))
            return inner(inner(x)), mark(lambda y: w)(x), mark(lambda y: held)(x)

        return f

    same(program, X, X + 1)
    (one,) = calls(anneal.jit(lambda w: anneal.jit(lambda x: x * w * held)(w)).lower(X))
    assert len(one.src) == 3  # x, w and held: operands all


def test_dtypes_and_weak_types() -> None:
    def program(mark: Mark) -> Callable[..., Any]:
        @mark
        def f(x: Any, n: Any, flag: Any, half: Any, weak: Any) -> Any:
            return (anp.where(flag, x * n, x), n + 1, ~flag, half * 2, weak * 2, x * weak,
                    half * weak, weak)  # fmt: skip

        return lambda x, n, flag, half: f(x, n, flag, half, 2.0)

    flags, numbers = X > 0.5, np.arange(6, dtype=np.int32)
    same(program, X, numbers, flags, X.astype(np.float16))
    out = anneal.jit(lambda x: anneal.jit(lambda x, w: (w * 2, x * w))(x, 3))(X.astype(np.float16))
    assert out[0].weak_type and not out[1].weak_type and out[1].dtype.name == "float16"


def test_inputs_twice_constants_and_nothing_as_results() -> None:
    def program(mark: Mark) -> Callable[..., Any]:
        def f(x: Any, y: Any) -> Any:
            double = anp.sin(x)
            return x, double, {"again": double, "x": x}, anp.ones(2), 3.0, y

        return lambda x, y: (mark(f)(x, y), mark(lambda x: ())(x), mark(f)(x, x))

    same(program, X, X + 1)
    jitted = anneal.jit(lambda x, y: anneal.jit(lambda x, y, z: (x, anp.sin(y), 1.0))(x, y, y))
    (one,) = calls(jitted.lower(X, X))
    assert len(one.src) == len(one.arg[0].outputs) == 1  # only the sine is work, and of y alone


def test_results_that_are_not_asked_for() -> None:
    @anneal.jit
    def three(x: Any, y: Any) -> Any:
        return anp.sin(x), anp.exp(y), x * y

    def program(x: Any, y: Any) -> Any:
        return anneal.jit(lambda x, y: three(x, y)[0] * 2)(x, y).sum()

    for run in (program, anneal.grad(program)):
        lowered = anneal.jit(run).lower(X, X)
        found = bodies(lowered.graph.nodes())
        assert found and all("EXP" not in map(repr, [u.op for u in b.nodes]) for b in found)
        assert all(len(u.src) == len(u.arg[0].inputs) < 3 for u in calls(lowered))
        assert len(lowered.graph.lines) >= len(lowered.graph.nodes()) - len(lowered.graph.inputs)
    np.testing.assert_allclose(anneal.jit(anneal.grad(program))(X, X), 2 * np.cos(X), rtol=1e-5)


@pytest.mark.parametrize("read", [(1,), (0,), (2,), (0, 2), (1, 2)])
def test_derivatives_of_calls_whose_results_are_read_in_part(read: tuple[int, ...]) -> None:
    """What a call lost, operands and all, makes no room for a cotangent of the same shape."""

    def program(mark: Mark) -> Callable[..., Any]:
        inner = mark(lambda a, b, c: (anp.sin(a), anp.tanh(b), a * b + anp.cos(c)))

        def outer(x: Any) -> Any:
            results = inner(x * 3, x, x + 1)
            return anp.sin(sum([results[i] for i in read], 0 * x))

        return mark(outer)

    same(program, np.float32(0.7))
    same(program, np.linspace(-1, 1, 5, dtype=np.float32))


def test_sizes() -> None:
    def program(mark: Mark) -> Callable[..., Any]:
        f = mark(lambda x: (x * 2).sum() + x.sum(0))
        return lambda *xs: [f(x) for x in xs]

    shapes = ((0, 3), (1, 1), (1, 3), (97, 2), (1013,))
    same(program, *(np.ones(s, np.float32) for s in shapes))
    f = anneal.jit(lambda x: x * 2)
    assert traces(lambda: anneal.jit(lambda a, b: (f(a), f(b), f(a + 1), f(a * b.sum()))).lower(
        np.ones(3, np.float32), np.ones((2, 3), np.float32))) == 3  # fmt: skip


def test_a_million_elements() -> None:
    x = np.random.default_rng(1).normal(size=1_000_003).astype(np.float32)
    f = anneal.jit(lambda x: anp.tanh(x) * x)
    with anneal.default_device("cpu"):
        got = anneal.jit(anneal.grad(lambda x: (f(f(x)) ** 2).sum()))(x)
        g = lambda x: anp.tanh(x) * x  # noqa: E731
        want = anneal.jit(anneal.grad(lambda x: (g(g(x)) ** 2).sum()))(x)
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


# -- derivatives -----------------------------------------------------------------------------------


@DEVICES
@MARKS
def test_derivatives_of_derivatives(name: str, mark: Mark) -> None:
    def f(x: Any) -> Any:
        return anp.sin(x) * x * lax.stop_gradient(anp.cos(x))

    def nested(f: Callable[..., Any], mark: Mark) -> list[Callable[..., Any]]:
        g = anneal.grad(mark(f))
        inner = mark(anneal.grad(mark(f)))
        return [g, anneal.grad(g), anneal.grad(inner), anneal.grad(mark(anneal.grad(inner))),
                anneal.grad(mark(lambda x: inner(x) * mark(f)(x)))]  # fmt: skip

    with anneal.default_device(name):
        for got, want in zip(nested(f, mark), nested(f, lambda f: f), strict=True):
            close(anneal.jit(got)(0.7), anneal.jit(want)(0.7))
            close(got(0.7), want(0.7))


def test_has_aux_and_vjp() -> None:
    def f(x: Any, n: Any) -> Any:
        return (x * x).sum(), {"n": n + 1, "sin": anp.sin(x)}

    for mark in (anneal.jit, anneal.checkpoint):
        run = anneal.jit(lambda x, mark=mark: anneal.value_and_grad(mark(f), has_aux=True)(x, 3))
        close(run(X), anneal.jit(lambda x: anneal.value_and_grad(f, has_aux=True)(x, 3))(X))

        def both(x: Any, f: Callable[..., Any]) -> Any:
            out, pull = anneal.vjp(f, x, x + 1)
            return out, pull((out[0] * 2, out[1]))

        def pair(x: Any, y: Any) -> Any:
            return x * y, anp.exp(x)

        close(anneal.jit(lambda x, mark=mark: both(x, mark(pair)))(X),
              anneal.jit(lambda x: both(x, pair))(X))  # fmt: skip


def test_a_half_has_the_adjoint_of_what_is_inlined() -> None:
    """Cotangents within are as wide as without a call."""
    def f(x: Any) -> Any:
        return (x * x).astype("float16")

    def loss(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x: sum([f(x).astype("float32").sum() * (1 + 2.0**-12 * n)
                              for n in range(3)])  # fmt: skip

    want = anneal.jit(anneal.grad(loss(f)))(X)
    np.testing.assert_array_equal(anneal.jit(anneal.grad(loss(anneal.jit(f))))(X), want)


def test_one_derivative_for_all_calls_of_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    from anneal.transforms import grad

    derived: list[Any] = []
    derivative = grad._derivative
    monkeypatch.setattr(
        grad, "_derivative", lambda *args: (derived.append(args), derivative(*args))[1]
    )
    layer = anneal.jit(lambda w, x: anp.tanh(x @ w))

    def loss(w: Any, x: Any) -> Any:
        for _ in range(128):
            x = layer(w, x)
        return x.sum()

    w, x = np.eye(4, dtype=np.float32), np.ones((2, 4), np.float32)
    lowered: list[Any] = []
    assert traces(lambda: lowered.append(anneal.jit(anneal.grad(loss)).lower(w, x))) == 2
    made = calls(lowered[0])
    assert len(made) == 255  # the last value is not asked for
    # The function, its derivative, and that of the first layer, whose x needs none.
    assert len(bodies(made)) == 3
    assert len(derived) == 2
    plain = anneal.jit(anneal.grad(lambda w, x: _through(w, x)))
    with anneal.default_device("cpu"):
        np.testing.assert_array_equal(anneal.jit(anneal.grad(loss))(w, x), plain(w, x))


def _through(w: Any, x: Any) -> Any:
    for _ in range(128):
        x = anp.tanh(x @ w)
    return x.sum()


def test_kernels_are_those_without_calls() -> None:
    w, x = np.eye(8, dtype=np.float32), np.ones((4, 8), np.float32)

    def loss(layer: Callable[..., Any]) -> Callable[..., Any]:
        def of(w: Any, x: Any) -> Any:
            for _ in range(4):
                x = layer(w, x)
            return (x * x).mean()

        return of

    def layer(w: Any, x: Any) -> Any:
        return x + anneal.nn.softmax(anp.tanh(x @ w))

    def second(f: Callable[..., Any]) -> Callable[..., Any]:
        return anneal.grad(lambda w, x: (anneal.grad(f, 1)(w, x) ** 2).sum())

    for device in ("webgpu", "cpu"):
        for transform in (lambda f: f, anneal.value_and_grad, second):
            with anneal.default_device(device):
                got, want = (anneal.jit(transform(loss(f))).lower(w, x)
                             for f in (anneal.jit(layer), layer))  # fmt: skip
                assert len(got.kernels) <= len(want.kernels)
                assert got.cost_analysis()["flops"] <= want.cost_analysis()["flops"]
                sizes, most = got.memory_analysis(), want.memory_analysis()
                assert all(sizes[k] <= most[k] for k in most)


def test_donation_within_a_trace_is_ignored() -> None:
    inner = anneal.jit(lambda w, g: w - g, donate_argnums=0)
    w = anp.asarray(X)
    got = anneal.jit(lambda w, g: (inner(w, g), w))(w, X)
    np.testing.assert_array_equal(np.asarray(got[0]), X - X)
    np.testing.assert_array_equal(np.asarray(w), X)


# -- tracing ---------------------------------------------------------------------------------------


def test_a_signature_is_traced_once_in_all_traces() -> None:
    runs: list[int] = []

    @anneal.jit
    def f(x: Any) -> Any:
        runs.append(1)
        return x * 2

    anneal.jit(lambda x: f(f(x)))(X)
    anneal.grad(lambda x: f(x).sum())(X)
    anneal.jit(anneal.grad(lambda x: f(x * 3).sum()))(X)
    f(X)
    assert len(runs) == 1


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_function_that_closes_over_tracers_is_traced_anew(rounds: int) -> None:
    @anneal.jit
    def f(x: Any) -> Any:
        return x * cell[-1]

    cell: list[Any] = []

    def program(w: Any) -> Any:
        out = w
        for n in range(3):
            cell.append(w + n)
            out = f(out)
        return out

    for _ in range(rounds):
        np.testing.assert_allclose(anneal.jit(program)(X), X * X * (X + 1) * (X + 2), rtol=1e-5)


def test_an_eager_loop_whose_scalars_are_within_a_call_compiles_once() -> None:
    x = anp.asarray(X)
    before = 0
    for n in range(4):
        layer = anneal.checkpoint(lambda x, rate=0.37 + 0.11 * n: anp.sin(x * rate) * rate)
        np.asarray(anneal.grad(lambda x, layer=layer: layer(layer(x)).sum())(x))
        if n == 0:
            before = stats()["graphs_compiled"]
    assert stats()["graphs_compiled"] == before


def test_python_branches_on_values_where_they_are_known() -> None:
    @anneal.jit
    def f(x: Any) -> Any:
        return x * 3

    def branch(x: Any) -> Any:
        y = f(x)
        return y * 2 if y > 0 else y * 5

    assert [float(anneal.grad(branch)(v)) for v in (1.0, -1.0)] == [6, 15]
    with pytest.raises(errors.TracerBoolConversionError, match="test_fold.py"):
        anneal.jit(branch)(1.0)
    with pytest.raises(errors.ConcretizationTypeError, match="while a derivative is taken"):
        anneal.grad(lambda x: np.asarray(f(x)).item() * x)(1.0)


def test_errors_name_the_line_within() -> None:
    first = (lambda: 0).__code__.co_firstlineno

    def bits(x: Any) -> Any:
        return anneal.array.make(UOp(ops.BITCAST, x.dtype, (anp.sin(x).uop,)))

    for mark in (anneal.jit, lambda f: anneal.jit(anneal.jit(f)), anneal.checkpoint,
                 lambda f: anneal.checkpoint(anneal.jit(f))):  # fmt: skip
        for transform in (anneal.grad, lambda f: anneal.jit(anneal.grad(f)),
                          lambda f: anneal.grad(anneal.grad(f))):  # fmt: skip
            with pytest.raises(errors.NonDifferentiableError,
                               match=rf"BITCAST at .*test_fold.py:{first + 3} has"):
                transform(mark(bits))(1.0)
    with pytest.raises(errors.TracerBoolConversionError, match="argument x of"):
        anneal.jit(lambda y: anneal.jit(lambda x: 1 if x > 0 else 2)(y))(1.0)


def test_leaks_out_of_an_inner_trace() -> None:
    held: list[Array] = []

    @anneal.jit
    def leaks(x: Any) -> Any:
        held.append(anp.cos(x))
        return x * 2

    def reads(z: Any) -> Any:
        return z + held[-1]

    for use in (lambda y: reads(leaks(y)), lambda y: anneal.jit(reads)(leaks(y)),
                lambda y: anneal.checkpoint(reads)(leaks(y))):  # fmt: skip
        leaks.clear_cache()
        with pytest.raises(errors.UnexpectedTracerError, match="argument x of .*leaks"):
            anneal.jit(use)(1.0)
        with pytest.raises(errors.UnexpectedTracerError, match="argument x of .*leaks"):
            float(held[-1])
    outer: list[Array] = []
    anneal.jit(lambda y: outer.append(y + 1) or y)(1.0)  # type: ignore[func-returns-value]
    mixed = anneal.jit(lambda y: anneal.jit(lambda z: z * (outer[-1] + y))(y))
    with pytest.raises(errors.UnexpectedTracerError, match="argument y of"):
        mixed(1.0)


def test_exceptions_leave_nothing_behind() -> None:
    def fails(x: Any) -> Any:
        y = anneal.jit(lambda z: z * 2)(x)
        anneal.checkpoint(lambda z: z * y)(x)
        raise KeyboardInterrupt

    def bits(x: Any) -> Any:
        return anneal.array.make(UOp(ops.BITCAST, x.dtype, (x.uop,)))

    def settle() -> tuple[int, int]:
        for mark in (anneal.jit, anneal.checkpoint):
            for transform in (anneal.jit, anneal.grad):
                with pytest.raises(KeyboardInterrupt):
                    transform(mark(fails))(1.0)
                with pytest.raises(errors.NonDifferentiableError):
                    transform(anneal.grad(mark(lambda x, mark=mark: mark(bits)(x))))(1.0)
        gc.collect()
        return live_nodes(), live_bodies()

    settle()
    before = settle()
    for _ in range(5):
        assert settle() == before


def test_calls_are_freed_with_the_functions() -> None:
    def make() -> None:
        f = anneal.jit(lambda x: anp.tanh(x) * 1.375)
        g = anneal.jit(anneal.grad(lambda x: f(f(x)).sum()))
        _ = g.lower(X).graph
        _ = anneal.jit(anneal.grad(anneal.grad(lambda x: f(x).sum()))).lower(0.5).graph

    make()
    gc.collect()
    before = live_bodies(), live_nodes()
    for _ in range(5):
        make()
    gc.collect()
    assert (live_bodies(), live_nodes()) == before


def test_threads() -> None:
    f = anneal.jit(lambda w, x: anp.tanh(x * w) + x)
    want = np.asarray(anneal.jit(anneal.grad(lambda x: f(x, f(x, x)).sum()))(X))
    failed: list[BaseException] = []
    start = threading.Barrier(4)

    def work(n: int) -> None:
        try:
            start.wait()
            for k in range(5):
                g = anneal.jit(lambda w, x: anp.tanh(x * w) + x)
                run = anneal.jit(anneal.grad(lambda x, g=g: g(x, anneal.checkpoint(g)(x, x)).sum()))
                np.testing.assert_allclose(np.asarray(run(X)), want, rtol=1e-5)
                h = anneal.jit(lambda w, x, n=n, k=k: w * x * (10.0 * n + k))
                got = np.asarray(anneal.jit(anneal.grad(lambda x, h=h: h(x, h(x, x)).sum()))(X))
                np.testing.assert_allclose(got, 3 * (10.0 * n + k) ** 2 * X**2, rtol=1e-4)
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


def test_towers_of_calls() -> None:
    """Each function calls the last: hundreds deep, in values, derivatives, kernels and text."""
    f: Any = anneal.jit(lambda x: x * 1.0)
    for n in range(600):
        f = anneal.jit(lambda x, g=f, n=n: g(x) + x * float(n % 3))
        _ = anneal.jit(f).lower(2.0).graph
    run = anneal.jit(anneal.grad(lambda x: f(x) * x))
    want = 2 * 2 * (1.0 + sum(n % 3 for n in range(600)))
    for device in ("interpreter", "cpu"):
        with anneal.default_device(device):
            assert float(run(2.0)) == want
    assert "more" in repr(run.lower(2.0).graph)


def test_one_trace_tells_lines_of_each_program() -> None:
    source = "def f(x):\n    return anp.sin(x) * 2\n"
    for file in ("one.py", "two.py"):
        names: dict[str, Any] = {"anp": anp}
        exec(compile(source, file, "exec"), names)
        for mark in (anneal.jit, anneal.checkpoint):
            inner = mark(names["f"])
            lowered = anneal.jit(anneal.grad(lambda x, inner=inner: inner(inner(x)).sum())).lower(X)
            found = {o.file for lines in lowered.graph.lines.values() for o in lines}
            assert found == {file, __file__}
            text = lowered.as_text("kernels")
            assert f"backward: {file}:2" in text
            assert ("recomputed" in text) == (mark is anneal.checkpoint)
