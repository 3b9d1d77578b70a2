"""Records what jax.random gives: `python record_jax_random.py` in an environment with JAX writes
jax_random.npz beside this file. tests/test_random.py compares anneal.random with it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

os.environ["JAX_PLATFORMS"] = "cpu"

SEEDS = (0, 1, 42, -1, 2**31 - 1, -(2**31))


def main() -> None:
    import jax
    import jax.numpy as jnp
    from jax import random

    out: dict[str, object] = {"version": np.array(jax.__version__)}
    k = random.PRNGKey(42)
    for seed in SEEDS:
        out[f"key/{seed}"] = random.PRNGKey(seed)
    out["split/2"] = random.split(k)
    out["split/5"] = random.split(k, 5)
    out["split/2,3"] = random.split(k, (2, 3))
    for data in (0, 1, 123456789, 2**32 - 1):
        out[f"fold_in/{data}"] = random.fold_in(k, data)
    for dtype in ("uint8", "uint16", "uint32"):
        out[f"bits/{dtype}"] = random.bits(k, (3, 7), dtype)
    for dtype in ("float32", "float16", "bfloat16"):
        u = random.uniform(k, (3, 50), dtype)
        out[f"uniform/{dtype}"] = u.astype(jnp.float32)
        out[f"normal/{dtype}"] = random.normal(k, (3, 50), dtype).astype(jnp.float32)
    out["uniform/-2,3"] = random.uniform(k, (100,), minval=-2.0, maxval=3.0)
    out["truncated_normal/-2,2"] = random.truncated_normal(k, -2.0, 2.0, (100,))
    out["truncated_normal/0.5,3"] = random.truncated_normal(k, 0.5, 3.0, (100,))
    for lo, hi, dtype in ((0, 10, "int32"), (-5, 7, "int32"), (0, 256, "uint8"), (5, 5, "int32"),
                          (-100, 100, "int8"), (0, 60000, "uint16"), (0, 3000000000, "uint32"),
                          (-(2**31), 2**31 - 1, "int32")):  # fmt: skip
        hi_ = np.uint32(hi) if dtype == "uint32" else hi
        out[f"randint/{lo},{hi},{dtype}"] = random.randint(k, (4, 9), lo, hi_, dtype)
    out["bernoulli/0.3"] = random.bernoulli(k, 0.3, (60,))
    out["permutation/17"] = random.permutation(k, 17)
    out["permutation/2000"] = random.permutation(k, 2000)
    x = jnp.arange(15).reshape(5, 3)
    out["permutation/rows"] = random.permutation(k, x)
    out["permutation/columns"] = random.permutation(k, x, axis=1)
    out["permutation/independent"] = random.permutation(k, x, axis=1, independent=True)
    out["gumbel"] = random.gumbel(k, (60,))
    out["exponential"] = random.exponential(k, (60,))
    logits = jnp.sin(jnp.arange(24.0)).reshape(4, 6) * 2
    out["categorical"] = random.categorical(k, logits)
    out["categorical/axis0"] = random.categorical(k, logits, axis=0)
    out["categorical/shape"] = random.categorical(k, logits, shape=(3, 4))
    out["choice/10"] = random.choice(k, 10, (12,))
    out["choice/without"] = random.choice(k, 10, (6,), replace=False)
    initializers = jax.nn.initializers
    for name in ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform",
                 "lecun_normal"):  # fmt: skip
        out[f"init/{name}"] = getattr(initializers, name)()(k, (6, 5))
        out[f"init/{name}/conv"] = getattr(initializers, name)(in_axis=1, out_axis=0)(
            k, (4, 3, 2, 2))
    out["init/normal"] = initializers.normal()(k, (6, 5))
    out["init/uniform"] = initializers.uniform()(k, (6, 5))
    out["init/truncated_normal"] = initializers.truncated_normal()(k, (6, 5))
    path = Path(__file__).with_name("jax_random.npz")
    np.savez_compressed(path, **{n: np.asarray(v) for n, v in out.items()})


if __name__ == "__main__":
    main()
