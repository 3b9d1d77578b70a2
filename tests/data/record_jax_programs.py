"""Records what JAX makes of random programs, to hold their reference to it: `python -m
tests.data.record_jax_programs`, from the project's root in an environment with JAX, writes
jax_programs.npz beside this file and prints what the reference gives otherwise."""

from __future__ import annotations

import ast
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
FILE = Path(__file__).with_name("jax_programs.npz")
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

    names = {"np": np, "data": data, "checks": SimpleNamespace(agree=agree)}
    exec(text.removeprefix(HEADER), names)
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

    recorded: list[tuple[str, list[np.ndarray[Any, Any]]]] = []
    for family in FAMILIES:
        for number in range(count if family != "reductions" else count // 5):
            text = MAKERS[family](Choices(Random(f"jax/{family}/{number}")))
            try:
                want = results(text, Jax(), jnp.asarray)
            except Exception as e:
                print(f"JAX raises {e!r}\n{text}"[:3000], file=sys.stderr)
                continue
            got = results(text, reference, np.asarray)
            for g, w in zip(got, want, strict=True):
                if differs(g, w):
                    print(f"{g!r}, in JAX {w!r}\n{text}", file=sys.stderr)
            recorded.append((text, [w for w in want if w.size <= MOST]))
    flat = [w for _, ws in recorded for w in ws]
    np.savez_compressed(
        FILE, text=[text for text, _ in recorded], count=[len(ws) for _, ws in recorded],
        dtype=[w.dtype.name for w in flat], shape=[str(w.shape) for w in flat],
        values=np.concatenate([w.reshape(-1).astype(np.float64) for w in flat]),
    )  # fmt: skip


def read() -> list[tuple[str, list[np.ndarray[Any, Any]]]]:
    """Every program's text, and JAX's results but for large ones, in order."""
    with np.load(FILE) as stored:
        values, place, out = stored["values"], 0, []
        forms = zip(stored["dtype"].tolist(), stored["shape"].tolist(), strict=True)
        for text, n in zip(stored["text"].tolist(), stored["count"].tolist(), strict=True):
            found = []
            for _ in range(n):
                dtype, shape = next(forms)
                shape = ast.literal_eval(shape)
                size = int(np.prod(shape))
                found.append(values[place : place + size].astype(dtype).reshape(shape))
                place += size
            out.append((text, found))
    return out


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
