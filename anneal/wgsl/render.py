"""WGSL text of one kernel.

In: instructions of `lowering/linearize`. Out: a module with the entry point `main`. One invocation
computes one element of the grid; the text is a function of the structure alone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from anneal.lowering.cooperate import LANE, LANES
from anneal.lowering.linearize import Instruction
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.symbolic import bounds
from anneal.uop.uop import UOp

WORKGROUP = LANES
# Workgroups along x before the grid goes on along y; WebGPU's limit is 65535.
ROW = 32768

_TYPES = {dtypes.bool_: "bool", dtypes.int32: "i32", dtypes.uint32: "u32", dtypes.float32: "f32",
          dtypes.float16: "f16", dtypes.index: "i32"}  # fmt: skip
SUPPORTED = frozenset(_TYPES) - {dtypes.index}
_INFIX = {ops.ADD: "+", ops.SUB: "-", ops.MUL: "*", ops.DIV: "/", ops.AND: "&", ops.OR: "|",
          ops.XOR: "^", ops.LT: "<", ops.EQ: "=="}  # fmt: skip
_LOGICAL = {ops.ADD: "|", ops.MUL: "&", ops.MAX: "|", ops.MIN: "&", ops.XOR: "!="}
_CALLS = {ops.SQRT: "sqrt", ops.FLOOR: "floor", ops.ROUND: "round", ops.ABS: "abs"}
_FOLDS = {"add": ops.ADD, "mul": ops.MUL, "max": ops.MAX, "min": ops.MIN}
_OURS = {ops.EXP: "exp_", ops.LOG: "log_", ops.LOG1P: "log1p_", ops.SIN: "sin_", ops.COS: "cos_",
         ops.TANH: "tanh_", ops.POW: "pow_", ops.MOD: "fmod_"}  # fmt: skip
# The texts that a text calls, itself last.
_NEEDS = {"exp_": ("keep_", "exp_"), "log_": ("keep_", "logm_", "log_"),
          "log1p_": ("keep_", "logm_", "log1p_"), "sin_": ("keep_", "turn_", "sin_"),
          "cos_": ("keep_", "turn_", "cos_"), "tanh_": ("keep_", "exp_", "tanh_"),
          "pow_": ("keep_", "pow_")}  # fmt: skip
_DEPTH = 6
# What is computed where it stands, never in the middle of a later line.
_ONCE = frozenset({ops.LOAD, ops.GROUP})


def type_of(dtype: DType) -> str:
    try:
        return _TYPES[dtype]
    except KeyError:
        known = ", ".join(sorted(d.name for d in SUPPORTED))
        raise TypeError(
            f"webgpu has no {dtype}: it computes {known}; cast with x.astype(...), or run on the "
            "interpreter (ANNEAL_DEVICE=interpreter)"
        ) from None


def storage_type(dtype: DType) -> str:
    """The element type in a buffer: WGSL has no bool there."""
    return "u32" if dtype is dtypes.bool_ else type_of(dtype)


def render(name: str, instructions: Sequence[Instruction], args: Sequence[tuple[DType, str]],
           grid: Sequence[UOp], shared: bool) -> str:  # fmt: skip
    """The module; `args` are (dtype, "read" | "read_write") by ARG position, `grid` the RANGEs of
    the grid, outermost first, `shared` whether a workgroup computes one point of it."""
    body = _Body(instructions, grid, shared)
    lines = body.lines()
    used = {dtype for dtype, _ in args} | {i.node.dtype for i in instructions}
    text: list[str] = []
    if dtypes.float16 in used:
        text.append("enable f16;")
    for i, (dtype, access) in enumerate(args):
        text.append(f"@group(0) @binding({i}) var<storage, {access}> b{i}: "
                    f"array<{storage_type(dtype)}>;")
    text += [f"var<workgroup> {body.memory(a)}: array<{type_of(a.dtype)}, {a.arg[1]}>;"
             for a in body.arrays if a.op is ops.WORKGROUP]  # fmt: skip
    text += [_HELPERS[h] for h in _HELPERS if h in body.helpers]
    if "keep_" in body.helpers:
        lines.insert(0, "  zero_ = id.x >> 31u;")
    text += [_group(how, dtype, body.combined(how, dtype)) for how, dtype in body.groups]
    text.append(f"// {name}")
    text.append(f"@compute @workgroup_size({WORKGROUP})")
    if shared:
        text.append("fn main(@builtin(workgroup_id) id: vec3<u32>, "
                    "@builtin(local_invocation_index) local: u32) {")  # fmt: skip
    else:
        text.append("fn main(@builtin(global_invocation_id) id: vec3<u32>) {")
    text += lines
    text.append("}")
    return "\n".join(text) + "\n"


def _operands(i: Instruction) -> tuple[UOp, ...]:
    """The nodes whose values the instruction uses."""
    u = i.node
    if i.kind == "fold":
        return u.src[:1]
    return u.src[1:2] if u.op is ops.LOAD else u.src


class _Body:
    def __init__(self, instructions: Sequence[Instruction], grid: Sequence[UOp],
                 shared: bool) -> None:  # fmt: skip
        self.instructions = instructions
        self.grid, self.shared = grid, shared
        self.arrays = dict.fromkeys(i.node.src[0] for i in instructions if i.kind == "store")
        self.groups: dict[tuple[str, DType], None] = {}
        self.helpers: dict[str, None] = {}
        self.names = 0
        self.text: dict[UOp, str] = {}
        self.depth: dict[UOp, int] = {}
        self.part: dict[UOp, str] = {}
        self.uses: dict[UOp, int] = {}
        for i in instructions:
            if i.kind in ("let", "store", "fold", "if"):
                for s in _operands(i):
                    self.uses[s] = self.uses.get(s, 0) + 1

    def lines(self) -> list[str]:
        out = self._thread()
        out += [f"  var {self.memory(a)}: array<{type_of(a.dtype)}, {a.arg[1]}>;"
                for a in self.arrays if a.op is ops.REGISTERS]  # fmt: skip
        indent = 1
        for kind, u, length in self.instructions:
            if kind == "end":
                indent -= 1
            line = getattr(self, f"_{kind}")(u, *([length] if length else []))
            if line:
                out.append("  " * indent + line)
            if kind in ("loop", "block", "if"):
                indent += 1
        return out

    def _thread(self) -> list[str]:
        """The counters of the grid, from the number of the thread."""
        sizes = [int(r.src[0].arg) for r in self.grid]
        total = 1
        for n in sizes:
            total *= n
        out = [f"  let gid = i32(id.x + id.y * {ROW if self.shared else ROW * WORKGROUP}u);"]
        if self.shared:
            self.text[LANE] = "lane"
            out.append("  let lane = i32(local);")
        out.append(f"  if (gid >= {total}) {{ return; }}")
        below = total
        for n, r in enumerate(self.grid):
            above, below = below, below // sizes[n]
            text = "gid" if n == 0 else f"gid % {above}"
            if below != 1:
                text = f"{text} / {below}" if n == 0 else f"({text}) / {below}"
            self.text[r] = f"r{r.arg[0]}"
            out.append(f"  let r{r.arg[0]} = {text};")
        return out

    def _fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names - 1}"

    def _name(self, u: UOp) -> str:
        if u.op is ops.CONST:
            return self._literal(u.arg, u.dtype)
        return self.text[u]

    def _let(self, u: UOp) -> str | None:
        if u.op is ops.BARRIER:
            stored = u.src[0].src[0].src[0]
            return "storageBarrier();" if stored.op is ops.ARG else "workgroupBarrier();"
        text = self._expression(u)
        depth = 1 + max((self.depth.get(s, 0) for s in u.src), default=0)
        if self.uses.get(u, 0) <= 1 and depth < _DEPTH and u.op not in _ONCE:
            self.text[u], self.depth[u] = f"({text})" if " " in text else text, depth
            return None
        self.text[u] = self._fresh("v")
        self.depth[u] = 0
        return f"let {self.text[u]} = {text};"

    def _init(self, u: UOp) -> str:
        from anneal.lowering.kernels import identity

        self.text[u] = self._fresh("acc")
        start = self._literal(identity(u.arg[0], u.dtype), u.dtype)
        return f"var {self.text[u]} = {start};"

    def _part(self, u: UOp) -> str:
        self.part[u] = self._fresh("part")
        return f"var {self.part[u]} = {self._literal(0, u.dtype)};"

    def _join(self, u: UOp) -> str:
        return self._folded(u, self.text[u], self.part.pop(u))

    def _block(self, r: UOp, length: int) -> str:
        start = f"s{r.arg[0]}"
        return f"for (var {start} = 0; {start} < {self._name(r.src[0])}; {start} += {length}) {{"

    def _loop(self, r: UOp, length: int = 0) -> str:
        name = self.text[r] = f"r{r.arg[0]}"
        start, end = "0", self._name(r.src[0])
        if length:  # of a block
            start = f"s{r.arg[0]}"
            whole = int(r.src[0].arg) % length == 0
            end = f"{start} + {length}" if whole else f"min({start} + {length}, {end})"
        return f"for (var {name} = {start}; {name} < {end}; {name}++) {{"

    def _if(self, u: UOp) -> str:
        return f"if ({self._condition(u)}) {{"

    def _condition(self, u: UOp) -> str:
        """A conjunction of comparisons of counters with constants."""
        text = [self._condition(s) if s.op in ops.BINARY else self._name(s) for s in u.src]
        return f"{text[0]} {'&&' if u.op is ops.AND else '=='} {text[1]}"

    def _end(self, r: UOp) -> str:
        return "}"

    def _fold(self, u: UOp) -> str:
        return self._folded(u, self.part.get(u, self.text[u]), self._name(u.src[0]))

    def _folded(self, u: UOp, acc: str, value: str) -> str:
        return f"{acc} = {self._binary(_FOLDS[u.arg[0]], u.dtype, acc, value)};"

    def combined(self, how: str, dtype: DType) -> str:
        """Two lanes' values, `a` and `b`, as one."""
        return self._binary(_FOLDS[how], dtype, "a", "b")

    def _store(self, u: UOp) -> str:
        value = self._name(u.src[2])
        memory = u.src[0]
        if u.src[2].dtype is dtypes.bool_ and memory.op is ops.ARG:
            value = f"select(0u, 1u, {value})"
        text = f"{self.memory(memory)}[{self._name(u.src[1])}] = {value};"
        return f"if ({self._name(u.src[3])}) {{ {text} }}" if u.src[3:] else text

    def memory(self, u: UOp) -> str:
        if u.op is ops.ARG:
            return f"b{u.arg[0]}"
        return f"{'p' if u.op is ops.REGISTERS else 'w'}{u.arg[0]}"

    def _helper(self, name: str) -> str:
        self.helpers[name] = None
        return name

    def _expression(self, u: UOp) -> str:
        if u.op is ops.LOAD:
            text = f"{self.memory(u.src[0])}[{self._name(u.src[1])}]"
            stored = u.dtype is dtypes.bool_ and u.src[0].op is ops.ARG
            return f"{text} != 0u" if stored else text
        src = [self._name(s) for s in u.src]
        if u.op is ops.GROUP:
            self.groups[u.arg, u.dtype] = None
            self.combined(u.arg, u.dtype)  # for its helpers
            return f"{u.arg}_of_{type_of(u.dtype)}({src[0]}, {src[1]})"
        if u.op is ops.WHERE:
            return f"select({src[2]}, {src[1]}, {src[0]})"
        if u.op is ops.CAST:
            return self._cast(u, src[0])
        if u.op is ops.BITCAST:
            return f"bitcast<{type_of(u.dtype)}>({src[0]})"
        if u.op is ops.NOT:
            return f"!{src[0]}" if u.dtype is dtypes.bool_ else f"~{src[0]}"
        if u.op is ops.NEG:
            return f"-{src[0]}" if u.dtype.kind != "u" else f"(~{src[0]} + 1u)"
        if u.op in _CALLS:
            return f"{_CALLS[u.op]}({src[0]})"
        if u.op in _OURS and u.dtype.is_float:
            return self._ours(u, src)
        if u.op in (ops.FLOORDIV, ops.MOD):
            return self._division(u, src)
        if u.op in (ops.SHL, ops.SHR):
            return self._shift(u, src)
        if u.op is ops.NE:
            return f"!({src[0]} == {src[1]})"
        if u.op is ops.LT and u.src[0].dtype is dtypes.bool_:
            return f"(!{src[0]}) & {src[1]}"
        return self._binary(u.op, u.src[0].dtype, *src)

    def _binary(self, op: ops.Op, dtype: DType, a: str, b: str) -> str:
        if dtype is dtypes.bool_ and op in _LOGICAL:
            return f"{a} {_LOGICAL[op]} {b}"
        if op in (ops.MAX, ops.MIN):
            name = "max" if op is ops.MAX else "min"
            if dtype.is_float:
                name = self._helper(f"{name}_{type_of(dtype)}")
            return f"{name}({a}, {b})"
        if op in _INFIX:
            return f"{a} {_INFIX[op]} {b}"
        raise NotImplementedError(f"WGSL has no {op}")

    def _ours(self, u: UOp, src: list[str]) -> str:
        name = _OURS[u.op]
        for needed in _NEEDS.get(name, (name,)):
            self._helper(needed)
        if u.dtype is dtypes.float32:
            return f"{name}({', '.join(src)})"
        return f"{type_of(u.dtype)}({name}({', '.join(f'f32({s})' for s in src)}))"

    def _division(self, u: UOp, src: list[str]) -> str:
        plain = bounds(u.src[0])[0] >= 0 and bounds(u.src[1])[0] > 0
        if plain:
            return f"{src[0]} {'/' if u.op is ops.FLOORDIV else '%'} {src[1]}"
        kind = "floordiv" if u.op is ops.FLOORDIV else "mod"
        return f"{self._helper(f'{kind}_{type_of(u.dtype)}')}({src[0]}, {src[1]})"

    def _shift(self, u: UOp, src: list[str]) -> str:
        lo, hi = bounds(u.src[1])
        sign = "<<" if u.op is ops.SHL else ">>"
        if lo >= 0 and hi < 32:
            return f"{src[0]} {sign} u32({src[1]})"
        name = "shl" if u.op is ops.SHL else "shr"
        return f"{self._helper(f'{name}_{type_of(u.dtype)}')}({src[0]}, {src[1]})"

    def _cast(self, u: UOp, x: str) -> str:
        old, new = u.src[0].dtype, u.dtype
        if new is dtypes.bool_:
            return f"!({x} == {self._literal(0, old)})"
        if old.is_float and new.is_int:
            return f"{self._helper(f'to_{type_of(new)}')}(f32({x}))"
        return x if type_of(old) == type_of(new) else f"{type_of(new)}({x})"

    def _literal(self, value: bool | int | float, dtype: DType) -> str:
        if dtype.kind == "b":
            return "true" if value else "false"
        if dtype is dtypes.uint32:
            return f"{int(value)}u"
        if dtype.is_int:
            return "i32(-2147483647 - 1)" if value == -(1 << 31) else f"{int(value)}"
        value = float(value)
        if value != value or value in (float("inf"), float("-inf")) or value == 0 and \
                str(value)[0] == "-":  # fmt: skip
            (bits,) = struct.unpack("I", struct.pack("f", value))
            text = f"bitcast<f32>(0x{bits:08x}u)"
            return text if dtype is dtypes.float32 else f"f16({text})"
        return f"{value!r}{'h' if dtype is dtypes.float16 else 'f'}"


