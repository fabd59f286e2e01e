"""`promotion screen`: it writes configurations into a study's file, and prints effects from locks and ledger alone."""

from __future__ import annotations

import json
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report.build import build
from stages import cli, ledger
from stages.commands import screen as screen_command
from stages.commands.what_if import read_ledger, read_locks
from stages.domain import locks, yamlio
from stages.domain.errors import Refused
from stages.domain.origin import Origin
from stages.screen.design import make_design, write_configs
from stages.screen.recorded import read_screen
from tests.support import synthetic
from tests.support.repo import PROJECT

FACTORS = {"d": {"depth": [1, 2]}, "ar": {"aspect": [16, 32]}, "lr": {"matrix_lr": [0.02, 0.04], "head_lr": [0.1, 0.2]}}


def screen_params() -> dict[str, Any]:
    """A screen of two rungs, two hosts and two seeds a host."""
    value = synthetic.params(4)
    template = {"batch_tokens": 4096, "embedding_lr": 0.3}
    value["factors"] = FACTORS
    value["configs"] = write_configs(make_design(FACTORS, 5), template)
    value["roles"] = {}
    value["rungs"] = {
        f"rung{n}": {"budget_seconds": n, "seeds": [10 * n, 10 * n + 1], "floor_seeds": []} for n in (1, 2)
    }
    keep = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "top_k", "k": 8}}
    value["gates"] = {"gate1": keep, "gate2": {**keep, "R2": {"kind": "top_k", "k": 4}}}
    return value


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("screen")
    synthetic.build(root, screen_params())
    with chdir(root):
        ledger.main()
    return root


