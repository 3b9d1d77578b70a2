"""What no device has, or not all compute alike, by what they agree on."""

from __future__ import annotations

from anneal.kernel.ir import Kernel
from anneal.rules._kernel import RULES
from anneal.uop.rewrite import rewrite


def decompose(kernel: Kernel) -> Kernel:
    """`kernel` with `rules/kernel.upat` applied."""
    return Kernel(rewrite([kernel.body], RULES)[0], kernel.opts)
