"""What the text of a random program calls: runs of anneal compared with the reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import anneal
import anneal.numpy as anp
from tests.random_programs import ours, reference

Data = np.ndarray[Any, Any]
Program = Callable[..., Any]

devices = ["interpreter", "webgpu", "cpu"]
# How often a device refused a dtype that it does not hold.
refused = {"interpreter": 0, "webgpu": 0, "cpu": 0}

# The step of differences, and what the reference's float64 makes of it.
_STEP = 1e-7
# By bytes of a float: how far results may be from the reference, relative to the greatest.
_TOLERANCE = {2: 4e-3, 4: 2e-5}
# So many times what a result moves by with its inputs' last bits is rounding, up to this part of
# the greatest result: a difference of nearly equal numbers amplifies it.
_ROUNDINGS, _MOST_MOVED = 16.0, 1e-2


def agree(
    program: Program, inputs: Sequence[Data], how: str, tolerance: float | None = None,
    donate: Sequence[int] = (), most_buffers: int | None = None,
) -> None:  # fmt: skip
    """`program(xp, *inputs)` gives on every device what it gives in NumPy. `how`: "eager", "jit",
    or "grad", which compares slopes too. With `most_buffers`, no kernel binds more."""
    given = [x.astype(x.dtype.newbyteorder("=")) for x in inputs]
    want = program(reference, *given)
    for device in devices:
        with anneal.default_device(device), _buffers(most_buffers), _refusals(device):
            got = _run(program, inputs, how, donate, most_buffers if device == "webgpu" else None)
            assert len(got) == len(want)
            for i, (g, w) in enumerate(zip(got, want, strict=True)):
                what = f"{device}, {how}, result {i}"
                try:
                    same(g, w, tolerance, what)
                except AssertionError:
                    same(g, w, tolerance, what, _moved(program, given)[i])
            if how == "grad":
                _slopes_agree(program, inputs, device)


def _run(
    program: Program, inputs: Sequence[Data], how: str, donate: Sequence[int], most: int | None
) -> Any:
    if how == "eager":
        return program(ours, *map(anp.asarray, inputs))
    compiled = anneal.jit(lambda *args: program(ours, *args), donate_argnums=tuple(donate))
    if most is not None:
        _bind_few(compiled.lower(*inputs).kernels, most)
    given = {i: anp.array(inputs[i]) for i in donate}
    got = compiled(*[given.get(i, x) for i, x in enumerate(inputs)])
    for x in given.values():
        deleted(x)
    return got


def _bind_few(kernels: Sequence[Any], most: int) -> None:
    for kernel in kernels:
        bound = len(kernel.inputs) + len(kernel.outputs)
        assert bound <= most, f"{kernel.name} binds {bound} buffers; {most} are allowed"


@contextmanager
def _buffers(most: int | None) -> Iterator[None]:
    before = os.environ.get("ANNEAL_MAX_BUFFERS")
    try:
        if most is not None:
            os.environ["ANNEAL_MAX_BUFFERS"] = str(most)
        yield
    finally:
        if before is None:
            os.environ.pop("ANNEAL_MAX_BUFFERS", None)
        else:
            os.environ["ANNEAL_MAX_BUFFERS"] = before


@contextmanager
def _refusals(device: str) -> Iterator[None]:
    """A device may refuse a dtype."""
    try:
        yield
    except TypeError as e:
        if not str(e).startswith((f"{device} has no ", f"{device} holds no ")):
            raise
        refused[device] += 1


def _moved(program: Program, inputs: Sequence[Data]) -> list[Data]:
    """How far each element of the results moves with the last bit of the greatest input: the
    farthest of some draws."""
    rng = np.random.default_rng(11)
    at = [np.asarray(x, np.float64) for x in program(reference, *inputs)]
    far = [np.zeros(x.shape) for x in at]
    for _ in range(4):
        nudged = [_nudged(x, rng) if x.dtype.kind == "f" else x for x in inputs]
        for known, x, y in zip(far, at, program(reference, *nudged), strict=True):
            with np.errstate(invalid="ignore"):
                d = np.abs(np.asarray(y, np.float64) - x)
            np.maximum(known, np.where(np.isfinite(d), d, 0.0), out=known)
    return far


def _nudged(x: Data, rng: np.random.Generator) -> Data:
    sizes = np.abs(x[np.isfinite(x)])
    last_bit = np.spacing(sizes.max(initial=0))
    return (x + last_bit * rng.choice([-1, 1], x.shape).astype(x.dtype)).astype(x.dtype)


def same(got: Any, want: Data, tolerance: float | None = None, what: str = "",
         moved: Data | float = 0.0) -> None:  # fmt: skip
    """`got` has the shape, dtype and values of `want`: integers exactly, floats closely, or as far
    as `moved` says that the inputs' last bits reach."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype, f"{what}: {got.dtype}, expected {want.dtype}"
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, what)
        return
    close = _TOLERANCE[want.dtype.itemsize] if tolerance is None else tolerance
    sizes = np.abs(want.astype(np.float64))
    scale = float(sizes[np.isfinite(sizes)].max(initial=0.0))
    wide, want = got.astype(np.float64), want.astype(np.float64)
    apart = np.minimum(_ROUNDINGS * np.asarray(moved), _MOST_MOVED * scale)
    with np.errstate(invalid="ignore"):
        expected = np.where(np.abs(wide - want) <= apart, wide, want)
    np.testing.assert_allclose(wide, expected, close, 0.1 * close * scale, err_msg=what)


