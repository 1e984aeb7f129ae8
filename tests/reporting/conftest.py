"""The report's page in a browser, on made data: with labels, and without any."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stages import report
from stages.common.explored import Explored, read_explored
from tests.reporting import results

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = 240


@dataclass(frozen=True)
class Site:
    folder: Path
    labelled: bool

    @property
    def page(self) -> Path:
        return self.folder / report.Outputs.page

    @property
    def explored(self) -> Explored:
        return read_explored(self.folder / report.Inputs.explored)

    def report(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            results.run()


def make_site(folder: Path, labelled: bool) -> Site:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        results.write_results(folder, IMAGES)
        if not labelled:
            results.forget_labels()
            results.write_mining(None, note="no accuracy: the images of the pairs have no labels")
            results.write_pairs([(0, 3, 0.97), (1, 4, 0.98)], pairs_per_image=0.01)
    site = Site(folder, labelled)
    site.report()
    return site


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("labelled"), labelled=True)


@pytest.fixture(scope="session")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("unlabelled"), labelled=False)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium in PATH")
    with api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a site's page from disk, in a context with such options; fails, at the end, if it
    asked for anything, or if anything went wrong."""
    contexts, wrong = [], []

    def visit(site: Site, script: str | None = None, **options: object) -> Page:
        size = {"width": options.pop("width", 1400), "height": 900}
        context = browser.new_context(viewport=size, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.extend(_outward(request.url)))
        if script:
            page.add_init_script(script)
        page.goto(site.page.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def _outward(url: str) -> list[str]:
    return [] if url.startswith(("file:", "data:")) else [f"asked for {url}"]
