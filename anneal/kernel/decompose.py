"""What no device has, or not all compute alike, by what they agree on."""

from __future__ import annotations

from dataclasses import replace

from anneal.kernel.ir import Kernel
from anneal.kernel.target import Target
from anneal.rules._decompose import RULES as DRIVERS
from anneal.rules._kernel import RULES
from anneal.uop import dtypes, ops
from anneal.uop.rewrite import rewrite
from anneal.uop.uop import UOp, const, rebuild, toposort


def decompose(kernel: Kernel, target: Target) -> Kernel:
    """`kernel` with `rules/kernel.upat` applied, before that for WGSL's drivers
    `rules/decompose.upat`; bfloat16 computed in float32."""
    body = kernel.body
    if target.name == "webgpu":
        (body,) = rewrite([body], DRIVERS)
    (body,) = rewrite([body], RULES)
    if any(u.dtype is dtypes.bfloat16 for u in toposort([body])):
        body = _widened(body)
    return replace(kernel, body=body)


def _widened(body: UOp) -> UOp:
    """bfloat16 is how numbers are stored, as uint16: each operation widens, computes in float32 and
    rounds to nearest even, as if it were alone."""
    done: dict[UOp, UOp] = {}
    for u in toposort([body]):
        src = [done[s] for s in u.src]
        half = u.dtype is dtypes.bfloat16
        if u.op is ops.CONST and half:
            done[u] = const(u.arg, dtypes.float32)
        elif u.op is ops.CAST:
            given = src[0]
            done[u] = _rounded(given.cast(dtypes.float32)) if half else given.cast(u.dtype)
        elif u.op is ops.BITCAST and half:
            done[u] = _float(src[0].bitcast(dtypes.uint16))
        elif u.op is ops.BITCAST and u.src[0].dtype is dtypes.bfloat16:
            done[u] = _bits(src[0]).bitcast(u.dtype)
        elif u.op is ops.LOAD and half:
            plain = UOp(ops.LOAD, dtypes.uint16, (*src[:2], *src[2:3],
                                                  *([const(0, dtypes.uint16)] if src[2:] else [])))
            value = _float(plain)
            done[u] = src[2].where(value, src[3]) if src[2:] else value
        elif u.op is ops.STORE and u.src[2].dtype is dtypes.bfloat16:
            done[u] = UOp(ops.STORE, u.dtype, (*src[:2], _bits(src[2]), *src[3:]))
        elif half and u.op in (ops.ARG, ops.AFTER):
            done[u] = UOp(u.op, dtypes.uint16, tuple(src), u.arg)
        elif half and u.op is ops.STAGE:
            done[u] = UOp(u.op, dtypes.uint16, (_bits(src[0]), *src[1:]), u.arg)
        elif half and u.op in ops.ELEMENTWISE and u.op not in (ops.WHERE, ops.NEG, ops.ABS):
            done[u] = _rounded(UOp(u.op, dtypes.float32, tuple(src), u.arg))
        elif half:
            done[u] = UOp(u.op, dtypes.float32, tuple(src), u.arg)
        else:
            done[u] = rebuild(u, tuple(src))
    return done[body]


def _rounded(x: UOp) -> UOp:
    """A float32 that bfloat16 holds: the nearest, ties to even; NaN stays."""
    bits = x.bitcast(dtypes.uint32)
    up = (bits >> 16) & 1
    near = ((bits + 0x7FFF + up) & 0xFFFF0000).bitcast(dtypes.float32)
    return x.eq(x).where(near, x)


def _bits(x: UOp) -> UOp:
    """What is stored of a float32 that bfloat16 holds; NaN has a bit there, too."""
    bits = x.bitcast(dtypes.uint32)
    nan = const(0x7FC0, dtypes.uint16)
    return x.eq(x).where((bits >> 16).cast(dtypes.uint16), nan)


def _float(bits: UOp) -> UOp:
    return (bits.cast(dtypes.uint32) << 16).bitcast(dtypes.float32)


