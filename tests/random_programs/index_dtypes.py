"""Arguments as NumPy has them: indices of every integer dtype, negative and outside; foreign byte
orders; strided, transposed and reversed memory."""

from __future__ import annotations

from tests.random_programs.builder import Builder
from tests.random_programs.choices import Choices

_INDICES = ("int32", "uint32", "uint8", "int8", "uint16", "int16")
_VALUES = ("float32", "int32", "uint32", "float16", "uint8", "int8", "int16", "uint16")
_LAYOUTS = ("{}", "{}", "{}.astype(np.dtype({dtype!r}).newbyteorder('>'))",
            "np.asfortranarray({})", "np.repeat({}, 2, -1)[..., ::2]",
            "{}[::-1]", "{}[..., ::-1].astype(np.dtype({dtype!r}).newbyteorder('>'))")  # fmt: skip


def index_dtypes(c: Choices) -> str:
    """Values and an index in some memory layout, and one to three uses of it."""
    b = Builder(c)
    shape = tuple(c.pick((2, 3, 1, 5, 7)) for _ in range(c.number(1, 3)))
    x = _laid_out(b, "distinct", "", shape, c.pick(_VALUES))
    outputs = []
    for _ in range(c.number(1, 3)):
        dtype = c.pick(_INDICES)
        axis = c.number(0, len(shape) - 1)
        n = shape[axis]
        low = 0 if dtype.startswith("u") else c.pick((0, -n, -n - 3))
        high = c.pick((n - 1, n - 1, n + 3, 120))
        outputs.append(_use(b, x, axis, dtype, f"{low}, {high}, "))
    kept = [n for n in outputs if n]
    return b.script(kept or [x], c.pick(("jit", "eager")))


def _laid_out(b: Builder, kind: str, bounds: str, shape: tuple[int, ...], dtype: str) -> str:
    args = ", ".join(map(str, shape))
    data = f"data.{kind}({b.c.number(0, 99)}, {bounds}{args}, dtype={dtype!r})"
    return b.input(b.c.pick(_LAYOUTS).format(data, dtype=dtype))


def _use(b: Builder, x: str, axis: int, dtype: str, bounds: str) -> str | None:
    c = b.c
    kind = c.number(0, 5)
    mode = c.pick(("fill", "clip", "wrap"))
    shape = b[x].shape
    if kind == 2:
        mode = "clip" if mode == "wrap" else mode
        length = c.number(1, 4)
        whole = tuple(length if i == axis else d for i, d in enumerate(shape))
        i = _laid_out(b, "integers", bounds, whole, dtype)
        return b.let(f"xp.take_along_axis({x}, {i}, {axis}, mode={mode!r})")
    i = _laid_out(b, "integers", bounds, (c.pick((1, 2, 3, 6)),), dtype)
    if kind == 0:
        return b.let(f"xp.take({x}, {i}, {axis}, mode={mode!r})")
    if kind == 1:
        return b.let(f"xp.take({x}, {i}, None, mode={mode!r})")
    key = i if axis == 0 else f"({'slice(None), ' * axis}{i})"
    if kind == 3:
        return b.let(f"xp.getitem({x}, {key})")
    if kind == 5 and len(shape) > 1:
        j = _laid_out(b, "integers", bounds, b[i].shape, dtype)
        return b.let(f"xp.getitem({x}, ({i}, {j}))")
    how = c.pick(("set", "add", "max", "min", "multiply"))
    return b.let(f"xp.at_{how}({x}, {key}, {c.number(1, 3)})")