def promotion(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    return int(end.value.code or 0)


def test_the_ready_screen_is_what_its_factors_design(tmp_path, capsys):
    data = (PROJECT / "studies" / "screen.yaml").read_bytes()
    (tmp_path / "again.yaml").write_bytes(data)
    with chdir(tmp_path):
        assert promotion("screen", "design", "again.yaml", "--write") == 0
    assert (tmp_path / "again.yaml").read_bytes() == data
    out = capsys.readouterr().out
    assert "16 configurations of 32 combinations, resolution 5" in out
    assert "generator E = ABCD" in out and "alias AB = CDE" in out


def test_without_write_the_section_is_printed_and_the_file_stays(tmp_path, capsys):
    text = "factors:\n  d: {depth: [1, 2]}\n  b: {batch: [4, 8]}\nconfigs: {base: {aspect: 32}}\nroles: {}\n"
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    with chdir(tmp_path):
        assert promotion("screen", "design", "s.yaml") == 0
    section = yamlio.loads(capsys.readouterr().out.encode(), "printed")
    assert section["configs"]["d2-b8"] == {"aspect": 32, "depth": 2, "batch": 8}
    assert (tmp_path / "s.yaml").read_text(encoding="utf-8") == text


HEAD = "factors:\n  d: {depth: [1, 2]}\n  b: {batch: [4, 8]}\n\n# above\n"
SECTION = (
    "configs:\n  d1-b4: {aspect: 32, depth: 1, batch: 4}\n  d1-b8: {aspect: 32, depth: 1, batch: 8}\n"
    "  d2-b4: {aspect: 32, depth: 2, batch: 4}\n  d2-b8: {aspect: 32, depth: 2, batch: 8}\n"
)
#: The section as people write it, its knobs {aspect: 32}.
WRITTEN = {
    "flow": "configs: {base: {aspect: 32}}\n",
    "block": "configs:\n  base:\n    aspect: 32\n",
    "comments between configurations": "configs:\n  base: {aspect: 32}\n\n  # inside\n# and here\n  b: {aspect: 32}\n",
    "trailing comments": "configs:  # these\n  base: {aspect: 32}  # the first\n\n  # other: {aspect: 8}\n",
    "flow over several lines": "configs: {base: {aspect: 32},\n  b: {aspect:\n  32}\n}  # all\n",
    "flow that begins below": "configs:\n  # two\n  {base: {aspect: 32},\nb: {aspect: 32}}\n",
    "quoted key": '"configs" :\n  base: {aspect: 32}\n',
    "single quotes": "'configs': {'base': {\"aspect\": 32}}\n",
    "tag": "configs: !!map\n  base: {aspect: 32}\n",
    "anchor that nobody uses": "configs: &all\n  base: {aspect: 32}\n",
}
AFTER = {
    "a section": "\n# below\nroles: {}\n",
    "a section at once": "roles: {}\n",
    "a comment": "\n\n# the end",
    "nothing": "",
    "an end of document": "...\n",
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("before", WRITTEN.values(), ids=WRITTEN)
def test_only_the_section_is_replaced(tmp_path, before, after, line_end):
    (tmp_path / "s.yaml").write_bytes((HEAD + before + after).replace("\n", line_end).encode())
    with chdir(tmp_path):
        assert promotion("screen", "design", "s.yaml", "--write") == 0
    assert (tmp_path / "s.yaml").read_bytes() == (HEAD + SECTION + after).replace("\n", line_end).encode()


def test_a_file_without_a_newline_at_its_end_gets_one(tmp_path):
    for text in (f"{HEAD}configs: {{base: {{aspect: 32}}}}", f"{HEAD}configs:\n  base:\n    aspect: 32 # x"):
        (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
        with chdir(tmp_path):
            assert promotion("screen", "design", "s.yaml", "--write") == 0
        assert (tmp_path / "s.yaml").read_text(encoding="utf-8") == HEAD + SECTION


@pytest.mark.parametrize(
    "before", ["configs:\n", "configs:  # none yet\n", "configs: ~\n", "configs: {}\n", "configs:"]
)
def test_a_section_that_holds_nothing_is_filled(tmp_path, before):
    after = "\n# below\nroles: {}\n" if before.endswith("\n") else ""
    (tmp_path / "s.yaml").write_text(HEAD + before + after, encoding="utf-8")
    with chdir(tmp_path):
        assert promotion("screen", "design", "s.yaml", "--write") == 0
    assert (tmp_path / "s.yaml").read_text(encoding="utf-8") == HEAD + SECTION.replace("aspect: 32, ", "") + after


@pytest.mark.parametrize("end", ["roles: {}", "roles: {}\n", "roles: {}\r\n# the end\r\n"])
def test_an_absent_section_is_put_at_the_end(tmp_path, end):
    (tmp_path / "s.yaml").write_bytes((HEAD + end).encode())
    with chdir(tmp_path):
        assert promotion("screen", "design", "s.yaml", "--write") == 0
    text = (tmp_path / "s.yaml").read_bytes().decode()
    assert text.startswith(HEAD + end.rstrip()) and text.endswith("  d2-b8: {depth: 2, batch: 8}\n")


def test_a_file_that_is_indented_as_a_whole_keeps_its_indentation(tmp_path):
    def indented(text: str) -> str:
        return "".join(f"  {line}\n" for line in text.splitlines())

    (tmp_path / "s.yaml").write_text(indented(HEAD + "configs: {base: {aspect: 32}}\nroles: {}"), encoding="utf-8")
    with chdir(tmp_path):
        assert promotion("screen", "design", "s.yaml", "--write") == 0
    assert (tmp_path / "s.yaml").read_text(encoding="utf-8") == indented(HEAD + SECTION + "roles: {}")


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "? configs\n: {base: {aspect: 32}}\nroles: {}\n",
        HEAD + "configs: &all {base: {aspect: 32}}\nroles: *all\n",
        HEAD + "roles: &all {base: {aspect: 32}}\nconfigs: *all\n",
        HEAD + "configs:\n  base: &knobs {aspect: 32}\n  b: *knobs\nroles: {}\n",
        '{"factors": {"d": {"depth": [1, 2]}, "b": {"batch": [4, 8]}},\n "configs": {"base": {"aspect": 32}},\n "roles": {}}\n',
        '{"factors": {"d": {"depth": [1, 2]}, "b": {"batch": [4, 8]}}}\n',
        HEAD + "...\n",
        HEAD + "study: {}\nroles: |+\n  kept\n\n\n",
    ],
)
def test_what_cannot_be_replaced_where_it_stands_is_refused_and_the_file_stays(tmp_path, capsys, text):
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    with chdir(tmp_path):
        assert promotion("screen", "design", "s.yaml", "--write") == 2
    assert "put the printed one into the file" in capsys.readouterr().err
    assert (tmp_path / "s.yaml").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("configs", ["[base]", "{base: 3}", "{base: {aspect: [1]}}", "text"])
def test_configurations_that_are_none_are_refused_at_their_place(tmp_path, capsys, configs):
    (tmp_path / "s.yaml").write_text(f"{HEAD}configs: {configs}\n", encoding="utf-8")
    with chdir(tmp_path):
        assert promotion("screen", "design", "s.yaml", "--write") == 2
    assert "s.yaml: configs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("roles: {}\n", "s.yaml: factors: missing, expected two factors or more"),
        ("factors: {d: {depth: [1]}}\n", "s.yaml: factors"),
        ("factors: {d: {depth: [1, 1]}, e: {e: [1, 2]}}\n", "factors.d: found a level twice"),
    ],
)
def test_a_file_without_usable_factors_is_refused(tmp_path, capsys, text, message):
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    with chdir(tmp_path):
        assert promotion("screen", "design", "s.yaml") == 2
    assert message in capsys.readouterr().err


