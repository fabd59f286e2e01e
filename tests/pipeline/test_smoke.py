"""The whole protocol through the real dvc and git: what a team does, and what goes wrong on the way."""

import json
import os
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from stages.domain import canonical, files
from tests.support.repo import Repo, environment

pytestmark = pytest.mark.slow


def lines(repo: Repo, name: str) -> list[dict]:
    return [canonical.loads_canonical(one + b"\n") for one in (repo.root / "ledger" / name).read_bytes().splitlines()]


def locks(repo: Repo, rung: str) -> dict[str, dict]:
    """The dvc.lock files of a rung by the name of their folder: of a configuration, or of the rung itself."""
    paths = sorted((repo.root / "stages" / "ladder" / rung).rglob("dvc.lock"))
    return {path.parent.name: YAML(typ="safe").load(path)["stages"] for path in paths}


def decision(repo: Repo, gate: str) -> dict:
    return canonical.loads_canonical((repo.root / "artifacts" / "gates" / gate / "decision.json").read_bytes())


def ran(output: str) -> list[str]:
    return [one.split("'")[1].split(":")[-1] for one in output.splitlines() if one.startswith("Running stage")]


def test_the_matrix_expands_to_every_configuration_host_and_seed(smoke):
    runs = {f"run@{h}-{s}" for h in ("cpu-fp32", "cpu-bf16") for s in (3, 4)}
    floor = {f"floor@{h}-{s}" for h in ("cpu-fp32", "cpu-bf16") for s in (31, 32)}
    assert {folder: set(stages) for folder, stages in locks(smoke, "rung3").items()} == {
        "rung3": {"gate"}, "d1-a": runs, "d1-b": runs, "d2-a": runs | floor
    }  # fmt: skip


def test_nothing_is_left_to_do_after_a_study(smoke):
    assert "Data and pipelines are up to date" in smoke.dvc("status").stdout
    assert smoke.git("status", "--porcelain") == ""


def test_the_ledgers_lines_are_the_files_that_dvc_locked(smoke):
    locked = {}
    for rung in ("rung1", "rung2", "rung3"):
        for stage in (stage for stages in locks(smoke, rung).values() for stage in stages.values()):
            locked |= {out["path"]: out["md5"] for out in stage["outs"]}
    data = (smoke.root / "ledger" / "runs.jsonl").read_bytes().splitlines(keepends=True)
    assert len(data) == 6 + 6 + 12 + 4
    for line in data:
        run = canonical.loads_canonical(line)
        prefix = "floor-" if run["purpose"] == "floor" else ""
        path = f"artifacts/records/{run['rung']}/{run['config']}/{run['host']}/{prefix}{run['seed']}.json"
        assert locked[path] == files.md5_bytes(line)
    for line in (smoke.root / "ledger" / "decisions.jsonl").read_bytes().splitlines(keepends=True):
        gate = canonical.loads_canonical(line)["gate"]
        assert locked[f"artifacts/gates/{gate}/decision.json"] == files.md5_bytes(line)


def test_a_record_commits_to_the_lock_that_judges_it(smoke):
    text = YAML(typ="safe")
    digests = {n: text.load(smoke.root / "locks" / f"gate{n}.yaml")["digest"] for n in (1, 2, 3)}
    for run in lines(smoke, "runs.jsonl"):
        assert run["lock"] == digests[int(run["rung"][-1])]


def test_a_configuration_without_a_ticket_is_stopped_and_the_ticket_stands_in_the_lock(smoke):
    promoted = decision(smoke, "gate2")["promoted"]
    stopped = {run["config"] for run in lines(smoke, "runs.jsonl") if run["status"] == "stopped"}
    assert stopped and stopped == {"d1-a", "d1-b", "d2-a"} - set(promoted)
    for config in ("d1-a", "d1-b", "d2-a"):
        for name, stage in locks(smoke, "rung3")[config].items():
            if name.startswith("run@"):
                ticket = stage["params"]["artifacts/gates/gate2/promotions.json"]
                assert ticket == {f"tickets.{config}": config in promoted}


