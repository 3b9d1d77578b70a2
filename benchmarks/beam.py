"""What searches gain: seconds of the heuristic's kernels by those of the winners, timed by turns.

`python benchmarks/beam.py [--device cpu] [--width 2] [--turns 40] [NAME ...]`. A ratio above 1 is a
gain; no result is worse than the heuristic's when it is kept. Nothing is read from, or left in, the
cache's folder.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

import anneal
import anneal.numpy as anp
from anneal import device, nn, tuning
from anneal.kernel.beam import shaped
from anneal.kernel.opts import parse
from anneal.lowering import code, searches


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(len(shape)).standard_normal(shape, np.float32)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "matmul 256": (lambda x, w: x @ w, (normal(256, 256), normal(256, 256))),
    "matmul 30 x 500 x 70": (lambda x, w: x @ w, (normal(30, 500), normal(500, 70))),
    "thin": (lambda x, w: x @ w, (normal(4, 1024), normal(1024, 1024))),
    "transposed": (lambda x, w: x.T @ w, (normal(300, 200), normal(300, 100))),
    "softmax": (nn.softmax, (normal(512, 1000),)),
    "columns": (lambda x: x.sum(0), (normal(1000, 300),)),
    "transpose": (lambda x: x.T + 1, (normal(700, 500),)),
    "conv": (lambda x, w: anneal.lax.conv(x, w, (1, 1), "SAME"),
             (normal(8, 16, 16, 16), normal(32, 16, 3, 3))),
    "gelu": (nn.gelu, (normal(1 << 18),)),
    "gradient": (anneal.grad(lambda w, x: anp.mean(nn.relu(x @ w) ** 2)),
                 (normal(64, 128), normal(256, 64))),
}  # fmt: skip


def ratio(program: str, width: int, turns: int) -> float:
    """Searches each kernel of a program; prints what its result gains, and returns the least."""
    f, args = PROGRAMS[program]
    here: Any = device.current()
    limits = device.limits()
    least = math.inf
    for nest in tuning._nests(anneal.jit(f).lower(*args).graph, frozenset(), limits):
        tuning.tune(here, nest, limits, width)
        line = searches.find(here.driver, nest.key)
        if line is None:
            continue
        chosen = code.heuristic(nest, limits.target)
        winner = shaped(nest, parse(line), limits.target) or chosen.kernel
        with tuning._bench(here, nest, chosen, limits) as bench:
            before, after = bench.by_turns([chosen.kernel, winner], turns, math.inf)
        least = min(least, before / after)
        print(f"{program:22} kernel {nest.key[:6]}  {before * 1e3:8.3f} ms  {before / after:6.2f}  "
              f"{line if winner.body is not chosen.kernel.body else '(as it was)'}", flush=True)
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(PROGRAMS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=2)
    parser.add_argument("--turns", type=int, default=40)
    args = parser.parse_args()
    os.environ["ANNEAL_CACHE_DIR"] = ""
    with anneal.default_device(args.device):
        found = [ratio(name, args.width, args.turns) for name in args.names or PROGRAMS]
    print(f"least {min(found):.2f}, above 1.03: {sum(r > 1.03 for r in found)} of {len(found)}")


if __name__ == "__main__":
    main()
