"""anneal.optim against optax (data/record_optax.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import optim, tree
from tests.records import DATA, script

OPTAX = np.load(DATA / "optax.npz")
RECORD = script("record_optax")


@pytest.mark.parametrize("name", RECORD.OPTIMIZERS)
def test_steps_are_those_of_optax(name: str) -> None:
    got = RECORD.descend(optim, anneal.grad, anp.asarray, name)
    np.testing.assert_allclose(got, OPTAX[name], 1e-5, 1e-6)


@pytest.mark.parametrize("name", RECORD.OPTIMIZERS)
def test_a_jitted_step_is_traced_once(name: str) -> None:
    optimizer = RECORD.OPTIMIZERS[name](optim)
    traces = []

    def step(params: Any, state: Any) -> Any:
        traces.append(1)
        grads = tree.map(lambda p: p * 2, params)
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state

    jitted = anneal.jit(step, donate_argnums=(0, 1))
    params = {"w": anp.asarray([1.0, -2.0]), "b": anp.ones(())}
    state = optimizer.init(params)
    for _ in range(4):
        params, state = jitted(params, state)
    assert len(traces) == 1 and abs(params["w"].tolist()[0]) < 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "rmsprop", "cosine"])
def test_parameters_and_states_keep_their_dtype(name: str, dtype: str) -> None:
    optimizer = RECORD.OPTIMIZERS[name](optim)
    params = anp.ones(3, dtype)
    before = optimizer.init(params)
    updates, after = optimizer.update(params, before, params)
    assert optim.apply_updates(params, updates).dtype.name == dtype
    kinds = [[leaf.dtype for leaf in tree.leaves(s)] for s in (before, after)]
    assert kinds[0] == kinds[1]


def test_global_norm() -> None:
    assert optim.global_norm({"a": anp.asarray([3.0]), "b": [anp.asarray(4.0)]}).item() == 5
    clipped, _ = optim.clip_by_global_norm(1.0).update([anp.asarray([3.0, 4.0])], ())
    np.testing.assert_allclose(np.asarray(clipped[0]), [0.6, 0.8], 1e-6)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="pass params to update"):
        optim.add_decayed_weights(0.1).update([anp.ones(1)], ())
    with pytest.raises(ValueError, match="the state has 1 parts for 2"):
        optim.adam(0.1).update([anp.ones(1)], ((),))
    with pytest.raises(ValueError, match="decay_steps must be positive, got 0"):
        optim.cosine_decay_schedule(0.1, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_optimizers_of_halves_step_as_those_of_floats(name: str, dtype: str) -> None:
    """Squares are 0 in float16 where gradients are small, inf where they are large; eps is 0."""
    grads = [0.0, 1e-4, -2e-5, 1.0, 300.0, -60000.0]
    steps = {}
    for kind in (dtype, "float32"):
        optimizer = getattr(optim, name)(0.1)
        params = anp.ones(6, kind)
        state = optimizer.init(params)
        for _ in range(3):
            updates, state = optimizer.update(anp.asarray(grads, kind), state, params)
            assert updates.dtype.name == kind
            params = optim.apply_updates(params, updates)
        steps[kind] = np.asarray(params.astype("float32"))
    np.testing.assert_allclose(steps[dtype], steps["float32"], 0.02, 0.02)


def test_the_norm_of_halves_does_not_overflow() -> None:
    grads = anp.asarray([300.0, 400.0], "float16")
    clipper = optim.clip_by_global_norm(1.0)
    clipped, _ = clipper.update(grads, clipper.init(grads))
    assert clipped.dtype.name == "float16"
    np.testing.assert_allclose(np.asarray(clipped), [0.6, 0.8], 1e-3)