def test_two_runs_of_a_study_give_identical_ledgers(smoke, tmp_path):
    again = Repo(tmp_path / "again", alone=True)  # every process starts by itself, with a hash seed of its own
    again.root.mkdir()
    again.git("clone", "-q", str(smoke.root), ".")
    before = {path.name: path.read_bytes() for path in (again.root / "ledger").iterdir()}
    again.dvc("repro", "ledger")
    assert {path.name: path.read_bytes() for path in (again.root / "ledger").iterdir()} == before
    assert len(before) == 3


def test_only_the_last_rung_is_scored_on_the_locked_split(smoke):
    for run in lines(smoke, "runs.jsonl"):
        if run["facts"]:
            assert (run["facts"]["locked_bpb"] is not None) is (run["rung"] == "rung3")


def test_the_winner_is_an_artifact_with_its_weights(smoke):
    reported = json.loads((smoke.root / "artifacts" / "winner" / "model.json").read_text(encoding="utf-8"))
    weights = smoke.root / "artifacts" / "winner" / "model.safetensors"
    assert reported["config"] == decision(smoke, "gate3")["ranking"][0]["config"]
    assert files.sha256_file(weights) in json.dumps(reported)


def test_dvc_shows_a_dozen_metrics_and_what_changed_in_params(smoke):
    metrics = json.loads(smoke.dvc("metrics", "show", "--json").stdout)
    shown = metrics[""]["data"]["ledger/metrics.json"]["data"]
    assert shown["winner"] == decision(smoke, "gate3")["ranking"][0]["config"]
    assert list(shown)[:3] == ["mode", "winner", "winner_val_bpb"]
    assert sum(len(value) if isinstance(value, dict) else 1 for value in shown.values()) <= 12
    assert "gates.gate2.R3.k" in smoke.dvc("params", "diff", "HEAD~1", "--all").stdout


def test_a_what_if_on_one_gate_trains_nothing_and_says_so(study):
    done = study.dvc(
        "exp",
        "run",
        "-n",
        "what-if",
        "-S",
        "study.mode=exploratory",
        "-S",
        "gates.gate2.R3.k=3",
        "stages/ladder/rung2/dvc.yaml:gate",
    )
    assert set(ran(done.stdout)) == {"protocol", "gate"}
    made = decision(study, "gate2")
    assert made["mode"] == "exploratory"
    assert made["promoted"] == ["d1-a", "d1-b", "d2-a"]
    held = json.loads((study.root / "artifacts" / "gates" / "gate2" / "promotions.json").read_bytes())["tickets"]
    assert list(held.values()).count("what-if") == 3 - len(made["frozen_promoted"])
    shown = study.dvc("exp", "show", "--csv", "--only-changed").stdout
    assert "what-if" in shown and "study.mode" in shown


def test_a_whole_exploratory_study_trains_nothing_and_reads_as_unrun(study):
    study.replace("params.yaml", "mode: frozen", "mode: exploratory")
    study.replace("params.yaml", "R3: {kind: top_k, k: 1, by: each_host}", "R3: {kind: top_k, k: 3, by: mean}")
    study.dvc("repro", "ledger")
    unrun = [run for run in lines(study, "runs.jsonl") if run["status"] == "unrun"]
    assert unrun and all(run["facts"] is None for run in unrun)
    assert decision(study, "gate3")["outcome"] == "blocked"
    assert json.loads((study.root / "ledger" / "metrics.json").read_text(encoding="utf-8"))["mode"] == "exploratory"
    study.git("checkout", "params.yaml")
    assert ran(study.dvc("repro", "ledger").stdout) and study.git("status", "--porcelain") == ""


