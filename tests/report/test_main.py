"""`python -m report`: which of its four ways to build is taken, and what each prints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from report import __main__ as generator
from report import publish, single_file

Calls = list[tuple[Any, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What was built, in order; nothing is."""
    calls: Calls = []

    def note(name: str, answer: Any) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            kept = [entry for entry in arguments if not isinstance(entry, generator.Reporter)]
            calls.append((name, *kept, len(arguments) - len(kept)))
            return answer

        return call

    @contextmanager
    def rarely() -> Any:
        calls.append(("rarely",))
        yield
        calls.append(("as before",))

    files = {"index.html": {"bytes": 600_000}, "a/b.html": {"bytes": 940_000}, "site.css": {"bytes": 10_000}}
    monkeypatch.setattr(generator, "rare_collections", rarely)
    monkeypatch.setattr(generator, "load", note("load", "the study"))
    monkeypatch.setattr(generator, "write_site", note("write_site", {}))
    monkeypatch.setattr(generator, "build", note("build", {"files": files}))
    monkeypatch.setattr(publish, "publish", note("publish", {"old": None}))
    monkeypatch.setattr(single_file, "write_single_file", note("write_single_file", "page.html: 3.1 MB"))
    return calls


def test_without_words_the_site_is_built_and_counted(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    generator.main([])
    assert calls == [("rarely",), ("build", Path(), 1), ("as before",)]
    assert capsys.readouterr() == ("site: 2 pages, 4 files, 1.6 MB\n", "")


def test_into_another_folder_it_is_written_without_a_word(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    generator.main(["--out", "other"])
    assert calls[1:-1] == [("load", Path(), None, 0), ("write_site", "the study", Path("other"), 1)]
    generator.main(["--out", "other", "--params", "mine.yaml"])
    assert calls[5] == ("load", Path(), Path("mine.yaml"), 0)
    assert capsys.readouterr() == ("", "")


def test_a_site_is_published_with_those_of_earlier_studies(
    calls: Calls, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    generator.main(["--publish", "public"])
    assert calls[1:-1] == [("publish", Path(), tmp_path.resolve() / "public", 1)]
    assert capsys.readouterr() == ("public: this study and 1 earlier one\n", "")


def test_a_single_page_is_written_and_what_it_is_is_said(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    generator.main(["--single-file", "page.html"])
    assert calls[1:-1] == [("load", Path(), 0), ("write_single_file", "the study", Path("page.html"), 0)]
    assert capsys.readouterr() == ("page.html: 3.1 MB\n", "")


def test_its_help_is_what_the_module_says(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        generator.main(["--help"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    about, _, rest = (generator.__doc__ or "").partition("\n")
    assert printed.startswith("usage: python -m report ")
    assert about in " ".join(printed.split())
    assert rest.strip() in printed
    assert calls == [("rarely",)]


def test_a_long_build_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [10.0]
    monkeypatch.setattr(generator.time, "monotonic", lambda: now[0])
    reporter = generator.Reporter()
    for clock, done in ((11.9, 1), (12.0, 2), (13.9, 3), (14.0, 4), (17.0, 9)):
        now[0] = clock
        reporter(done, 9)
    assert capsys.readouterr() == ("", "site: 2 of 9 pages\nsite: 4 of 9 pages\n")
