"""WGSL functions as Python functions on NumPy scalars: every operation once, rounded to float32, in
the order that is written. For the texts of wgsl/render.py; what they do not use is not understood.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np


class Vec(NamedTuple):
    x: Any
    y: Any


def _leading_zeros(x: Any) -> Any:
    return np.uint32(32 - int(x).bit_length())


NAMES: dict[str, Any] = {
    "F": np.float32, "U": np.uint32, "I": lambda x: np.int32(int(x)), "Vec": Vec, "abs": abs,
    "as_f32": lambda x: np.uint32(x).view(np.float32),
    "as_u32": lambda x: np.float32(x).view(np.uint32), "floor": np.floor, "min": min, "max": max,
    "select": lambda no, yes, which: yes if which else no, "countLeadingZeros": _leading_zeros,
    "zero_": np.uint32(0),
}  # fmt: skip


def _expression(text: str) -> str:
    for wgsl, python in [
        (r"bitcast<(f32|u32)>", r"as_\1"), (r"vec2<f32>", "Vec"),
        (r"\bf32\(", "F("), (r"\bu32\(", "U("), (r"\bi32\(", "I("),
        (r"(?<![\w.])(\d+\.\d*(?:e-?\d+)?)f\b", r"F(\1)"), (r"\b(0x[0-9a-f]+|\d+)u\b", r"U(\1)"),
        ("&&", " and "), (r"\|\|", " or "), (r"!(?!=)", " not "),
    ]:
        text = re.sub(wgsl, python, text)
    return text


def python_of(wgsl: str) -> str:
    """The Python text of WGSL functions."""
    lines: list[str] = []
    steps: list[str | None] = []
    wgsl = re.sub(r"var<private>[^;]*;", "", wgsl)
    for token in re.findall(r"(?:\s*for \(.*?\) \{|[^{};]*\{|[^{};]*;|\})", wgsl):
        text = token.strip().rstrip(";{").strip()
        indent = "    " * len(steps)
        if text == "}":
            step = steps.pop()
            if step is not None:
                lines.append(f"{indent}{step}")
        elif text.startswith("fn "):
            name, args = re.match(r"fn (\w+)\((.*?)\) ->", text).groups()  # type: ignore[union-attr]
            lines.append(f"def {name}({re.sub(r': [^,]+', '', args)}):")
            steps.append(None)
        elif text.startswith("for ("):
            start, test, step = text[5:-1].removeprefix("var ").split(";")
            lines += [f"{indent}{_expression(start)}", f"{indent}while {_expression(test)}:"]
            steps.append(_expression(step.strip()))
        elif token.endswith("{"):
            lines.append(f"{indent}{_expression(text).replace('else if', 'elif')}:")
            steps.append(None)
        else:
            lines.append(indent + _expression(re.sub(r"^(let|var) ", "", text)))
    return "\n".join(lines)


def functions(wgsl: str) -> dict[str, Any]:
    names = dict(NAMES)
    exec(python_of(wgsl), names)
    return names