def test_one_more_promoted_configuration_runs_only_its_own_runs(study):
    stopped = next(iter({"d1-a", "d1-b"} - set(decision(study, "gate2")["promoted"])))
    path = study.root / "artifacts" / "gates" / "gate2" / "promotions.json"
    path.write_bytes(path.read_bytes().replace(f'"{stopped}":false'.encode(), f'"{stopped}":true'.encode()))
    changed = {name for name in json.loads(study.dvc("status", "--json", check=False).stdout) if "rung3" in name}
    folder = "stages/ladder/rung3"
    runs = {f"{folder}/{stopped}/dvc.yaml:run@{h}-{s}" for h in ("cpu-fp32", "cpu-bf16") for s in (3, 4)}
    assert changed == runs | {f"{folder}/dvc.yaml:gate"}


def refused(repo: Repo, *command: str) -> str:
    done = repo.python("-m", *command, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


def test_a_rule_that_differs_from_its_lock_is_refused_with_the_difference(study):
    study.replace("params.yaml", "R3: {kind: top_k, k: 1, by: each_host}", "R3: {kind: top_k, k: 2, by: each_host}")
    reported = refused(study, "stages.protocol")
    assert "locks/gate2.yaml: differs from params.yaml" in reported
    assert "rules.R3.k: frozen 1, now 2" in reported
    assert 'promotion freeze gate2 --amend --reason "..."' in reported
    assert "evidence of rung2 exists" in refused(study, "stages.cli", "freeze", "gate2")


def test_an_edited_lock_is_refused_before_anything_trains(study):
    study.replace("locks/gate2.yaml", "k: 1", "k: 2")
    assert "locks/gate2.yaml: digest: found" in refused(study, "stages.protocol")
    done = study.dvc("repro", check=False)
    assert done.returncode != 0 and ran(done.stdout) == ["protocol"]


def test_an_edited_trainer_is_refused_before_anything_trains(study):
    study.replace("trainer/__init__.py", '"""', '"""An edit. ')
    assert "runner: frozen" in refused(study, "stages.protocol")
    run = ("stages.run", "rung1", "d1-a", "cpu-fp32", "1")
    assert "trainer/: found sha256" in refused(study, *run)


def test_a_missing_lock_with_evidence_behind_it_is_refused(study):
    (study.root / "locks" / "gate3.yaml").unlink()
    assert "evidence of rung3 exists; `git checkout -- locks/gate3.yaml`" in refused(study, "stages.protocol")
    assert "`git checkout -- locks/gate3.yaml`" in refused(study, "stages.cli", "freeze")


def test_an_amendment_needs_a_reason_stays_in_the_lock_and_invalidates_its_evidence(study):
    study.replace("params.yaml", "R3: {kind: top_k, k: 1, by: each_host}", "R3: {kind: top_k, k: 2, by: each_host}")
    assert "--amend needs --reason" in refused(study, "stages.cli", "freeze", "gate2", "--amend")
    study.promotion("freeze", "gate2", "--amend", "--reason", "k was meant to be 2")
    lock2, lock3 = (YAML(typ="safe").load(study.root / "locks" / f"gate{n}.yaml")["frozen"] for n in (2, 3))
    assert lock2["amendments"][0]["changed"] == {"rules.R3.k": {"was": 1, "is": 2}}
    assert lock2["amendments"][0]["reason"] == "k was meant to be 2"
    assert list(lock3["amendments"][0]["changed"]) == ["previous"]
    study.promotion("freeze")
    assert YAML(typ="safe").load(study.root / "locks" / "gate2.yaml")["frozen"] == lock2
    study.dvc("repro", "protocol")
    stale = json.loads(study.dvc("status", "--json", check=False).stdout)
    assert not any("rung1/" in name and "dvc.yaml:run" in name for name in stale)
    assert sum("rung2/" in name and "dvc.yaml:run" in name for name in stale) == 6


def test_a_seed_changed_by_an_amendment_leaves_nothing_behind_and_the_study_verifies(study):
    study.replace("params.yaml", "seeds: [3, 4]", "seeds: [3, 5]")
    reported = study.promotion("freeze", "--amend", "--reason", "seed 4 served elsewhere").stdout
    assert "taken away" in reported and "rung3" in reported
    assert all("run@cpu-fp32-4" not in stages for stages in locks(study, "rung3").values())
    study.commit("Amend the seeds")
    study.dvc("repro")
    study.commit("The evidence anew")
    done = study.promotion("verify", check=False)
    assert done.returncode == 0, done.stdout
    assert {run["seed"] for run in lines(study, "runs.jsonl") if run["rung"] == "rung3"} == {3, 5, 31, 32}


def test_a_configuration_added_after_the_evidence_is_a_change_of_the_first_lock(study):
    study.replace(
        "params.yaml",
        "  d2-a:",
        "  d1-c: {depth: 1, aspect: 24, batch_tokens: 128, matrix_lr: 0.02, embedding_lr: 0.3, head_lr: 0.004}\n  d2-a:",
    )
    reported = refused(study, "stages.protocol")
    assert "locks/gate1.yaml: differs from params.yaml" in reported and "configs.d1-c: frozen None, now" in reported


def test_a_run_that_no_rule_asks_for_is_refused(study):
    for words, reported in [
        (("d1-a", "cpu-fp32", "77"), "seed 77 is not among 1: no rule asks for this run"),
        (("d1-a", "gpu", "1"), "host gpu is not among cpu-bf16, cpu-fp32"),
        (("d9-z", "cpu-fp32", "1"), "configuration d9-z is not among those that gate1 froze"),
    ]:
        assert reported in refused(study, "stages.run", "rung1", *words)
    assert "d1-a is not the reference, d2-a" in refused(
        study, "stages.run", "rung3", "d1-a", "cpu-fp32", "31", "--floor"
    )
    assert study.git("status", "--porcelain") == ""


def test_a_knob_that_nobody_froze_is_not_trained(study):
    path = study.root / "artifacts/protocol/knobs/d1-b.json"
    path.write_bytes(path.read_bytes().replace(b'"batch_tokens":256', b'"batch_tokens":512'))
    for rung, seed in (("rung1", "1"), ("rung2", "2")):
        reported = refused(study, "stages.run", rung, "d1-b", "cpu-fp32", seed)
        assert "configs.d1-b.batch_tokens: found 512, but gate1 froze 256: no rule asks for this run" in reported
    path.write_bytes(b'{"schema":1}\n')
    reported = refused(study, "stages.run", "rung1", "d1-b", "cpu-fp32", "1")
    assert "artifacts/protocol/knobs/d1-b.json: found no knobs; `dvc repro --force protocol` writes it anew" in reported
    path.unlink()
    reported = refused(study, "stages.run", "rung1", "d1-b", "cpu-fp32", "1")
    assert "artifacts/protocol/knobs/d1-b.json is missing; `dvc repro --force protocol` writes it anew" in reported
    assert study.git("status", "--porcelain") == ""


def test_what_no_what_if_can_answer_is_refused_by_name(study):
    study.replace("params.yaml", "mode: frozen", "mode: exploratory")
    study.replace("params.yaml", "d1-b: {depth: 1, aspect: 16, batch_tokens: 256", "d1-b: {depth: 1, aspect: 16, batch_tokens: 512")  # fmt: skip
    reported = study.dvc("repro", "stages/ladder/rung1/dvc.yaml:gate", check=False)
    assert reported.returncode != 0 and ran(reported.stdout) == ["protocol"]
    assert "locks/gate1.yaml: no what-if can answer this" in reported.stderr
    assert "configs.d1-b.batch_tokens: frozen 256, now 512" in reported.stderr
    assert study.git("status", "--porcelain") == "M params.yaml"


def test_a_refusal_takes_no_door_away_and_status_says_what_was_changed(study):
    study.replace("params.yaml", "R3: {kind: top_k, k: 1, by: each_host}", "R3: {kind: top_k, k: 2, by: each_host}")
    assert study.dvc("repro", check=False).returncode != 0
    shown = json.loads(study.promotion("status", "--json").stdout)
    assert [rung["runs"]["done"] for rung in shown["rungs"]] == [rung["runs"]["declared"] for rung in shown["rungs"]]
    assert shown["next"]["command"] == 'promotion freeze gate2 --amend --reason "..."'


def test_what_the_runner_refuses_is_not_frozen_and_a_change_taken_back_leaves_the_old_lock(study):
    study.replace("params.yaml", "head_dim: 8", "head_dims: 8")
    reported = refused(study, "stages.cli", "freeze", "--amend", "--reason", "oops")
    assert "runner.head_dims is not a key of this section" in reported
    assert study.git("status", "--porcelain") == "M params.yaml"
    study.git("checkout", "params.yaml")
    study.replace("params.yaml", "R3: {kind: top_k, k: 1, by: each_host}", "R3: {kind: top_k, k: 2, by: each_host}")
    study.promotion("freeze", "--amend", "--reason", "a slip")
    study.git("checkout", "params.yaml")
    study.promotion("freeze")
    assert study.git("status", "--porcelain") == ""


def test_a_study_made_anew_under_its_name_is_an_amendment(study):
    data = (study.root / "params.yaml").read_bytes()
    (study.root / "again.yaml").write_bytes(data + b"# once more\n")
    before = (study.root / "locks" / "gate1.yaml").read_text(encoding="utf-8")
    reported = study.promotion("study", "use", "again.yaml", "--yes").stdout
    assert '`promotion freeze --amend --reason "..."`' in reported and "another study.name" in reported
    study.dvc("repro", "corpus")
    assert "git holds evidence of rung1" in refused(study, "stages.cli", "freeze")
    study.promotion("freeze", "--amend", "--reason", "the machine was replaced")
    made = YAML(typ="safe").load(study.root / "locks" / "gate1.yaml")["frozen"]["amendments"]
    assert [one["reason"] for one in made] == ["the machine was replaced"]
    assert made[0]["replaces"] in before and made[0]["changed"] == {}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "  d1-b: {depth: 1, aspect: 16, batch_tokens: 256",
            "  d1-b: {depth: 1, aspect: 15, batch_tokens: 128",
            "params.yaml: configs.d1-b: builds and trains exactly what d1-a does; remove one of them",
        ),
        ("head_dim: 8", "head_dims: 8", "params.yaml: runner.head_dims is not a key of this section"),
        (
            "eval_tokens: 512",
            "eval_tokens: 90000",
            "params.yaml: runner.eval_tokens: found 90000, expected at most 50404, the tokens of split val; lower it",
        ),
    ],
)
def test_a_study_that_could_not_be_judged_is_refused_before_anything_trains(study, old, new, told):
    study.replace("params.yaml", old, new)
    assert told in refused(study, "stages.protocol")


