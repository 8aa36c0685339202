"""Pictures of a report, as people meet it: `python -m benchmarks.pictures RUNS/NAME-report.html FOLDER`.

Takes the first screen in light, in dark and on a phone with the system's Chromium (`apt-get install chromium`, and the
extra `browser`). The README's are of `make demo`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 900, "height": 1120}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 900, "height": 1120}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2},
}
"""CSS pixels, as a laptop and a common phone have them."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a network of its own. Raises `FileNotFoundError` where it is not installed."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise FileNotFoundError("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def take(browser: Browser, report: Path, folder: Path) -> list[Path]:
    """Write report-light.png, report-dark.png and report-phone.png of the first screen into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, screen in SCREENS.items():
        page = browser.new_page(**screen)
        page.goto(report.absolute().as_uri())
        made.append(folder / f"report-{name}.png")
        page.screenshot(path=made[-1])
        page.close()
    return made


def printed(browser: Browser, report: Path, folder: Path) -> Path:
    """Write report.pdf, all of the report as it is printed on A4, into `folder`."""
    page = browser.new_page()
    page.goto(report.absolute().as_uri())
    made = folder / "report.pdf"
    page.pdf(path=made, format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "18mm"))
    page.close()
    return made


if __name__ == "__main__":
    with chromium() as opened:
        for path in take(opened, Path(sys.argv[1]), Path(sys.argv[2])):
            print(f"{path.stat().st_size:>9,}  {path}")
