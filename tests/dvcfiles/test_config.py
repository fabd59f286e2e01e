"""The settings of a DVC repository say here what they say to DVC, however they are written."""

from __future__ import annotations

import pytest
from configobj import ConfigObjError
from dvc.config import Config, ConfigError
from hypothesis import example, given
from hypothesis import strategies as st

from stages.dvcfiles import config
from stages.dvcfiles.cache import cache_folder
from stages.dvcfiles.config import BadConfig, parse_config, read_config
from stages.repo.dvc_remote import has_remote
from tests.support.fuzzing import budget
from tests.support.repo import Repo, create

LINES = st.sampled_from(
    [
        "[core]",
        "  [cache]",
        "['cache']",
        '["core"] # words',
        "[ cache ]",
        "[Core]",
        "['remote \"a\"']",
        "[[core]]",
        "[core",
        "remote = a",
        "    remote = b",
        "\tremote=c",
        "REMOTE = d",
        "'remote' = e",
        "dir = /a b/c",
        'dir = "/a#b, c"',
        "dir = '/a'",
        "dir = /a#b",
        "dir = /a ; b",
        "dir = a, b",
        "dir = ,",
        "dir = a,",
        "dir =",
        'dir = ""',
        "dir = 'a",
        "dir = a'b",
        "dir = =",
        "type = reflink,copy",
        "dir: a",
        "; dir = a",
        "# dir = a",
        "dir",
        "dir = %(x)s",
        "dir = 100%",
        'dir = """a"""',
        "",
        "  ",
        "  more",
        "dir = é",
        "dir = a\\",
        'dir = "a" b',
        '"dir = a',
    ]
)


@given(st.lists(LINES, max_size=6).map("\n".join) | st.text("[]'\"=#,% ab\n\t", max_size=16))
@example("[cache]\ndir = a\n    type = b")
@budget(500)
def test_a_text_among_the_settings_is_the_one_that_dvc_reads(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "config"
    path.write_text(text, encoding="utf-8", newline="\n")
    try:
        expected = Config.load_file(str(path))
    except (ConfigError, ConfigObjError, AttributeError):
        return
    try:
        config = parse_config(text, "config")
    except BadConfig:
        assert any(mark in text for mark in ("[[", "[ [", "[\t[", '"""', "'''", "%(")) or _doubled(text), text
        return
    read = {section: values for section, values in expected.items() if isinstance(values, dict) and section in config}
    for section, values in read.items():
        texts = {key: value for key, value in values.items() if isinstance(value, str)}
        assert {key: config[section][key] for key in texts} == texts
        assert set(config[section]) == set(texts)


def _doubled(text: str) -> bool:
    """Sections that differ in capitals alone are one to DVC, which keeps the last: nobody writes them."""
    names = [line.strip().lower() for line in text.split("\n") if line.strip().startswith("[")]
    return any("[core" in name for name in names) and sum("core" in name for name in names) > 1


@pytest.mark.parametrize("folder", ["/tmp/a b", "../elsewhere", "/tmp/a#b", "/tmp/a, b", "/tmp/it's"])
def test_a_cache_that_dvc_was_told_of_is_found_where_dvc_puts_it(tmp_path, folder):
    repo = create(tmp_path / "study")
    repo.dvc("cache", "dir", folder)
    place = Repo.python(repo, "-c", "from dvc.repo import Repo; print(Repo().cache.local.path)").stdout.strip()
    assert str(cache_folder(repo.root).resolve()) == place


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[core]\nremote\n", "config, line 2: found 'remote', expected `key = value` or `[section]`"),
        (b"[core]\n[cache]\n[core]\n", "config, line 3: found '[core]' twice, expected it once"),
        (b"[core]\nremote = a\nremote = b\n", "config, line 3: found 'remote = b' twice, expected it once"),
        (b"\xff", "config: not UTF-8 at byte 0"),
    ],
)
def test_what_dvc_does_not_read_is_refused_and_names_no_remote(tmp_path, text, message):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_bytes(text)
    with pytest.raises(BadConfig) as caught:
        read_config(tmp_path / ".dvc")
    assert str(caught.value).endswith(message)
    assert not has_remote(tmp_path)
    assert cache_folder(tmp_path) == tmp_path / ".dvc" / "cache" / "files" / "md5"


def test_local_settings_count_more(tmp_path):
    (tmp_path / "config").write_text("[core]\nremote = a\n[cache]\ndir = b\n", encoding="utf-8")
    (tmp_path / "config.local").write_text("[core]\n    remote = c # mine\n", encoding="utf-8")
    assert read_config(tmp_path) == {"core": {"remote": "c"}, "cache": {"dir": "b"}}


def test_settings_of_exactly_the_limit_are_read_and_longer_ones_are_nobodys(tmp_path, monkeypatch):
    text = b"[core]\nremote = a\n"
    (tmp_path / "config").write_bytes(text)
    monkeypatch.setattr(config, "MAX_BYTES", len(text))
    assert read_config(tmp_path) == {"core": {"remote": "a"}}
    (tmp_path / "config.local").write_bytes(text.replace(b"= a", b"= bc"))
    assert read_config(tmp_path) == {"core": {"remote": "a"}}
    (tmp_path / "config.local").write_bytes(text.replace(b"= a", b"= b"))
    assert read_config(tmp_path) == {"core": {"remote": "b"}}


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("# words\n\n   # more\n", {}),
        ("[Core]\nRemote = A b\n", {"core": {"remote": "A b"}}),
        ('  [ "a" ] # words\n\tkey="v # w" # words\n', {"a": {"key": "v # w"}}),
        ("[a]\nx = '\n", {"a": {}}),
        ("[a]\nx = ''\ny =\n'z' = 'q\"'\n", {"a": {"x": "", "y": "", "z": 'q"'}}),
        ("[a]\nx = 1\n[b]\nx = 2\n", {"a": {"x": "1"}, "b": {"x": "2"}}),
        ("[a]\nx = p,q\ny = %\n", {"a": {"y": "%"}}),
        ("x = 1\n[a]\n", {"": {"x": "1"}, "a": {}}),
        ("[a]\nx = p # q\n", {"a": {"x": "p"}}),
    ],
)
def test_settings_are_read_without_quotes_comments_and_capitals_of_their_keys(text, settings):
    assert parse_config(text, "config") == settings


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("[a]\n\n# words\nno\n", 4, "found 'no', expected `key = value` or `[section]`"),
        ("[a]\nx = 1\n[A]\n", 3, "found '[A]' twice, expected it once"),
        ("[a]\nx = 1\n'x' = 2\n", 3, "found \"'x' = 2\" twice, expected it once"),
        ('x = """a"""\n', 1, 'found \'x = """a"""\', expected `key = value` or `[section]`'),
        ("x = '''a'''\n", 1, "found \"x = '''a'''\", expected `key = value` or `[section]`"),
        ("x = %(a)s\n", 1, "found 'x = %(a)s', expected `key = value` or `[section]`"),
        ("[[a]]\n", 1, "found '[[a]]', expected `key = value` or `[section]`"),
    ],
)
def test_what_is_no_setting_or_stands_twice_is_told_with_its_line(text, line, problem):
    with pytest.raises(BadConfig) as caught:
        parse_config(text, "config")
    assert str(caught.value) == f"config, line {line}: {problem}"


def test_there_may_be_no_settings_at_all_and_no_file_is_longer_than_a_mebibyte(tmp_path):
    assert read_config(tmp_path) == {}
    (tmp_path / "config").mkdir()
    assert read_config(tmp_path) == {}
    assert config.MAX_BYTES == 1 << 20