@pytest.mark.parametrize(("data", "told"), [(b"{}", "found no contract of rung1"), (b"xx", "not JSON at line 1")])
def test_a_contract_that_is_none_is_named_with_its_remedy(study, data, told):
    path = study.root / "artifacts" / "protocol" / "rung1.json"
    path.unlink()
    path.write_bytes(data)
    for command in (
        ("stages.run", "rung1", "d1-a", "cpu-fp32", "1"),
        ("stages.gate", "rung1"),
        ("stages.cli", "status"),
    ):
        message = refused(study, *command)
        assert f"artifacts/protocol/rung1.json: {told}" in message and "`dvc repro --force protocol`" in message


@pytest.mark.parametrize("data", [b"{}", b"[]", b"xx", b'{"splits":{"val":1}}'])
def test_a_manifest_that_is_none_is_named_with_its_remedy(study, data):
    path = study.root / "artifacts" / "corpus" / "manifest.json"
    path.unlink()
    path.write_bytes(data)
    for command in (("stages.protocol",), ("stages.cli", "freeze")):
        reported = refused(study, *command)
        assert (
            "artifacts/corpus/manifest.json: no manifest of a corpus" in reported and "`dvc repro corpus`" in reported
        )


def test_freezing_the_same_rules_again_changes_no_byte(study):
    study.promotion("freeze")
    assert study.git("status", "--porcelain") == ""


