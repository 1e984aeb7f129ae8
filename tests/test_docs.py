"""Every link in the documentation leads somewhere, and every page is reached from the README."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *REPOSITORY.glob("docs/*.md")]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def links(page: Path) -> list[tuple[Path, str]]:
    """The files and headings within the repository that a page links to."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = [target.partition("#") for target in LINK.findall(text) if "://" not in target]
    return [((page.parent / path).resolve() if path else page, part) for path, _, part in found]


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    for target, heading in links(page):
        assert target.exists(), f"{page.name} links to {target}"
        assert not heading or heading in anchors(target), f"{page.name}: no #{heading} in {target}"


def test_the_reference_of_parameters_is_what_the_models_say():
    written = runpy.run_path(str(REPOSITORY / "docs/params.py"))["page"]()
    told = "python docs/params.py writes it anew"
    assert (REPOSITORY / "docs/params.md").read_text() == written, told
    assert not [line for line in written.splitlines() if line.startswith("| `") and "|  |" in line]


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [target for target, _ in links(page)]
    assert reached >= set(PAGES)
