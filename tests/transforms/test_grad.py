"""Gradients: every rule against finite differences in float64, the engine's own duties, and what
`grad`, `value_and_grad` and `vjp` accept and refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import errors
from anneal.array import Array, asarray, broadcast, make, promote
from anneal.errors import NonDifferentiableError, TreeError
from anneal.interpret import evaluate
from anneal.provenance import lines_of
from anneal.rules._gradient import RULES
from anneal.transforms.grad import gradient
from anneal.uop import dtypes, ops
from anneal.uop.uop import UOp, const, param, scatter

f64 = dtypes.float64


def index(values: Any) -> UOp:
    """Integer data as a graph: constants chosen by position (no device needed)."""
    data = np.asarray(values)
    flat = const(0, dtypes.int32).expand((data.size,))
    numbers = UOp(ops.ARANGE, dtypes.int32, (), (data.size,))
    for i, v in enumerate(data.ravel().tolist()):
        flat = numbers.eq(i).where(const(v, dtypes.int32), flat)
    return flat.reshape(data.shape)


# -- every rule ------------------------------------------------------------------------------------

# Indices, some outside, that name every element of three.
_NAMED = [[0, 2, 2, 1, 9], [1, 1, -3, 2, 0]]

# name of the rule: the function and the shapes of its arguments; "+" for positive arguments.
CASES: dict[str, tuple[Callable[..., UOp], list[tuple[int, ...]], str]] = {
    "add": (lambda x, y: x + y, [(2, 3), ()], ""),
    "sub": (lambda x, y: x - y, [(), (2, 3)], ""),
    "neg": (lambda x: -x, [(3,)], ""),
    "mul": (lambda x, y: x * y, [(2, 3), (2, 3)], ""),
    "div": (lambda x, y: x / y, [(4,), (4,)], "+"),
    "pow": (lambda x, y: x**y, [(4,), (4,)], "+"),
    "max": (lambda x, y: x.maximum(y), [(5,), (5,)], ""),
    "min": (lambda x, y: x.minimum(y), [(5,), ()], ""),
    "where": (lambda x, y: (x < y).where(x * x, y), [(5,), (5,)], ""),
    "exp": (lambda x: x.alu(ops.EXP), [(4,)], ""),
    "expm1": (lambda x: x.alu(ops.EXPM1), [(4,)], ""),
    "log": (lambda x: x.alu(ops.LOG), [(4,)], "+"),
    "log1p": (lambda x: x.alu(ops.LOG1P), [(4,)], "+"),
    "mod": (lambda x, y: (x * 5) % y, [(4,), (4,)], "+"),
    "sin": (lambda x: x.alu(ops.SIN), [(4,)], ""),
    "cos": (lambda x: x.alu(ops.COS), [(4,)], ""),
    "sinh": (lambda x: x.alu(ops.SINH), [(4,)], ""),
    "cosh": (lambda x: x.alu(ops.COSH), [(4,)], ""),
    "tanh": (lambda x: x.alu(ops.TANH), [(4,)], ""),
    "erf": (lambda x: x.alu(ops.ERF), [(4,)], ""),
    "sqrt": (lambda x: x.alu(ops.SQRT), [(4,)], "+"),
    "abs": (lambda x: x.alu(ops.ABS), [(4,)], ""),
    "floor": (lambda x: x.alu(ops.FLOOR) + x, [(4,)], ""),
    "round": (lambda x: x.alu(ops.ROUND) + x, [(4,)], ""),
    "contiguous": (lambda x: UOp(ops.CONTIGUOUS, x.dtype, (x,)) * 3, [(4,)], ""),
    "after": (lambda x: UOp(ops.AFTER, x.dtype, (x, x * 2)) * 3, [(4,)], ""),
    "reshape": (lambda x: x.reshape((3, 2)), [(2, 3)], ""),
    "permute": (lambda x: x.permute((2, 0, 1)), [(2, 3, 4)], ""),
    "expand": (lambda x: x.expand((2, 4, 3)), [(2, 1, 3)], ""),
    "pad": (lambda x: x.pad([(1, 0), (2, 3)]), [(2, 3)], ""),
    "shrink": (lambda x: x.shrink([(1, 3), (0, 2)]), [(4, 3)], ""),
    "flip": (lambda x: x.flip((1,)), [(2, 3)], ""),
    "shear": (lambda x: x.shear(0, 1, 2, -1, 6), [(5, 3)], ""),
    "reduce_add": (lambda x: x.sum((0, 2)), [(2, 3, 2)], ""),
    "reduce_mul": (lambda x: x.reduce("mul", (1, 2)), [(2, 3, 2)], ""),
    "reduce_max": (lambda x: x.reduce("max", (1,)), [(2, 4)], ""),
    "reduce_min": (lambda x: x.reduce("min", (0,)), [(2, 4)], ""),
    "gather": (lambda x: x.gather(index([[0, 2, 2, 1], [1, 1, 0, 0]]), 1), [(2, 3)], ""),
    "scatter_add": (lambda x: scatter("add", index([[0, 2], [1, 1]]), x, 1, 3), [(2, 2)], ""),
    "scatter_mul": (lambda x: scatter("mul", index(_NAMED), x, 1, 3), [(2, 5)], ""),
    "scatter_max": (lambda x: scatter("max", index(_NAMED), x, 1, 3), [(2, 5)], ""),
    "scatter_min": (lambda x: scatter("min", index(_NAMED), x, 1, 3), [(2, 5)], ""),
}
# Rules that finite differences cannot speak of, each with its own test below.
APART = {"cast", "stop_gradient"}


def test_every_rule_has_a_case() -> None:
    assert {r.name for r in RULES.rules} == CASES.keys() | APART


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("order", [1, 2])
def test_rule_agrees_with_finite_differences(name: str, order: int) -> None:
    fn, shapes, sign = CASES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    xs = [param(f64, s) for s in shapes]
    values = [rng.normal(size=s) for s in shapes]
    if sign == "+":
        values = [np.abs(v) + 0.5 for v in values]
    out = fn(*xs)
    weights = param(f64, out.shape)  # data, so that every element of the result counts differently
    sizes = [d for d in out.shape if isinstance(d, int)]
    given: dict[UOp, Any] = {weights: rng.normal(size=sizes)}
    scalar = (out * weights * out).sum(range(out.ndim))
    grads = gradient([scalar], xs, [const(1, f64)])
    if order == 2:  # the derivative itself is differentiated
        scalar = sum_of([g * g for g in grads])
        grads = gradient([scalar], xs, [const(1, f64)])
    found = evaluate(grads, {**dict(zip(xs, values, strict=True)), **given})
    for i, x in enumerate(xs):
        expected = differences(scalar, xs, values, given, i)
        assert found[i].shape == x.shape
        np.testing.assert_allclose(found[i], expected, rtol=2e-5, atol=2e-5)


def sum_of(terms: list[UOp]) -> UOp:
    total = const(0, f64)
    for t in terms:
        total = total + t.sum(range(t.ndim))
    return total


def differences(
    out: UOp, xs: list[UOp], values: list[Any], given: dict[UOp, Any], i: int
) -> np.ndarray[Any, Any]:
    """The central differences of scalar `out` with respect to argument i."""
    result: np.ndarray[Any, Any] = np.zeros_like(values[i])
    for at in np.ndindex(values[i].shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = [v.copy() for v in values]
            moved[i][at] += step
            ends.append(float(evaluate([out], {**dict(zip(xs, moved, strict=True)), **given})[0]))
        result[at] = (ends[0] - ends[1]) / 2e-6
    return result


def test_no_op_is_silently_without_rule() -> None:
    leaves = {ops.CONST, ops.PARAM, ops.BUFFER, ops.VAR, ops.ARANGE}
    integers = {  # their results are integers or bools, through which nothing flows
        ops.NOT, ops.FLOORDIV, ops.LT, ops.EQ, ops.NE, ops.AND, ops.OR, ops.XOR, ops.SHL,
        ops.SHR,
    }  # fmt: skip
    refused = {ops.BITCAST}  # raises, see below
    engine = {ops.CALL, ops.GET}  # see test_fold.py
    kernel = ops.MEMORY | {
        ops.RANGE, ops.LOAD, ops.STORE, ops.FOR, ops.STAGE, ops.END,
        ops.BLOCK, ops.OPAQUE,
    }  # fmt: skip
    without = leaves | integers | refused | engine | kernel
    assert set(RULES.match) & without == set()
    assert {ops.BY_NAME[n] for n in ops.BY_NAME} == set(RULES.match) | without


# -- the engine ------------------------------------------------------------------------------------


def derivative(fn: Callable[[UOp], UOp], value: Any, dtype: dtypes.DType = f64) -> Any:
    x = param(dtype, np.shape(value))
    out = fn(x)
    (g,) = gradient([out.sum(range(out.ndim))], [x], [const(1, out.dtype)])
    assert g.dtype is dtype
    return evaluate([g], {x: np.asarray(value)})[0]


def test_ties_share_equally() -> None:
    twice = derivative(lambda x: x.maximum(const(1, f64).expand((3,))), [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(twice, [0, 0.5, 1])
    np.testing.assert_array_equal(derivative(lambda x: x.maximum(x), [3.0]), [1])
    thirds = derivative(lambda x: x.reduce("max", (0,)), [2.0, 1.0, 2.0, 2.0])
    np.testing.assert_allclose(thirds, [1 / 3, 0, 1 / 3, 1 / 3])


def test_product_with_zeros() -> None:
    one = derivative(lambda x: x.reduce("mul", (0,)), [2.0, 0.0, 3.0])
    np.testing.assert_array_equal(one, [0, 6, 0])
    two = derivative(lambda x: x.reduce("mul", (0,)), [0.0, 0.0, 3.0])
    np.testing.assert_array_equal(two, [0, 0, 0])


def test_powers_at_the_edges() -> None:
    np.testing.assert_array_equal(derivative(lambda x: x ** const(0, f64), [0.0, 2.0]), [0, 0])
    np.testing.assert_array_equal(derivative(lambda x: x ** const(2, f64), [0.0, -3.0]), [0, -6])
    ends = derivative(lambda x: x ** const(0, f64), [math.inf, 1e-310])
    np.testing.assert_array_equal(ends, [0, 0])


def test_second_derivatives_of_powers_to_0_are_0() -> None:
    slope = anneal.grad(lambda x, y: (x**y).sum())
    x = anp.array([0.0, 1e-30, 1e-10, 0.5, -2.0, 1e30])
    for y in (0, 0.0, anp.zeros(6)):
        second = anneal.grad(lambda x, y=y: slope(x, y).sum())(x)
        assert second.tolist() == [0] * 6


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_mixed_second_derivatives_of_powers_where_the_exponent_is_0(dtype: str) -> None:
    def slope(x: Array, y: Array) -> Array:
        return anneal.grad(anp.power)(x, y)

    for x in (2.0, 0.5, 100.0):
        args = anp.array(x, dtype), anp.array(0.0, dtype)
        assert anneal.grad(slope, 1)(*args).item() == pytest.approx(1 / x, rel=1e-3)
        assert slope(*args).item() == 0


def test_nothing_flows() -> None:
    zeros = [0, 0]
    stopped = derivative(lambda x: UOp(ops.STOP_GRADIENT, f64, (x,)), [1.0, 2.0])
    np.testing.assert_array_equal(stopped, zeros)
    through_ints = derivative(lambda x: x.cast(dtypes.int32).cast(f64), [1.0, 2.0])
    np.testing.assert_array_equal(through_ints, zeros)
    compared = derivative(lambda x: (x < 1.5).where(x.const_like(1), 2), [1.0, 2.0])
    np.testing.assert_array_equal(compared, zeros)
    unrelated = derivative(lambda x: const(1, f64), [1.0, 2.0])
    np.testing.assert_array_equal(unrelated, zeros)


def test_a_narrowing_cast_does_not_narrow_the_adjoint() -> None:
    third = 1 / 3  # float32 keeps 24 bits of it, float16 only 11

    def through_half(x: UOp) -> UOp:
        return x.cast(dtypes.float16).reshape((2, 1)).cast(dtypes.float32) * third

    got = derivative(through_half, [1.0, 2.0], dtypes.float32)
    np.testing.assert_array_equal(got, np.array([third, third], np.float32))


def test_sums_of_half_precision_cotangents_are_in_float32() -> None:
    x = param(dtypes.float16, ())
    out = (x.expand((4096,)) * 1.0).cast(dtypes.float32).sum((0,))
    (g,) = gradient([out], [x], [const(1, dtypes.float32)])
    assert evaluate([g], {x: np.array(1, np.float16)})[0] == 4096  # float16 counts to 2048


def test_an_op_without_rule_is_refused_by_name_and_line() -> None:
    def bits(x: Array) -> Array:
        half = make(x.uop.cast(dtypes.int32).bitcast(dtypes.float32))
        return make(x.uop * half.uop)

    as_float = np.array(3, np.int32).view(np.float32)
    assert float(anneal.grad(bits)(3.0)) == pytest.approx(float(as_float))

    def float_bits(x: Array) -> Array:
        return make(UOp(ops.BITCAST, dtypes.float32, (x.uop,)))

    with pytest.raises(NonDifferentiableError, match=r"BITCAST at .*test_grad\.py:\d+"):
        anneal.grad(float_bits)(3.0)


def test_backward_nodes_know_their_line_and_rule() -> None:
    x = param(f64, (3,))
    sine = make(x.alu(ops.SIN)).uop
    (g,) = gradient([sine], [x], [const(1, f64).expand((3,))])
    (forward,), (backward,) = lines_of(sine), lines_of(g)
    assert forward.phase == "forward"
    assert backward == forward._replace(phase="backward", rule="sin")


def test_a_chain_of_50000() -> None:
    x = param(f64, (2,))
    u = x
    for _ in range(50_000):
        u = u * 1.00001
    (g,) = gradient([u.sum((0,))], [x], [const(1, f64)])
    value = evaluate([g], {x: np.ones(2)})[0]
    np.testing.assert_allclose(value, 1.00001**50_000)


# -- grad, value_and_grad, vjp ---------------------------------------------------------------------


def add(x: Any, y: Any) -> Array:
    (a, b), _, weak = promote(x, y)
    a, b = broadcast(a, b)
    return make(a.uop + b.uop, weak)


def mul(x: Any, y: Any) -> Array:
    (a, b), _, weak = promote(x, y)
    a, b = broadcast(a, b)
    return make(a.uop * b.uop, weak)


def total(x: Array) -> Array:
    return make(x.uop.sum(range(x.ndim)))


def test_structures_and_argnums() -> None:
    def f(p: dict[str, Any], x: Any, *, scale: float = 1.0) -> Array:
        return total(mul(mul(p["w"], x), scale))

    p = {"w": asarray([1.0, 2.0]), "unused": asarray([[1.0]])}
    x = asarray([3.0, 4.0])
    value, g = anneal.value_and_grad(f)(p, x, scale=2.0)
    assert float(value) == 22
    assert g["w"].tolist() == [6, 8]
    assert g["unused"].tolist() == [[0]]
    gp, gx = anneal.grad(f, argnums=(0, 1))(p, x)
    assert (gp["w"].tolist(), gx.tolist()) == ([3, 4], [1, 2])
    assert anneal.grad(f, argnums=-1)(p, x).tolist() == [1, 2]
    (only,) = anneal.grad(f, (1,))(p, x)
    assert only.tolist() == [1, 2]


def test_aux() -> None:
    def f(x: Array) -> tuple[Array, dict[str, Any]]:
        return mul(x, x), {"double": add(x, x), "name": "text"}

    (value, aux), g = anneal.value_and_grad(f, has_aux=True)(3.0)
    assert (float(value), float(aux["double"]), aux["name"], float(g)) == (9, 6, "text", 6)
    g, aux = anneal.grad(f, has_aux=True)(3.0)
    assert (float(g), float(aux["double"])) == (6, 6)


def test_higher_orders_nested_every_way() -> None:
    def cube(x: Any) -> Array:
        return mul(x, mul(x, x))

    assert float(anneal.grad(anneal.grad(cube))(2.0)) == 12
    assert float(anneal.grad(anneal.grad(anneal.grad(cube)))(2.0)) == 6
    assert float(anneal.jit(anneal.grad(anneal.jit(anneal.grad(cube))))(2.0)) == 12
    assert float(anneal.grad(anneal.jit(anneal.grad(cube)))(2.0)) == 12


def test_no_perturbation_confusion() -> None:
    def outer(x: Array) -> Array:
        return mul(x, anneal.grad(lambda y: add(x, y))(1.0))

    assert float(anneal.grad(outer)(1.0)) == 1

    def product(x: Array) -> Array:
        return mul(x, anneal.grad(lambda y: mul(x, y))(3.0))

    assert float(anneal.grad(product)(5.0)) == 10


def test_python_branches_on_values_outside_jit() -> None:
    def f(x: Array) -> Array:
        return mul(x, 3.0) if x.item() > 0 else mul(x, 5.0)

    assert float(anneal.grad(f)(2.0)) == 3
    assert float(anneal.grad(f)(-2.0)) == 5
    assert float(anneal.grad(anneal.grad(lambda x: mul(x, f(x))))(2.0)) == 6


def test_vjp() -> None:
    out, back = anneal.vjp(lambda x, y: (mul(x, y), add(x, y)), asarray([1.0, 2.0]), 3.0)
    assert [o.tolist() for o in out] == [[3, 6], [4, 5]]
    gx, gy = back((asarray([1.0, 1.0]), asarray([10.0, 20.0])))
    assert (gx.tolist(), float(gy)) == ([13, 23], 33)
    gx, gy = back((asarray([0.0, 1.0]), asarray([0.0, 0.0])))  # as often as one likes
    assert (gx.tolist(), float(gy)) == ([0, 3], 2)
    _, back, aux = anneal.vjp(lambda x: (mul(x, x), {"aux": x}), 3.0, has_aux=True)
    assert (float(back(1.0)[0]), float(aux["aux"])) == (6, 3)
    with pytest.raises(TreeError, match="structure"):
        back((1.0,))
    with pytest.raises(ValueError, match=r"float32\[\].*float32\[2\]"):
        back(asarray([1.0, 2.0]))
    with pytest.raises(TypeError, match="dtype"):
        back(asarray(np.float16(1)))


@pytest.mark.parametrize(
    ("fn", "args", "fragments"),
    [
        (lambda x: mul(x, x), (3,), ["to x", "int32[]", "astype"]),
        (lambda x: x, (asarray([1.0, 2.0]),), ["scalar", "float32[2]", ".sum()"]),
        (lambda x: (x, x), (1.0,), ["tuple", "has_aux=True"]),
        (lambda x: None, (1.0,), ["None"]),
        (lambda x: make(x.uop < 1.0), (1.0,), ["float", "bool[]"]),
        (lambda x: "text", (1.0,), ["str"]),
        (lambda p: p, ({"w": "text"},), ["p['w']", "str"]),
    ],
)
def test_refusals(fn: Callable[..., Any], args: tuple[Any, ...], fragments: list[str]) -> None:
    with pytest.raises(TypeError) as e:
        anneal.grad(fn)(*args)
    for fragment in fragments:
        assert fragment in str(e.value)
    assert float(anneal.grad(lambda x: mul(x, x))(3.0)) == 6  # nothing is left behind


def test_refusals_of_arguments() -> None:
    with pytest.raises(ValueError, match="argnums 2 .* got 1"):
        anneal.grad(lambda x: x, argnums=2)(1.0)
    with pytest.raises(TypeError, match="expects a function, got int"):
        anneal.grad(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pair"):
        anneal.grad(lambda x: x, has_aux=True)(1.0)


# -- values that leave the graph -------------------------------------------------------------------

LEAVING: dict[str, tuple[Callable[[Array], Any], type[Exception]]] = {
    "a NumPy function": (lambda x: np.sin(x).sum(), errors.TracerArrayConversionError),
    "np.asarray": (lambda x: (x * np.asarray(x)).sum(), errors.TracerArrayConversionError),
    "np.array of elements": (lambda x: np.array([x[0], x[1]]).sum(),
                             errors.TracerArrayConversionError),
    "a NumPy function of two": (lambda x: np.add(x, 1.0).sum(), errors.TracerArrayConversionError),
    "numpy()": (lambda x: (x * x.numpy()).sum(), errors.TracerArrayConversionError),
    "tolist()": (lambda x: (x * asarray(x.tolist())).sum(), errors.TracerArrayConversionError),
    "math.sin": (lambda x: x[0] * math.sin(x[0]), errors.ConcretizationTypeError),
    "float": (lambda x: x[0] * float(x[0]), errors.ConcretizationTypeError),
    "complex": (lambda x: x[0] * abs(complex(x[0])), errors.ConcretizationTypeError),
    "np.float32": (lambda x: x[0] * np.float32(x[0]), errors.ConcretizationTypeError),
    "computed": (lambda x: x[0] * math.exp((x * 2).sum() - 3), errors.ConcretizationTypeError),
    "arange": (lambda x: anp.arange(x[1]).sum() * x[0], errors.ConcretizationTypeError),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAVING)
@pytest.mark.parametrize("wrap", [
    lambda f: anneal.grad(f), lambda f: anneal.value_and_grad(f),
    lambda f: anneal.jit(anneal.grad(f)),
    lambda f: anneal.grad(lambda x: anneal.grad(f)(x).sum()),
    lambda f: anneal.grad(lambda x: anneal.vjp(f, asarray([3.0, 4.0]))[0] * x[0]),
    lambda f: anneal.grad(anneal.checkpoint(f)), lambda f: lambda x: anneal.vjp(f, x),
], ids=["grad", "value_and_grad", "jit", "grad of grad", "vjp in grad", "checkpoint",
        "vjp"])  # fmt: skip
def test_a_derivative_is_never_lost_in_silence(name: str, wrap: Any) -> None:
    f, error = LEAVING[name]
    with pytest.raises(error):
        wrap(f)(asarray([1.0, 2.0]))


def test_what_carries_no_derivative_may_leave_the_graph() -> None:
    x = asarray([3.0, 2.0])
    constant = asarray([5.0, 7.0])
    for f, want in [
        (lambda v: (v * np.asarray(constant)).sum(), [5, 7]),
        (lambda v: v[np.asarray(anp.argmax(v))], [1, 0]),
        (lambda v: (v * np.asarray(anneal.lax.stop_gradient(v))).sum(), [3, 2]),
        (lambda v: (v * float(anneal.lax.stop_gradient(v[0]))).sum(), [3, 3]),
        (lambda v: (v * np.asarray(v > 2.5)).sum(), [1, 0]),
        (lambda v: (v * v[0].item()).sum(), [3, 3]),
        (lambda v: (v * int(v[0])).sum(), [3, 3]),
        (lambda v: v[0] if v[0] > v[1] else v[1], [1, 0]),
        (lambda v: (v * np.float32(2)).sum() + np.float32(2) * v[0], [4, 2]),
        (lambda v: anp.linspace(0.0, v[0], 3).sum() + anp.linspace(v[1], 1.0, 2).sum(), [1.5, 1]),
        (lambda v: (str(v), repr(v * 2), f"{v[0]:.2f}", v.sum())[-1], [1, 1]),
    ]:  # fmt: skip
        assert anneal.grad(f)(x).tolist() == want
