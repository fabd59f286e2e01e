"""`promotion site` and `promotion serve`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from ruamel.yaml import YAML

from report import __main__ as generator
from stages.commands import serve
from stages.commands import site as site_command
from stages.domain.errors import Refused
from tests.report.conftest import copy_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(site: Path) -> Iterator[str]:
    with serve.start_server(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        assert server.server_address[0] == "127.0.0.1"
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("", "text/html"),
        ("assets/site.css", "text/css"),
        ("assets/site.js", "text/javascript"),
        ("manifest.json", "application/json"),
        ("index.paths.csv", "text/csv"),
    ],
)
def test_files_are_served_with_their_type_and_never_from_a_cache(url: str, name: str, kind: str) -> None:
    with urlopen(url + name) as answer:
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["gates/", "../params.yaml", "%2e%2e/params.yaml", "absent.html"])
def test_nothing_else_is_served(url: str, name: str) -> None:
    with pytest.raises(HTTPError, match="404"):
        urlopen(url + name)


def test_a_site_that_is_not_built_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"index\.html is missing; `promotion site` builds it"):
        serve.start_server(tmp_path, 0)


def test_a_taken_port_is_refused_with_the_remedy(site: Path) -> None:
    with serve.start_server(site, 0) as first, pytest.raises(Refused, match="take another one"):
        serve.start_server(site, first.server_address[1])


def test_promotion_site_builds_the_site(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    done = subprocess.run(
        [sys.executable, "-m", "stages.cli", "site"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("site: 150 pages")
    assert (root / "site" / "index.html").is_file()


def test_the_last_page_is_not_counted_again_before_the_line_that_says_what_was_built(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "QUIET_SECONDS", 0.0)
    reporter = generator.Reporter()
    for done in (5, 10):
        reporter(done, 10)
    assert capsys.readouterr().err == "site: 5 of 10 pages\n"


def test_a_build_says_nothing_for_a_moment_and_then_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(generator.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(generator, "QUIET_SECONDS", 2.0)
    reporter = generator.Reporter()
    for done, at in ((1, 100.0), (2, 101.9), (3, 102.0), (4, 103.9), (5, 104.0), (6, 107.0), (7, 108.9), (9, 120.0)):
        now[0] = at
        reporter(done, 9)
    assert capsys.readouterr().err == "".join(f"site: {done} of 9 pages\n" for done in (3, 5, 6))


def words(*arguments: str) -> list[str]:
    parser = argparse.ArgumentParser()
    site_command.add_arguments(parser)
    return site_command.command(parser.parse_args(list(arguments)))


@pytest.mark.parametrize("status", [0, 1, 2])
def test_promotion_site_ends_as_its_generator_does(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    started = []

    def end(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        started.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(site_command.subprocess, "run", end)
    parser = argparse.ArgumentParser()
    site_command.add_arguments(parser)
    assert site_command.run(parser.parse_args(["--single-file", "r.html"])) == status
    assert started == [[sys.executable, "-m", "report", "--single-file=r.html"]]


def test_the_command_line_of_a_comparison() -> None:
    assert words() == ["report"]
    assert words("--publish", "public") == ["report", "--publish=public"]
    assert words("--single-file", "r.html") == ["report", "--single-file=r.html"]
    assert words("--compare", "v1") == ["report.compare", "--", "v1"]
    assert words("--compare", "v1", "v2", "--html", "c.html") == [
        "report.compare",
        "--html",
        "c.html",
        "--",
        "v1",
        "v2",
    ]
    with pytest.raises(Refused, match="expected one or two"):
        words("--compare", "a", "b", "c")
    with pytest.raises(Refused, match="--html goes with --compare"):
        words("--html", "c.html")


def test_the_workflow_publishes_what_it_has_verified() -> None:
    value = YAML(typ="safe").load((ROOT / ".github" / "workflows" / "pages.yml").read_text(encoding="utf-8"))
    steps = value["jobs"]["publish"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert "promotion verify" in runs[1]
    assert runs[2].splitlines()[0] == "dvc pull --allow-missing || true"
    assert "::notice title=Built from git alone::" in runs[2]
    assert runs[2].splitlines()[-1] == "promotion site --publish public"
    assert next(step for step in steps if "upload-pages" in step.get("uses", ""))["with"] == {"path": "public"}
    assert steps[0]["with"]["fetch-depth"] == 0  # the earlier studies stand in the history
    uses = [step["uses"].split("@")[0] for step in steps if "uses" in step]
    assert uses[-2:] == ["actions/upload-pages-artifact", "actions/deploy-pages"]
    assert value["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}


@pytest.mark.parametrize(("arguments", "status", "told"), [(["--help"], 0, "usage: python -m report"), (["x"], 2, "")])
def test_the_generator_takes_no_arguments_and_says_so(
    tmp_path: Path, arguments: list[str], status: int, told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "report", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == status
    assert done.stdout.startswith(told)
    assert not (tmp_path / "site").exists()
    if status:
        assert "unrecognized arguments: x" in done.stderr
