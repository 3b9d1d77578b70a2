"""README.md and docs/ say what is true: examples run, tables are counted, files named exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import PAGES, ROOT


def test_what_pages_show_is_what_happens() -> None:
    """In a process of its own, as readers run it."""
    check = [sys.executable, "-m", "tests.documents", "--check"]
    found = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, f"python -m tests.documents writes:\n{found.stdout}{found.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"`([\w./-]+\.(?:py|md|upat)|(?:anneal|tests|docs|scripts)/[\w./-]*)`",
                       page.read_text())  # fmt: skip
    named += re.findall(r"\]\(([A-Za-z][\w/.-]*)\)", page.read_text())
    for name in named:
        places = (ROOT / name, ROOT / "anneal" / name, page.parent / name)
        assert any(p.exists() for p in places), f"{page.name}: {name}"


def test_training_begins_as_the_readme_shows() -> None:
    """In a process of its own: what other programs hold would be inputs of this one."""
    shown = (ROOT / "README.md").read_text().split("```text\n")[1].splitlines()
    command = ["train", "mlp", "--steps", "1", "--plain", "--device", "cpu"]
    code = f"from anneal.cli import main; raise SystemExit(main({command!r}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout.splitlines()[:3] == shown[:3], run.stderr


def test_commands_in_the_readme_are_there() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "pip install" in readme and "anneal train mlp" in readme
    assert (ROOT / "scripts" / "test").is_file() and "bash scripts/test" in readme
