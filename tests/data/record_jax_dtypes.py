"""Records the dtypes that jax.numpy's results have, weak ones marked with '*': `python
record_jax_dtypes.py` in an environment with JAX writes jax_dtypes.json beside this file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

DTYPES = ("bool", "int8", "int32", "uint8", "uint32", "float16", "bfloat16", "float32")
SCALARS = {"True": True, "1": 1, "1.0": 1.0}
BINARY = ("add", "subtract", "multiply", "true_divide", "floor_divide", "remainder", "power",
          "maximum", "less", "equal", "bitwise_and", "left_shift", "matmul")  # fmt: skip
UNARY = ("abs", "negative", "sign", "exp", "sqrt", "floor", "ceil", "round", "square", "isnan",
         "isfinite", "logical_not", "invert", "sum", "prod", "mean", "var", "std", "max", "any",
         "all", "argmax", "argsort", "sort", "cumsum", "cumprod", "count_nonzero", "sin", "tanh",
         "log1p", "expm1", "reciprocal", "trunc", "zeros_like", "ones_like", "positive",
         "signbit", "diff", "trace", "ptp")  # fmt: skip


def result(f: Any, *args: Any) -> str:
    try:
        out = f(*args)
    except (TypeError, ValueError):
        return "error"
    name = getattr(out.dtype, "name", str(out.dtype))
    return name + "*" * bool(out.weak_type)


def table(np: Any, array: Any) -> dict[str, str]:
    """Every function of the lists with every dtype, in the namespace `np`."""
    values: dict[str, Any] = {d: array([[1, 2], [1, 1]], d) for d in DTYPES} | SCALARS
    out = {}
    for name in BINARY:
        f = getattr(np, name, None)
        for a in values if f else ():
            for b in values:
                if name == "matmul" and (a in SCALARS or b in SCALARS):
                    continue
                out[f"{name}({a}, {b})"] = result(f, values[a], values[b])
    for name in UNARY:
        f = getattr(np, name, None)
        for a in DTYPES if f else ():
            out[f"{name}({a})"] = result(f, values[a])
        if f and name in ("abs", "exp", "sign", "sum", "mean", "max"):
            for a in SCALARS:
                out[f"{name}({a})"] = result(f, values[a])
    return out


def main() -> None:
    import jax.numpy as jnp

    path = Path(__file__).with_name("jax_dtypes.json")
    path.write_text(json.dumps(table(jnp, jnp.array), indent=0) + "\n")


if __name__ == "__main__":
    main()
