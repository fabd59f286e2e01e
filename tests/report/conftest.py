"""Studies and sites that the tests of the site share, and a headless Chromium to look at them with."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from report.build import build
from stages import ledger
from stages.domain import locks
from stages.domain.contract import Contract
from tests.support import synthetic

#: Every free-text field of the hostile study holds this; run as a script it would leave a mark in the page.
EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=2> & \"'  {{7*7}}"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def make_study(root: Path, value: dict[str, Any] | None = None) -> Path:
    """A whole judged study with its ledger and summaries."""
    synthetic.build(root, value)
    with chdir(root):
        ledger.main()
    return root


def copy_of(source: Path, target: Path) -> Path:
    """A copy to break."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("site", "scratch"))
    return target


@pytest.fixture(scope="session")
def default_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve configurations, two host blocks, five rungs: the size of the default study. Its site is built."""
    root = make_study(tmp_path_factory.mktemp("study") / "work")
    build(root)
    return root


@pytest.fixture(scope="session")
def site(default_study: Path) -> Path:
    """The site of `default_study`."""
    return default_study / "site"


def _diverging(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def executed(contract: Contract, study_: Any, config: str, host: str, seed: int, purpose: str) -> dict[str, Any]:
        record = original(contract, study_, config, host, seed, purpose)
        if contract.rung == "rung2" and config.endswith("c001"):
            record |= {"status": "diverged", "reason": EVIL, "facts": None}
        return record

    return executed


def _amending(original: Callable[..., locks.Frozen]) -> Callable[..., locks.Frozen]:
    def frozen_of(study_: Any, gate: str, **more: Any) -> locks.Frozen:
        frozen = original(study_, gate, **more)
        if gate != "gate2":
            return frozen
        changed = {"rules.R5.k": {"was": EVIL, "is": 9}}
        amendment = locks.Amendment.model_validate({"reason": EVIL, "replaces": "0" * 64, "changed": changed})
        return frozen.model_copy(update={"amendments": [amendment]})

    return frozen_of


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a study whose every free text is an attack; one gate is amended, some runs diverged."""
    value = synthetic.params(6)
    value["study"] |= {"title": EVIL[:200], "question": EVIL, "note": EVIL}
    for host in value["hosts"].values():
        host["title"] = EVIL
    root = tmp_path_factory.mktemp("hostile") / "work"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "_executed", _diverging(synthetic._executed))
        patch.setattr(locks, "frozen_of", _amending(locks.frozen_of))
        make_study(root, value)
    build(root)
    return root / "site"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium. Where it is absent these tests skip, or fail where REQUIRE_BROWSER says it must be there."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[test]'")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        stop = pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip
        stop("no Chromium here: `apt-get install chromium` brings it")
    with api.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        yield one
        one.close()


class Opener:
    """Opens pages and hears of everything that goes wrong in them: requests that leave, refusals, errors."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.troubles: list[str] = []
        self._kept: dict[str, Any] = {}
        self._open: list[Any] = []

    def __call__(self, address: str, *, width: int = 1280, figures: bool = False, **options: Any) -> Any:
        """A page of its own, closed after the test."""
        context = self.browser.new_context(viewport={"width": width, "height": 900}, **options)
        self._open.append(context)
        one = context.new_page()
        home = address.split("/", 3)[:3] if address.startswith("http") else ["file:"]
        one.on("request", lambda request: self._asked(request.url, home))
        one.on("requestfailed", lambda request: self.troubles.append(f"failed: {request.url}"))
        one.on("console", lambda told: self.troubles.append(told.text) if told.type in ("error", "warning") else None)
        one.on("pageerror", lambda error: self.troubles.append(str(error)))
        one.goto(address)
        if figures:
            one.wait_for_selector("html[data-figures=drawn]", state="attached", timeout=30000)
        return one

    def _asked(self, url: str, home: list[str]) -> None:
        if url.split("/")[: len(home)] != home and not url.startswith(("data:", "blob:")):
            self.troubles.append(f"asked for {url}")

    def kept(self, path: Path, width: int = 1280, scheme: str = "light") -> Any:
        """A page that stays open for the tests to come, since drawing takes a second; at a width and in a scheme."""
        key = path.as_uri()
        if key not in self._kept:
            self._kept[key] = self(key, figures="data-figure=" in path.read_text(encoding="utf-8"))
            self._open.pop()
        one = self._kept[key]
        one.emulate_media(media="screen", color_scheme=scheme)
        one.set_viewport_size({"width": width, "height": 900})
        return one

    def close(self) -> None:
        """Close what one test opened."""
        while self._open:
            self._open.pop().close()


@pytest.fixture(scope="session")
def _opener(browser: Any) -> Opener:
    return Opener(browser)


@pytest.fixture
def page(_opener: Opener) -> Iterator[Opener]:
    """Opens pages, and fails the test if one asks anything of the network, breaks its own policy or throws."""
    yield _opener
    _opener.close()
    troubles, _opener.troubles = _opener.troubles, []
    assert not troubles, "\n".join(troubles)


@pytest.fixture(scope="session")
def subpath(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site under a sub-path of a web server, as GitHub Pages serves it."""
    root = tmp_path_factory.mktemp("www")
    shutil.copytree(site, root / "team" / "study")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/team/study/"
        server.shutdown()
        thread.join()
