"""Records what JAX makes of random programs, to hold their reference to it: `python -m
tests.data.record_jax_programs`, from the project's root in an environment with JAX, writes
jax_programs.npz beside this file and prints what the reference gives otherwise."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np

os.environ["JAX_PLATFORMS"] = "cpu"

FAMILIES = ("operations", "indices", "index_dtypes", "reductions")
COUNT = 80
# Elements of the largest result that is kept.
MOST = 500


class Jax:
    """jax.numpy under the names that programs use."""

    def __getattr__(self, name: str) -> Any:
        import jax
        import jax.numpy as jnp

        how, _, update = name.partition("_")
        if how == "at":
            return lambda x, key, v: getattr(x.at[key], update)(v)
        return {
            "getitem": lambda x, key: x[key],
            "softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax, "relu": jax.nn.relu,
            "logsumexp": jax.nn.logsumexp, "softplus": jax.nn.softplus,
            "one_hot": jax.nn.one_hot, "sigmoid": jax.nn.sigmoid, "cross_entropy": _cross_entropy,
        }.get(name) or getattr(jnp, name)  # fmt: skip


def _cross_entropy(logits: Any, labels: Any) -> Any:
    import jax

    rows = jax.nn.log_softmax(logits)
    return -rows[np.arange(len(labels)), labels].mean()


def results(text: str, xp: Any, convert: Any) -> list[np.ndarray[Any, Any]]:
    """What the program of a text gives in a namespace."""
    from tests.random_programs import data
    from tests.random_programs.builder import HEADER

    found: list[np.ndarray[Any, Any]] = []

    def agree(program: Any, inputs: Any, how: str, **options: Any) -> None:
        native = [x.astype(x.dtype.newbyteorder("=")) for x in inputs]
        found.extend(np.asarray(v) for v in program(xp, *map(convert, native)))

    exec(text.removeprefix(HEADER), {"np": np, "data": data, "checks": SimpleNamespace(agree=agree)})
    return found


def differs(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> bool:
    """Whether dtype, shape or values of the reference's `got` are not JAX's `want`."""
    if (got.dtype, got.shape) != (want.dtype, want.shape):
        return True
    close = {2: 5e-3, 4: 1e-4}.get(want.dtype.itemsize, 0.0) if want.dtype.kind == "f" else 0.0
    scale = float(np.abs(want.astype(np.float64)).max(initial=0.0)) if close else 0.0
    return not np.allclose(got.astype(np.float64), want.astype(np.float64), close, close * scale,
                           equal_nan=True)  # fmt: skip


def main(count: int = COUNT) -> None:
    from jax import numpy as jnp

    from tests.random_programs import reference
    from tests.random_programs.choices import Choices
    from tests.random_programs.families import FAMILIES as MAKERS

    out: dict[str, Any] = {}
    for family in FAMILIES:
        for number in range(count if family != "reductions" else count // 5):
            text = MAKERS[family](Choices(Random(f"jax/{family}/{number}")))
            key = f"{family}/{number}"
            try:
                want = results(text, Jax(), jnp.asarray)
            except Exception as e:
                print(f"{key}: JAX raises {e!r}"[:300], file=sys.stderr)
                print(text, file=sys.stderr)
                continue
            got = results(text, reference, np.asarray)
            bad = [i for i, (g, w) in enumerate(zip(got, want, strict=True)) if differs(g, w)]
            for i in bad:
                print(f"{key}, result {i}: {got[i]!r}, in JAX {want[i]!r}\n{text}", file=sys.stderr)
            out[f"{key}/text"] = text
            out |= {f"{key}/{i}": w for i, w in enumerate(want) if w.size <= MOST}
    np.savez_compressed(Path(__file__).with_name("jax_programs.npz"), **out)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
