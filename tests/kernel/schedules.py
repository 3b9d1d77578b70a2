"""Random lists of Opts for random kernels: what a target accepts must keep the meaning."""

from __future__ import annotations

import random

import numpy as np

from anneal.kernel.ir import Kernel, Opt, name_of
from anneal.kernel.opts import Refused, apply
from anneal.kernel.target import Target
from tests.kernel.kernels import MAKERS, Case

_LENGTHS = (1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 20, 33, 40)
_PARTS = (2, 3, 4, 8, 16)


def random_case(rng: random.Random) -> tuple[str, Case]:
    name = rng.choice(list(MAKERS))
    make, count = MAKERS[name]
    lengths = [rng.choice(_LENGTHS) for _ in range(count)]
    return f"{name}{tuple(lengths)}", make(np.random.default_rng(rng.randrange(1 << 30)), *lengths)


def random_opt(rng: random.Random, kernel: Kernel, target: Target) -> Opt | None:
    names = [name_of(r) for r in kernel.ranges]
    if not names:
        return None
    one, other = rng.choice(names), rng.choice(names)
    kinds = [k.upper() for k in sorted(target.kinds)]
    kind = rng.choice(("SPLIT", "SPLIT", "SPLIT", "KIND", "KIND", "KIND", "KIND", "GROUP", "CUT",
                       "STAGE", "STAGE", "KEEP", "APART", "CACHE", "REORDER"))  # fmt: skip
    if kind == "KIND":
        return Opt(rng.choice(kinds), (one,))
    if kind == "SPLIT":
        return Opt(kind, (one, rng.choice(_PARTS)))
    if kind == "CUT":
        return Opt(kind, (one, rng.choice(_PARTS)))
    if kind == "STAGE":
        some = rng.sample(names, min(len(names), rng.choice((1, 2, 3))))
        return Opt(kind, (rng.randrange(len(kernel.params)), *some))
    if kind == "CACHE":
        return Opt(kind, (one, other))
    if kind == "REORDER":
        return Opt(kind, tuple(rng.sample(names, min(len(names), rng.choice((2, 3, 4))))))
    return Opt(kind, (one,))


def random_schedule(rng: random.Random, kernel: Kernel, target: Target) -> tuple[Kernel, list[str]]:
    """The kernel after up to ten Opts, and why others were refused."""
    refused = []
    for _ in range(rng.randrange(1, 11)):
        opt = random_opt(rng, kernel, target)
        if opt is None:
            break
        try:
            kernel = apply(kernel, [opt], target)
        except Refused as reason:
            refused.append(str(reason))
    return kernel, refused
