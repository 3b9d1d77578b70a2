"""The package as a whole: what importing it loads, and what it ships."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anneal

ROOT = Path(anneal.__file__).parent
# Traced, differentiated, lowered and rendered, without a device and without an array of data.
FRONTEND = """
import sys
import anneal, anneal.numpy, anneal.nn, anneal.optim, anneal.lax, anneal.random
from anneal.lowering.limits import Limits
from anneal.lowering.plan import lower
from anneal.uop import dtypes, uop
from anneal.transforms.grad import gradient

x = uop.param(dtypes.float32, (4, 8))
out = anneal.nn.softmax(anneal.array.make(x)).sum().uop
(slope,) = gradient([out], [x], [uop.const(1.0, dtypes.float32)])
plan = lower(uop.Graph((x,), (slope,)), Limits(), frozenset())
assert "fn main" in plan.launches[0].kernel.source
outside = {"numpy", "ml_dtypes", "wgpu", "safetensors", "rich"} & set(sys.modules)
assert not outside, outside
"""


def test_the_frontend_needs_the_standard_library_only() -> None:
    subprocess.run([sys.executable, "-c", FRONTEND], check=True, cwd=ROOT.parent)


def test_what_the_package_ships() -> None:
    for name in ("py.typed", "data/digits.npz", "data/README.md", "rules/symbolic.upat"):
        assert (ROOT / name).is_file(), name
    assert "CC BY 4.0" in (ROOT / "data" / "README.md").read_text()


def test_public_names_are_there() -> None:
    for name in anneal.__all__:
        assert getattr(anneal, name) is not None
