"""The report in a real browser: nothing serious for axe, no sideways scroll on a phone, keys open it, paper holds it.

Run by `make browser`; the pictures it takes are in build/report.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks import pictures

from tests.report import making

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
PICTURES = Path(__file__).parents[2] / "build" / "report"
LONG = "an-organisation-with-a-very-long-name/base-model-of-the-third-generation-with-410-million-parameters"
OPEN = "document.querySelectorAll('details').forEach(one => one.open = true)"
SERIOUS = ("serious", "critical")
screens = pytest.mark.parametrize("screen", pictures.SCREENS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    pytest.importorskip("playwright", reason="the browser extra is not installed")
    try:
        with pictures.chromium() as opened:
            yield opened
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    made = {name: making.built(name) for name in ("classical_wins", "twelve", "tie_of_three", "few_shot_only")}
    made["long"] = making.renamed(making.built("twelve"), {"pythia-410m": LONG, making.CLAUSE.format(1): "x" * 700})
    for name, one in made.items():
        (folder / f"{name}.html").write_text(making.page(one), "utf-8")
    return {name: folder / f"{name}.html" for name in made}


def opened(browser: Browser, path: Path, screen: str, *, unfolded: bool) -> Page:
    page = browser.new_page(**pictures.SCREENS[screen])
    page.goto(path.as_uri())
    if unfolded:
        page.evaluate(OPEN)
    return page


@screens
@pytest.mark.parametrize("name", ["classical_wins", "twelve", "tie_of_three", "few_shot_only", "long"])
def test_axe_finds_nothing_serious(browser: Browser, reports: dict[str, Path], name: str, screen: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for unfolded in (False, True):
        page = opened(browser, reports[name], screen, unfolded=unfolded)
        found: list[dict[str, Any]] = axe.run(page).response["violations"]
        page.close()
        worst = {one["id"]: [node["html"] for node in one["nodes"]][:3] for one in found if one["impact"] in SERIOUS}
        assert worst == {}


@pytest.mark.parametrize("name", ["twelve", "long"])
def test_a_phone_needs_no_sideways_scroll(browser: Browser, reports: dict[str, Path], name: str) -> None:
    page = opened(browser, reports[name], "phone", unfolded=True)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    page.close()


def test_it_asks_for_nothing_and_complains_of_nothing(browser: Browser, reports: dict[str, Path]) -> None:
    page = browser.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(reports["twelve"].as_uri())
    page.evaluate(OPEN)
    assert asked == [reports["twelve"].as_uri()]
    assert said == []
    page.close()


def test_keys_open_and_close_every_section(browser: Browser, reports: dict[str, Path]) -> None:
    page = opened(browser, reports["twelve"], "light", unfolded=False)
    sections = page.locator("main > details")
    for place in range(sections.count()):
        page.locator("main > details > summary").nth(place).focus()
        page.keyboard.press("Enter")
        assert sections.nth(place).evaluate("one => one.open")
        page.keyboard.press("Enter")
        assert not sections.nth(place).evaluate("one => one.open")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.close()


def test_paper_holds_what_the_screen_folds_but_not_the_long_lists(browser: Browser, reports: dict[str, Path]) -> None:
    page = opened(browser, reports["twelve"], "light", unfolded=False)
    page.emulate_media(media="print")
    for name in ("Certificate", "Licence", "Do it again"):
        section = page.locator("main > details", has=page.get_by_role("heading", name=name, exact=True))
        heights = section.evaluate("one => [one, one.firstElementChild].map(it => it.getBoundingClientRect().height)")
        assert heights[0] > heights[1] + 30
    assert page.locator("details.long table").first.is_hidden()
    page.close()


def test_pictures_are_taken_and_pages_printed(browser: Browser, reports: dict[str, Path]) -> None:
    made = pictures.take(browser, reports["classical_wins"], PICTURES)
    assert all(20_000 < path.stat().st_size < 300_000 for path in made)
    assert pictures.printed(browser, reports["classical_wins"], PICTURES).stat().st_size > 100_000


def test_axe_sees_what_is_wrong(browser: Browser, reports: dict[str, Path]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(browser, reports["twelve"], "light", unfolded=False)
    page.evaluate("document.documentElement.style.setProperty('--soft', '#cccccc')")
    assert "color-contrast" in {one["id"] for one in axe.run(page).response["violations"]}
    page.close()
