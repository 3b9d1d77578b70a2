"""What holds for all tests: the IR is verified between stages, and devices do not leak."""

from __future__ import annotations

import os

os.environ["ANNEAL_VERIFY"] = "1"
