"""What README.md and docs/ show is made here: outputs of their examples, and the table of kernels.

An example is a ```python block; its output stands in the ```text block after it. The examples of a
page share their names, and the interpreter runs them. `python -m tests.documents` writes all of it;
tests/test_docs.py compares.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import linecache
import re
import sys
from pathlib import Path
from typing import Any

import anneal
from tests import fusion_table

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_EXAMPLE = re.compile(r"(```python\n(.*?)```\n)(?:\n```text\n(.*?)```\n)?", re.DOTALL)


def with_outputs(page: Path) -> str:
    """The text of `page` with every example run and its output in place."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def run(found: re.Match[str]) -> str:
        block, code = found[1], found[2]
        where = "example.py"  # what errors and graphs say, whichever page it is
        linecache.cache[where] = (len(code), None, code.splitlines(True), where)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), anneal.default_device("interpreter"):
            exec(compile(code, where, "exec"), names)
        out = printed.getvalue().rstrip("\n")
        return f"{block}\n```text\n{out}\n```\n" if out else block

    return _EXAMPLE.sub(run, page.read_text())


def main(arguments: list[str]) -> int:
    """Writes every page; with `--check` prints the differences instead, and gives 1 if any."""
    texts = {fusion_table.PAGE: fusion_table.page()}
    texts |= {page: with_outputs(page) for page in PAGES if page not in texts}
    if "--check" not in arguments:
        for page, text in texts.items():
            page.write_text(text)
        return 0
    lines = [line for page, text in texts.items() for line in difflib.unified_diff(
        page.read_text().splitlines(), text.splitlines(), page.name, "made anew", lineterm="")]
    print("\n".join(lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
