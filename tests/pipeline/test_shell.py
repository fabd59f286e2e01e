"""No text of params.yaml reaches the shell to which DVC hands the commands of a rung, whoever starts DVC."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.domain import yamlio
from stages.domain.errors import Invalid
from stages.domain.study import parse_study
from tests.support.repo import PROJECT, Repo, create

ATTACKS = {
    "substitution": "$(touch owned)",
    "backtick": "`touch owned`",
    "semicolon": "a; touch owned; true",
    "newline": "a\ntouch owned\n",
    "pipe": "a | touch owned",
    "redirection": "a > owned",
}
KINDS = ("config", "host", "seed", "floor_seed", "reference")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A study whose rung 1 may run: the contract stands there, so DVC has no reason to start the protocol."""
    repo = create(tmp_path_factory.mktemp("shell") / "study")
    contract = repo.root / "artifacts" / "protocol" / "rung1.json"
    contract.parent.mkdir(parents=True)
    contract.write_bytes(b"{}\n")
    return repo


def attacked(kind: str, text: str) -> dict[str, object]:
    """The smoke study with `text` in the place of a name or a seed."""
    value = yamlio.loads((PROJECT / "studies" / "smoke.yaml").read_bytes(), "smoke")
    configs, hosts, roles = value["configs"], value["hosts"], value["roles"]
    if kind in ("config", "reference"):
        name = roles["reference"]
        configs[text] = configs.pop(name)
        roles.update({role: text for role, holder in roles.items() if holder == name})
    elif kind == "host":
        hosts[text] = hosts.pop(next(iter(hosts)))
    else:
        value["rungs"]["rung1"]["seeds" if kind == "seed" else "floor_seeds"] = [text]
    return value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_the_study_refuses_shell_text_and_no_dvc_yaml_is_generated_from_it(kind: str, text: str):
    with pytest.raises(Invalid):
        parse_study(attacked(kind, text), "params.yaml")


@pytest.mark.parametrize("kind", KINDS)
def test_dvc_runs_nothing_of_what_stands_in_params_yaml(kind: str, door: Repo):
    from ruamel.yaml import YAML

    value = attacked(kind, next(iter(ATTACKS.values())))
    for text in list(ATTACKS.values())[1:]:  # every attack at once, where more than one fits
        if kind in ("config", "host"):
            section = value[f"{kind}s"]
            section[text] = dict(section[next(iter(section))])
        elif kind in ("seed", "floor_seed"):
            value["rungs"]["rung1"][f"{kind}s"].append(text)
    with (door.root / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(value, file)
    folder = sorted(path.parent for path in door.root.glob("stages/ladder/rung1/*/dvc.yaml"))[0]
    pipeline = f"{folder.relative_to(door.root).as_posix()}/dvc.yaml"
    listed = door.dvc("stage", "list", pipeline, "--names-only").stdout.split()
    assert len(listed) >= 2
    assert not [name for name in listed if set(name) & set("$`;|>\n")]
    door.dvc("repro", "-s", "--keep-going", *(f"{pipeline}:{name}" for name in listed[:3]), check=False)
    assert not list(door.root.rglob("owned"))


def test_no_command_of_a_rung_has_a_variable_of_params_yaml():
    for path in sorted(Path(PROJECT, "stages").glob("ladder/**/dvc.yaml")):
        text = path.read_text(encoding="utf-8")
        assert "vars:" not in text
        assert all(part.startswith("item.") for part in text.split("${")[1:])
