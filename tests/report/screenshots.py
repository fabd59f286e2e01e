"""The two pictures of the README, taken of the site in this workspace.

python -m tests.report.screenshots          writes docs/images/overview.png and docs/images/gate.png
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.report.conftest import FLAGS

TARGET = Path("docs/images")
#: Name, page, colour scheme, height in pixels.
PICTURES = (("overview", "index.html", "light", 1180), ("gate", "gates/gate3.html", "dark", 1000))


def main() -> None:
    """Take the pictures; the site must be built."""
    site = Path("site").resolve()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not (site / "index.html").is_file() or chromium is None:
        sys.exit("error: needs site/index.html (`promotion site`) and a Chromium on the PATH")
    TARGET.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for name, page, scheme, height in PICTURES:
            context = browser.new_context(viewport={"width": 1280, "height": height}, color_scheme=scheme)
            view = context.new_page()
            view.goto((site / page).as_uri())
            if view.query_selector("script[data-figure]"):
                view.wait_for_selector("html[data-figures=drawn]", state="attached")
            view.screenshot(path=str(TARGET / f"{name}.png"))
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
