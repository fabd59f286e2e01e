"""A .dvcignore says here what it says to DVC, whatever its lines are."""

from __future__ import annotations

import re
import time

import pytest
from dvc.fs import localfs
from dvc.ignore import DvcIgnorePatterns
from hypothesis import example, given
from hypothesis import strategies as st

from stages.dvcfiles.ignore import MOST_PATTERNS, BadIgnore, IgnoredNames, parse_ignore
from tests.support.fuzzing import budget
from tests.support.repo import PROJECT

NAMES = ["a", "b", "ab", "a.py", "__pycache__", "x.pyc", ".part", "é", "a b", "#a", "!b", "[a]", "a\\b", "-"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
PIECES = st.sampled_from([*NAMES, "*", "**", "?", "[ab]", "[!a]", "[^a]", "[a-c]", "[]a]", "[", "[a", "\\", "\\*", "\\!",
                          "*a*b", "a?", "*.py", ".", ""])  # fmt: skip
LINES = st.tuples(
    st.sampled_from(["", "", "", "!", "/", "!/", " ", "#", "**/"]),
    st.lists(PIECES, min_size=1, max_size=3).map("/".join) | st.lists(PIECES, min_size=1, max_size=3).map("".join),
    st.sampled_from(["", "", "/", "/**", " ", "\t", "\\ "]),
).map("".join)
ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n", "\v", "\u2028"])


def read_as_dvc(text: str, folder) -> DvcIgnorePatterns | None:
    """What DVC makes of a .dvcignore; None where it fails."""
    path = folder / ".dvcignore"
    path.write_bytes(text.encode())
    try:
        return DvcIgnorePatterns.from_file(str(path), localfs, ".dvcignore")
    except (ValueError, re.error):
        return None


def ignores(patterns: DvcIgnorePatterns, path: str) -> bool:
    """Whether DVC, which walks from the root, leaves a file out."""
    return patterns._ignore(path, False)[0]


@given(st.lists(st.tuples(LINES, ENDS).map("".join), max_size=5).map("".join), st.lists(PATHS, min_size=1, max_size=8))
@example("*.py\n!a\n", ["a/a.py", "b/a.py", "a.py"])
@example("a\n!a/b\n", ["a/b", "a/ab"])
@example("a/\n", ["a", "a/b", "b/a/b"])
@example("/a\n", ["a", "b/a"])
@example("a/b\n", ["a/b", "b/a/b"])
@example(" # no comment of git's\n", ["#a"])
@example("**/a\n", ["a", "b/a"])
@example("a/**/b\n", ["a/b", "a/ab/b", "a/ab/a/b"])
@example("*/\n", ["a/b"])
@example("[!a]\n", ["b", "a"])
@example("\\#a\n", ["#a"])
@example("a*b*c*d*e\n", ["abcde", "a1b2c3d4e", "abde", "acde", "abce", "a/bcde"])
@budget(600)
def test_a_path_is_left_out_where_dvc_leaves_it_out(tmp_path_factory, text, paths):
    expected = read_as_dvc(text, tmp_path_factory.getbasetemp())
    try:
        patterns = parse_ignore(text.encode())
    except BadIgnore:
        assert expected is None or "**" in text
        return
    assert expected is not None, "DVC refuses it"
    for path in paths:
        assert patterns.match(path) is ignores(expected, path), (path, patterns)


def test_the_projects_own_lines_are_those_of_dvc(tmp_path):
    data = (PROJECT / ".dvcignore").read_bytes()
    expected, patterns = read_as_dvc(data.decode(), tmp_path), parse_ignore(data)
    assert expected is not None
    for path in ("trainer/loop.py", "trainer/__pycache__/x.pyc", "locks/gate1.yaml.sig", "locks/gate1.yaml",
                 "live/.gitignore", "a/live/.gitignore", "stages/.a.part", "scratch/x", "x.egg-info/y"):  # fmt: skip
        assert patterns.match(path) is ignores(expected, path), path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!\n", ".dvcignore: found the pattern '!', expected a name behind the '!'"),
        ("a\\\n", ".dvcignore: found the pattern 'a\\\\', which DVC does not read"),
        ("[z-a]\n", ".dvcignore: found the pattern '[z-a]', which DVC does not read"),
        ("a/**/b/**/c/**/d\n", ".dvcignore: found the pattern 'a/**/b/**/c/**/d', expected at most 2 times `**`"),
        (
            "".join(f"*{n}\n" for n in range(MOST_PATTERNS + 1)),
            ".dvcignore: found 1001 patterns, expected at most 1000",
        ),
        ("!b\n" + "".join(f"{n}\n" for n in range(MOST_PATTERNS)), ".dvcignore: found 1001 patterns, expected at most"),
    ],
)
def test_what_dvc_does_not_read_and_what_nobody_writes_is_refused(text, message):
    with pytest.raises(BadIgnore, match="^" + re.escape(message)):
        parse_ignore(text.encode())


def test_as_many_patterns_and_depths_as_are_allowed_are_read():
    patterns = parse_ignore("".join(f"*{n}\n" for n in range(MOST_PATTERNS)).encode())
    assert len(patterns.patterns) == MOST_PATTERNS
    deep = parse_ignore(b"a/**/b/**/c\n")
    assert [deep.match(path) for path in ("a/x/b/y/c", "a/b/c", "a/x/c")] == [True, True, False]