def test_gate_1_freezes_the_factors_and_other_locks_do_not_have_the_key(screened, tmp_path):
    with chdir(screened):
        first, second = locks.read("gate1"), locks.read("gate2")
    assert first is not None and second is not None
    assert first.frozen.to_json()["factors"] == FACTORS
    assert "factors" not in second.frozen.to_json()
    synthetic.build(tmp_path, synthetic.params(4))
    with chdir(tmp_path):
        other = locks.read("gate1")
    assert other is not None and "factors" not in other.frozen.to_json()


def test_effects_are_printed_from_locks_and_ledger_and_as_json(screened, capsys):
    with chdir(screened):
        assert promotion("screen", "effects") == 0
        text = capsys.readouterr().out
        assert promotion("screen", "effects", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert "rung1 on cpu-fp32" in text and "d on cpu-fp32: depth" in text
    assert "the leader of rung1" in text
    assert {effect["name"] for effect in value["effects"]} == {"ar", "d", "lr", "ar x d", "ar x lr", "d x lr"}


def test_a_study_without_factors_is_no_screen(tmp_path, capsys):
    synthetic.build(tmp_path, synthetic.params(4))
    with chdir(tmp_path):
        ledger.main()
        assert promotion("screen", "effects") == 2
    assert "factors: missing, so this study is no screen" in capsys.readouterr().err


def test_a_ladder_after_a_screen_points_back_to_the_screen(tmp_path):
    synthetic.build(tmp_path, synthetic.params(4))
    with chdir(tmp_path):
        frozen = read_locks()
    origin = Origin(study="screen", gate="gate3", commit="0" * 40, decision="0" * 64)
    first = frozen["gate1"]
    first = first.model_copy(update={"frozen": first.frozen.model_copy(update={"from_": origin})})
    with pytest.raises(Refused, match=r"goes on from gate3 of screen; `promotion study back screen`"):
        read_screen({**frozen, "gate1": first}, [])


def test_the_site_of_a_screen_has_a_page_of_effects(screened):
    build(screened)
    page = (screened / "site" / "effects.html").read_text(encoding="utf-8")
    assert "Every effect" in page
    assert 'href="effects.html"' in (screened / "site" / "index.html").read_text(encoding="utf-8")
    table = json.loads((screened / "site" / "effects.effects.json").read_bytes())
    assert len(table["rows"]) == 6 * 2 * 2


def test_the_site_of_another_study_has_none(tmp_path):
    synthetic.build(tmp_path, synthetic.params(4))
    with chdir(tmp_path):
        ledger.main()
    build(tmp_path)
    assert not (tmp_path / "site" / "effects.html").exists()
    assert "effects.html" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_a_budget_and_host_without_every_score_is_named_before_the_others(screened):
    with chdir(screened):
        screen = read_screen(read_locks(), read_ledger())
    gone = next(run for run in screen.observations if run.rung == "rung2")
    less = replace(screen, observations=tuple(run for run in screen.observations if run != gone))
    reported = list(screen_command.lines(less))
    line = f"rung2 on {gone.host}: not evaluable: 1 of 16 runs have no score"
    assert line in reported
    other = {"cpu-fp32": "cpu-bf16", "cpu-bf16": "cpu-fp32"}[gone.host]
    heads = [text for text in reported if text.startswith("rung") and "not evaluable" not in text]
    assert sorted(heads) == sorted(["rung1 on cpu-fp32", "rung1 on cpu-bf16", f"rung2 on {other}"])
    assert less.choices() == []
    assert not any("not evaluable" in text for text in screen_command.lines(screen))


def test_a_screen_without_a_first_lock_is_told_to_freeze(screened):
    with pytest.raises(Refused, match=r"^locks/gate1\.yaml is missing: no factors are frozen; `promotion freeze`$"):
        read_screen({}, [])