def _group(how: str, dtype: DType, combined: str) -> str:
    """A function that gives every lane all lanes' values combined, in a tree."""
    t = type_of(dtype)
    array = f"{how}_lanes_{t}"
    return f"""var<workgroup> {array}: array<{t}, {LANES}>;
fn {how}_of_{t}(x: {t}, lane: i32) -> {t} {{
  workgroupBarrier();
  {array}[lane] = x;
  workgroupBarrier();
  for (var n = {LANES // 2}; n > 0; n = n / 2) {{
    if (lane < n) {{
      let a = {array}[lane];
      let b = {array}[lane + n];
      {array}[lane] = {combined};
    }}
    workgroupBarrier();
  }}
  return {array}[0];
}}"""


def _nan_safe(name: str, t: str) -> str:
    return (f"fn {name}_{t}(a: {t}, b: {t}) -> {t} {{\n"
            f"  if (!(a == a)) {{ return a; }}\n  if (!(b == b)) {{ return b; }}\n"
            f"  return {name}(a, b);\n}}")  # fmt: skip


# What WGSL's own functions get wrong on common drivers: NaN in max and min, exp and log off by many
# ulp, tanh near 0, sin and cos of large numbers, division that truncates, shifts beyond the width.
#
# WGSL lets a compiler rearrange sums and products: one computes (a + b) - a as b, and x + y + 1 as
# x + 1 + y. Where a text relies on the order, keep_ hides a value behind an exclusive or with a
# zero that only the running kernel knows.
#
# exp and log: range reduction and polynomials after W. J. Cody and W. Waite, Software Manual for
# the Elementary Functions, 1980. sin and cos: reduction after M. Payne and R. Hanek, Radian
# Reduction for Trigonometric Functions, 1983, in integers, so no float is rearranged.
# pow: logarithm and product in pairs of floats (T. J. Dekker, A Floating-Point Technique for
# Extending the Available Precision, 1971). The first of a pair is cut to 12 bits by masking, so
# products of firsts are exact, and no compiler can cancel the cut as it cancels (a + b) - a.
_HELPERS = {
    "max_f32": _nan_safe("max", "f32"), "min_f32": _nan_safe("min", "f32"),
    "max_f16": _nan_safe("max", "f16"), "min_f16": _nan_safe("min", "f16"),
    "keep_": """var<private> zero_: u32;
fn keep_(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ zero_); }""",
    "exp_": """fn exp_(x: f32) -> f32 {
  if (!(x == x)) { return x; }
  if (x > 88.8f) { return bitcast<f32>(0x7f800000u); }
  if (x < -104.0f) { return 0.0f; }
  let n = floor(x * 1.44269504f + 0.5f);
  let r = keep_(x - n * 0.693359375f) + n * 2.12194440e-4f;
  var p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  let y = keep_(p * r * r + r) + 1.0f;
  let half = i32(n) >> 1u;
  let rest = i32(n) - half;
  return y * bitcast<f32>(u32(half + 127) << 23u) * bitcast<f32>(u32(rest + 127) << 23u);
}""",
    "logm_": """fn logm_(m: f32, f: f32) -> f32 {
  let z = m * m;
  var p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  var y = m * z * p;
  y = y + f * -2.12194440e-4f;
  y = y - 0.5f * z;
  return (m + y) + f * 0.693359375f;
}""",
    "log_": """fn log_(v: f32) -> f32 {
  if (!(v >= 0.0f)) { return bitcast<f32>(0x7fc00000u); }
  if (v == 0.0f) { return bitcast<f32>(0xff800000u); }
  if (v > 3.4028234e38f) { return v; }
  var x = v;
  var e = 0;
  if (x < 1.17549435e-38f) { x = x * 8388608.0f; e = -23; }
  let bits = bitcast<u32>(x);
  e = e + i32(bits >> 23u) - 126;
  var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
  if (m < 0.707106781f) { e = e - 1; m = m + m - 1.0f; } else { m = m - 1.0f; }
  return logm_(keep_(m), f32(e));
}""",
    "log1p_": """fn log1p_(x: f32) -> f32 {
  if (!(x > -1.0f)) { return bitcast<f32>(select(0x7fc00000u, 0xff800000u, x == -1.0f)); }
  if (x > 3.4028234e38f) { return x; }
  if (abs(x) < 1.0e-7f) { return x; }
  let whole = bitcast<u32>(1.0f + x);
  let e = (i32(whole + 0x004afb0du) >> 23u) - 127;
  let scale = bitcast<f32>(u32(127 - min(e, 126)) << 23u);
  let rest = bitcast<f32>(u32(127 - e + min(e, 126)) << 23u);
  let m = keep_(scale * rest - 1.0f) + x * scale * rest;
  return logm_(m, f32(e));
}""",
    "turn_": """fn high_(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let one = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let two = (a & 0xffffu) * (b >> 16u) + (one & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (one >> 16u) + (two >> 16u);
}
fn turn_word_(i: u32) -> u32 {
  var word = select(0u, 0xa2f9836eu, i == 1u);
  word = select(word, 0x4e441529u, i == 2u);
  word = select(word, 0xfc2757d1u, i == 3u);
  word = select(word, 0xf534ddc0u, i == 4u);
  word = select(word, 0xdb629599u, i == 5u);
  word = select(word, 0x3c439041u, i == 6u);
  return select(word, 0xfe5163abu, i == 7u);
}
fn turn_(x: f32) -> vec2<f32> {
  let bits = bitcast<u32>(x) & 0x7fffffffu;
  if (bits < 0x3f490fdbu) { return vec2<f32>(x, 0.0f); }
  if (bits >= 0x7f800000u) { return vec2<f32>(bitcast<f32>(0x7fc00000u), 0.0f); }
  let place = (bits >> 23u) - 120u;
  let i = place >> 5u;
  let by = place & 31u;
  let w0 = turn_word_(i);
  let w1 = turn_word_(i + 1u);
  let w2 = turn_word_(i + 2u);
  let w3 = turn_word_(i + 3u);
  let a = (w0 << by) | ((w1 >> 1u) >> (31u - by));
  let b = (w1 << by) | ((w2 >> 1u) >> (31u - by));
  let c = (w2 << by) | ((w3 >> 1u) >> (31u - by));
  let m = (bits & 0x007fffffu) | 0x00800000u;
  let middle = m * b;
  let low = middle + high_(m, c);
  let top = m * a + high_(m, b) + select(0u, 1u, low < middle);
  let fraction = (top << 2u) | (low >> 30u);
  let above = fraction >> 31u;
  let flip = 0u - above;
  let f0 = fraction ^ flip;
  let f1 = (low << 2u) ^ flip;
  let short = f0 == 0u;
  let n = countLeadingZeros(select(f0, f1, short)) & 31u;
  let next = select(f1, 0u, short);
  let lead = (select(f0, f1, short) << n) | ((next >> 1u) >> (31u - n));
  let first = f32(lead >> 8u);
  let last = f32(lead & 0xffu) * 0.00390625f;
  let scale = bitcast<f32>((127u - 24u - n - select(0u, 32u, short)) << 23u);
  let r = (first * 1.57079637f + (last * 1.57079637f - first * 4.37113883e-8f)) * scale;
  let negative = (bitcast<u32>(x) >> 31u) == 1u;
  let quarter = ((top >> 30u) + above) & 3u;
  let turns = select(quarter, (4u - quarter) & 3u, negative);
  return vec2<f32>(select(r, -r, negative != (above == 1u)), f32(turns));
}
fn sine_(r: f32) -> f32 {
  let z = r * r;
  return ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
}
fn cosine_(r: f32) -> f32 {
  let z = r * r;
  let p = (2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f;
  return keep_(p * z * z - 0.5f * z) + 1.0f;
}""",
    "sin_": """fn sin_(x: f32) -> f32 {
  let t = turn_(x);
  let y = select(sine_(t.x), cosine_(t.x), t.y == 1.0f || t.y == 3.0f);
  return select(y, -y, t.y >= 2.0f);
}""",
    "cos_": """fn cos_(x: f32) -> f32 {
  let t = turn_(x);
  let y = select(cosine_(t.x), sine_(t.x), t.y == 1.0f || t.y == 3.0f);
  return select(y, -y, t.y == 1.0f || t.y == 2.0f);
}""",
    "fmod_": """fn fmod_(x: f32, y: f32) -> f32 {
  let ax = bitcast<u32>(x) & 0x7fffffffu;
  let ay = bitcast<u32>(y) & 0x7fffffffu;
  if (ax >= 0x7f800000u || ay > 0x7f800000u || ay == 0u) { return bitcast<f32>(0x7fc00000u); }
  let sign = bitcast<u32>(y) & 0x80000000u;
  let apart = (bitcast<u32>(x) & 0x80000000u) != sign;
  var r = ax;
  if (ax >= ay) {
    let ex = max(ax >> 23u, 1u);
    let ey = max(ay >> 23u, 1u);
    let m = (ay & 0x007fffffu) | select(0u, 0x00800000u, ay >= 0x00800000u);
    r = ((ax & 0x007fffffu) | select(0u, 0x00800000u, ax >= 0x00800000u)) % m;
    for (var n = ex - ey; n > 0u; n = n - min(n, 8u)) { r = (r << min(n, 8u)) % m; }
    let up = min(countLeadingZeros(r) - 8u, ey - 1u);
    let normal = ((ey - up) << 23u) | ((r << up) & 0x007fffffu);
    r = select(r << up, normal, ((r << up) & 0x00800000u) != 0u);
    if (r == 0u) { return bitcast<f32>(sign); }
  }
  if (r == 0u) { return bitcast<f32>(sign); }
  let size = bitcast<f32>(r);
  if (!apart) { return bitcast<f32>(r | sign); }
  return select(-size + abs(y), size - abs(y), sign != 0u);
}""",
    "tanh_": """fn tanh_(x: f32) -> f32 {
  let a = abs(x);
  if (a < 2.44140625e-4f) { return x; }
  if (a < 0.625f) {
    let z = x * x;
    var p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    return p * z * x + x;
  }
  if (!(x == x)) { return x; }
  let y = 1.0f - 2.0f / (keep_(exp_(2.0f * min(a, 20.0f))) + 1.0f);
  return select(y, -y, x < 0.0f);
}""",
    "pow_": """fn pair_(a: f32, b: f32) -> vec2<f32> {
  let high = bitcast<f32>(bitcast<u32>(a + b) & 0xfffff000u);
  return vec2<f32>(high, b - keep_(high - a));
}
fn mul2_(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  return pair_(a.x * b.x, a.x * b.y + (keep_(a.y * b.x) + a.y * b.y));
}
fn add2_(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let s = pair_(a.x, b.x);
  return pair_(s.x, s.y + (a.y + b.y));
}
fn power_(x: f32, y: f32) -> f32 {
  let tiny = x < 1.17549435e-38f;
  let bits = bitcast<u32>(select(x, x * 16777216.0f, tiny));
  var e = i32(bits >> 23u) - 127 - select(0, 24, tiny);
  var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f800000u);
  if (m > 1.41421354f) { m = m * 0.5f; e = e + 1; }
  let num = keep_(m - 1.0f);
  let den = pair_(max(m, 1.0f), min(m, 1.0f));
  let sh = bitcast<f32>(bitcast<u32>(num / (m + 1.0f)) & 0xfffff000u);
  let s = vec2<f32>(sh, ((num - sh * den.x) - sh * den.y) / (m + 1.0f));
  let q = mul2_(s, s);
  let p = q.x * (0.4f + q.x * (0.285714298f + q.x * (0.222222224f + q.x * (0.181818187f
          + q.x * 0.153846160f)))) + q.y * 0.4f;
  let cubic = mul2_(mul2_(s, q), pair_(0.666666687f, keep_(p - 1.98682149e-8f)));
  let fraction = add2_(vec2<f32>(s.x + s.x, s.y + s.y), cubic);
  let f = f32(e);
  let ln = add2_(pair_(f * 0.693145752f, f * 1.42860677e-6f), fraction);
  if (abs(ln.x * y) > 200.0f) { return select(0.0f, bitcast<f32>(0x7f800000u), ln.x * y > 0.0f); }
  let z = mul2_(ln, pair_(y, 0.0f));
  if (z.x > 89.0f) { return bitcast<f32>(0x7f800000u); }
  if (z.x < -104.5f) { return 0.0f; }
  let n = floor(z.x * 1.44269504f + 0.5f);
  let r = pair_(z.x - n * 0.693145752f, z.y - n * 1.42860677e-6f);
  let t = r.x + r.y;
  var g = 1.9875691500e-4f;
  g = g * t + 1.3981999507e-3f;
  g = g * t + 8.3334519073e-3f;
  g = g * t + 4.1665795894e-2f;
  g = g * t + 1.6666665459e-1f;
  g = g * t + 5.0000001201e-1f;
  let v = 1.0f + keep_(r.x + (r.y + g * t * t));
  let half = i32(n) >> 1u;
  let rest = i32(n) - half;
  return v * bitcast<f32>(u32(half + 127) << 23u) * bitcast<f32>(u32(rest + 127) << 23u);
}
fn pow_(x: f32, y: f32) -> f32 {
  if (y == 0.0f || x == 1.0f) { return 1.0f; }
  if (!(x == x)) { return x; }
  if (!(y == y)) { return y; }
  let whole = floor(y) == y;
  let odd = whole && abs(y) < 16777216.0f && !(floor(y * 0.5f) * 2.0f == y);
  let a = abs(x);
  let inf = bitcast<f32>(0x7f800000u);
  var m = 1.0f;
  if (a == 0.0f || a == inf) {
    m = select(0.0f, inf, (a == 0.0f) == (y < 0.0f));
  } else if (abs(y) == inf) {
    if (!(a == 1.0f)) { m = select(0.0f, inf, (a > 1.0f) == (y > 0.0f)); }
  } else {
    m = power_(a, y);
  }
  let negative = (bitcast<u32>(x) >> 31u) == 1u;
  if (negative && !(a == 0.0f) && !whole && !(a == inf)) { return bitcast<f32>(0x7fc00000u); }
  return select(m, -m, negative && odd);
}""",
    "floordiv_i32": """fn floordiv_i32(a: i32, b: i32) -> i32 {
  if (b == 0) { return 0; }
  if (b == -1) { return -a; }
  let q = a / b;
  return select(q, q - 1, (q * b != a) && ((a < 0) != (b < 0)));
}""",
    "mod_i32": """fn mod_i32(a: i32, b: i32) -> i32 {
  if (b == 0 || b == -1) { return 0; }
  let r = a % b;
  return select(r, r + b, (r != 0) && ((r < 0) != (b < 0)));
}""",
    "floordiv_u32": """fn floordiv_u32(a: u32, b: u32) -> u32 {
  if (b == 0u) { return 0u; }
  return a / b;
}""",
    "mod_u32": """fn mod_u32(a: u32, b: u32) -> u32 {
  if (b == 0u) { return 0u; }
  return a % b;
}""",
    "shl_i32": "fn shl_i32(a: i32, b: i32) -> i32 {\n"
               "  return select(0, a << (u32(b) & 31u), b >= 0 && b < 32);\n}",
    "shl_u32": "fn shl_u32(a: u32, b: u32) -> u32 {\n"
               "  return select(0u, a << (b & 31u), b < 32u);\n}",
    "shr_i32": "fn shr_i32(a: i32, b: i32) -> i32 {\n"
               "  return a >> select(31u, u32(b), b >= 0 && b < 32);\n}",
    "shr_u32": "fn shr_u32(a: u32, b: u32) -> u32 {\n"
               "  return select(0u, a >> (b & 31u), b < 32u);\n}",
    "to_i32": """fn to_i32(x: f32) -> i32 {
  if (!(x == x)) { return 0; }
  if (x >= 2147483648.0f) { return 2147483647; }
  if (x <= -2147483648.0f) { return i32(-2147483647 - 1); }
  return i32(x);
}""",
    "to_u32": """fn to_u32(x: f32) -> u32 {
  if (!(x > 0.0f)) { return 0u; }
  if (x >= 4294967296.0f) { return 4294967295u; }
  return u32(x);
}""",
}  # fmt: skip