def test_plain_names_may_be_many_and_cost_no_time_at_each_file():
    text = "".join(f"name{n}\n" for n in range(100_000))
    patterns = parse_ignore(text.encode())
    assert patterns == IgnoredNames(frozenset(text.split()), ())
    assert patterns.match("trainer/name99999/x") and not patterns.match("trainer/name/x")


def test_a_pattern_of_many_stars_is_matched_in_linear_time():
    patterns = parse_ignore(b"a*" * 60 + b"b\n" + b"**/" + b"*a" * 60 + b"/**/b\n")
    begin = time.process_time()
    assert not patterns.match("/".join(["a" * 250] * 40))
    assert time.process_time() - begin < 20, "seconds; with backtracking it would be years"


@pytest.mark.parametrize(
    ("text", "left_out", "kept"),
    [
        ("a\n", ["a", "a/b", "b/a", "b/a/c"], ["ab", "b"]),
        ("/a\n", ["a", "a/b"], ["b/a"]),
        ("/\n# a\n \n", [], ["a"]),
        ("a b \n", ["a b"], ["a", "b"]),
        ("a/\n", ["a/b", "b/a/c"], ["a", "b/a"]),
        ("a/b\n", ["a/b", "a/b/c"], ["b/a/b", "a/c"]),
        ("a/b/\n", ["a/b/c"], ["a/b", "c/a/b/d"]),
        ("*.py\n", ["a.py", "b/a.py", "a.py/b"], ["a.pyc"]),
        ("/*.py\n", ["a.py"], ["b/a.py"]),
        ("a*b*c\n", ["abc", "a1b2c", "abbcc", "x/abc"], ["ab", "acb", "a/bc", "xabc"]),
        ("a?c\n", ["abc"], ["ac", "a/c", "abbc"]),
        ("[ab]c\n", ["ac", "bc"], ["cc", "c"]),
        ("[!ab]c\n", ["cc"], ["ac", "bc", "c"]),
        ("[^a-c]\n", ["d", "x/d"], ["a", "b", "c"]),
        ("[]a]\n", ["]", "a"], ["[", "b"]),
        ("[a\n", [], ["[a", "a"]),
        ("x[a&b]\n", ["xa", "x&", "xb"], ["xc"]),
        ("\\*a\n", ["*a"], ["ba", "a"]),
        ("**/a\n", ["a", "b/a", "c/b/a"], ["ab"]),
        ("a/**\n", ["a/b", "a/b/c"], ["a", "b/a/c"]),
        ("a/**/b\n", ["a/b", "a/x/b", "a/x/y/b"], ["b", "a/x"]),
        ("a/**/**/b\n", ["a/b", "a/x/b"], ["b", "a/xb"]),
        ("*\n", ["a", "b/a"], []),
        ("**\n", ["a", "b/a"], []),
        ("/*\n", ["a", "b/a"], []),
        ("*/\n", [], ["a", "b/a"]),
        ("**/\n", [], ["a", "b/a"]),
        ("a/*\n", ["a/b", "a/b/c"], ["a", "b/a/c"]),
        ("a\n!a\n", [], ["a", "b/a"]),
        ("!a\na\n", ["a"], ["b"]),
        ("*.py\n!a.py\n", ["b.py"], ["a.py", "x/a.py"]),
        ("!a.py\n*.py\n!b.py\n", ["a.py"], ["b.py"]),
        ("a\nb\na\n!b\n", ["a"], ["b"]),
        ("a\r\nb\rc\n", ["a", "b", "c"], ["d"]),
        ("\u00e9\n", ["\u00e9"], ["e"]),
    ],
)
def test_a_line_leaves_out_what_it_names_and_keeps_the_rest(tmp_path, text, left_out, kept):
    patterns, expected = parse_ignore(text.encode()), read_as_dvc(text, tmp_path)
    assert expected is not None
    for paths, ignored in ((left_out, True), (kept, False)):
        assert {path: patterns.match(path) for path in paths} == dict.fromkeys(paths, ignored)
        assert {path: ignores(expected, path) for path in paths} == dict.fromkeys(paths, ignored), "DVC says otherwise"


def test_plain_names_are_kept_apart_only_where_nothing_is_taken_back():
    assert parse_ignore(b"a\n*.py\nb c\n").names == {"a", "b c"}
    assert len(parse_ignore(b"a\n*.py\nb c\n").patterns) == 1
    assert parse_ignore(b"a\n!b\n").names == frozenset()
    assert parse_ignore(b"\xff\n").names == {"\ufffd"}


def test_a_pattern_speaks_of_a_folder_and_of_what_lies_in_it():
    folder = parse_ignore(b"/a/\n").patterns[0]
    assert (folder.folders_only, folder.ignores, folder.match("a", True), folder.match("a", False)) == (
        True, True, True, False)  # fmt: skip
    back = parse_ignore(b"!/a\n").patterns[0]
    assert (back.folders_only, back.ignores, back.match("a", True), back.match("a", False)) == (
        False, False, True, True)  # fmt: skip
