"""README.md and docs/ say what is true: examples run, tables are counted, files named exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anneal.cli import main
from tests import fusion_table
from tests.documents import PAGES, ROOT, with_outputs

AGAIN = "python -m tests.documents writes it anew; read the difference"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_examples_print_what_the_page_shows(page: Path) -> None:
    assert with_outputs(page) == page.read_text(), AGAIN


def test_the_table_of_kernels_is_counted() -> None:
    assert fusion_table.page() == fusion_table.PAGE.read_text(), AGAIN


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"`([\w./-]+\.(?:py|md|upat)|(?:anneal|tests|docs|scripts)/[\w./-]*)`",
                       page.read_text())  # fmt: skip
    named += re.findall(r"\]\(([A-Za-z][\w/.-]*)\)", page.read_text())
    for name in named:
        places = (ROOT / name, ROOT / "anneal" / name, page.parent / name)
        assert any(p.exists() for p in places), f"{page.name}: {name}"


def test_training_begins_as_the_readme_shows(capsys: pytest.CaptureFixture[str]) -> None:
    shown = (ROOT / "README.md").read_text().split("```text\n")[1].splitlines()
    assert main(["train", "mlp", "--steps", "1", "--plain", "--device", "interpreter"]) == 0
    first = capsys.readouterr().out.splitlines()[:4]
    assert first == shown[:4]


def test_commands_in_the_readme_are_there() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "pip install" in readme and "anneal train mlp" in readme
    assert (ROOT / "scripts" / "test").is_file() and "bash scripts/test" in readme