def test_a_rung_whose_gate_is_not_frozen_keeps_its_contract_closed(study):
    for path in ("artifacts/records/rung3", "artifacts/traces/rung3"):
        study.python("-c", f"import shutil; shutil.rmtree('{path}')")
    for path in ("locks/gate3.yaml", "ledger/runs.jsonl"):
        (study.root / path).unlink()
    study.python("-m", "stages.protocol")
    reported = refused(study, "stages.run", "rung3", "d2-a", "cpu-fp32", "3")
    assert "a rule comes before its evidence" in reported and "`promotion freeze gate3`" in reported


def test_a_killed_run_leaves_no_evidence(study):
    """Killed at the worst moment: the record is written beside its place and has not got its name yet."""
    record = study.root / "artifacts" / "records" / "rung1" / "d1-a" / "cpu-fp32" / "1.json"
    record.unlink()
    code = """
import os, pathlib, sys
replace = pathlib.Path.replace
pathlib.Path.replace = lambda self, target: os._exit(9) if self.name.startswith(".1.json") else replace(self, target)
sys.argv = ["run", "rung1", "d1-a", "cpu-fp32", "1"]
from stages.run import main
main()
"""
    assert study.python("-c", code, check=False).returncode == 9
    assert [path.suffix for path in record.parent.iterdir()] == [".part"]
    study.python("-m", "stages.gate", "rung1")
    assert decision(study, "gate1")["blocked_by"] == ["R1"]
    study.dvc("repro")
    assert record.is_file()
    assert study.git("status", "--porcelain") == ""
    assert study.promotion("verify", check=False).returncode == 0