def _weighted(xp: Any, outputs: Sequence[Any]) -> Any:
    """A scalar in which every element of every float output counts otherwise."""
    total: Any = 0.0
    for out in outputs:
        if np.dtype(getattr(out.dtype, "name", out.dtype)).kind == "f":
            n = int(np.prod(out.shape))
            weights = (np.cos(np.arange(n)) + 1.5).reshape(out.shape).astype(np.float32)
            total = xp.add(total, xp.sum(xp.multiply(out, weights)))
    return total


def _slopes_agree(program: Program, inputs: Sequence[Data], device: str) -> None:
    """The gradient, along a random direction, is the reference's difference."""
    wrt = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
    slope = anneal.jit(anneal.grad(lambda *args: _weighted(ours, program(ours, *args)), wrt))
    found = [np.asarray(g).astype(np.float64) for g in slope(*inputs)]
    rng = np.random.default_rng(7)
    along = {i: rng.choice([-1.0, 1.0], inputs[i].shape) for i in wrt}

    def at(step: float) -> float:
        moved = [np.asarray(x + step * along[i], np.float64) if i in along else x
                 for i, x in enumerate(inputs)]  # fmt: skip
        return float(_weighted(reference, program(reference, *moved)))

    want = (at(_STEP) - at(-_STEP)) / (2 * _STEP)
    terms = [g * along[i] for i, g in zip(wrt, found, strict=True)]
    got = sum(float(t.sum()) for t in terms)
    scale = sum(float(np.abs(t).sum()) for t in terms)
    noise = 4e-15 * abs(at(0.0)) / _STEP + 1e-4
    close = 5e-3 * max(scale, abs(want)) + noise
    what = f"{device}, gradient along a direction"
    np.testing.assert_allclose(got, want, rtol=0, atol=close, err_msg=what)


# -- arrays that were donated, and those that were not --------------------------------------------


def deleted(x: Any) -> None:
    """Reading x is an error that says so."""
    assert x.is_deleted(), "an array that was donated is not deleted"
    try:
        np.asarray(x)
    except anneal.errors.DeletedArrayError:
        return
    raise AssertionError("an array that was donated can be read")


def scribble(x: Any) -> None:
    """Writes into what NumPy was given, where that is allowed."""
    copy = np.asarray(x)
    if copy.flags.writeable:
        copy[...] = 77