def test_a_second_repro_beside_the_first_is_told_to_wait(study):
    """The first holds DVC's lock until it is let go, so that the second meets it however quick either is."""
    code = """
import sys
from dvc.repo import Repo
with Repo() as repo, repo.lock:
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=study.root, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None and first.stdout.readline().strip() == b"held"
        second = study.dvc("repro", "stages/ladder/rung1/d1-a/dvc.yaml", check=False)
        assert second.returncode
        assert "another" in second.stderr.lower() or "lock" in second.stderr.lower()
        first.communicate()
    assert first.returncode == 0
    study.dvc("repro", "stages/ladder/rung1/d1-a/dvc.yaml")


def test_a_run_on_the_wrong_machine_names_both_and_says_how_to_get_the_artifact(study):
    contract = study.root / "artifacts" / "protocol" / "rung1.json"
    value = canonical.loads(contract.read_bytes())
    value["hosts"]["cpu-fp32"]["system"] = "windows" if os.name == "posix" else "linux"
    contract.write_bytes(canonical.dumps(value))
    reported = refused(study, "stages.run", "rung1", "d1-a", "cpu-fp32", "1")
    assert "cpu-fp32" in reported and "windows" in reported.lower() and "dvc remote add" in reported


def test_a_changed_corpus_file_is_refused(study):
    path = study.root / "artifacts" / "corpus" / "val.bin"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-2] + b"\0\0")
    reported = refused(study, "stages.run", "rung1", "d1-a", "cpu-fp32", "1")
    assert "artifacts/corpus/val.bin: missing or changed" in reported


def test_a_mistake_in_a_configuration_is_found_before_anything_trains(study):
    study.replace(
        "params.yaml",
        "d1-a: {depth: 1, aspect: 16, batch_tokens: 128",
        "d1-a: {depth: 1, aspect: 16, batch_tokens: 100",
    )
    reported = refused(study, "stages.protocol")
    assert "params.yaml: configs.d1-a.batch_tokens is 100" in reported


@pytest.mark.parametrize(
    "words", [("rung1", "../up", "cpu-fp32", "1"), ("rung1", "d1-a", "cpu-fp32", "-1"), ("rung1",)]
)
def test_names_that_try_to_leave_their_folder_are_refused(study, words):
    assert "usage: python -m stages.run" in refused(study, "stages.run", *words)
