"""What is done, what can be done now, and what waits: read from the files of one clone."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages import rungs as rung_files
from stages.commands import pending
from stages.domain import canonical, names, promotions
from stages.domain.errors import Invalid
from stages.domain.runs import Run, runs_of
from stages.dvcfiles import lockfile
from stages.dvcfiles.cache import cache_folder
from stages.hosts import remote, worklist
from stages.hosts.worklist import read_rung_work
from stages.status import read_status


def forget(run: Run) -> None:
    """What a clone looks like that has not seen this run."""
    names.record_path(run.id).unlink()


def change(run: Run, **changes: object) -> None:
    """Put a record with other values in the place of the run's own."""
    path = names.record_path(run.id)
    path.write_bytes(canonical.dumps(canonical.loads(path.read_bytes()) | changes))


def candidates(study, rung: str, host: str) -> list[Run]:
    """The runs of a rung on a host that train."""
    held = worklist.read_tickets(rung)
    return [one for one in runs_of(study, rung) if one.host == host and worklist.will_train(one, held)]


def test_a_finished_study_leaves_nothing_to_do(judged):
    for rung in judged.rungs:
        now = read_rung_work(judged, rung)
        assert (now.closed, now.to_train, now.to_stop) == (None, (), ())
        assert list(now.done) == runs_of(judged, rung)
        assert worklist.is_decided(rung)


def test_a_missing_run_is_to_do_and_closes_every_rung_above(judged):
    missing = candidates(judged, "rung2", "cpu-fp32")[0]
    forget(missing)
    assert read_rung_work(judged, "rung2").to_train == (missing,)
    assert read_rung_work(judged, "rung2").waits_for() == {"cpu-fp32": 1}
    assert read_rung_work(judged, "rung3").closed == "gate2 has not decided"


@pytest.mark.parametrize(
    "changes",
    [
        {"lock": "0" * 64},
        {"runner": "0" * 64},
        {"corpus": "0" * 64},
        {"budget": {"clock": "rated", "seconds": 99.0}},
        {"budget": {"clock": "wall", "seconds": 5.0}},
    ],
)
def test_a_record_under_other_rules_is_no_record(judged, changes):
    run = candidates(judged, "rung2", "cpu-fp32")[0]
    change(run, **changes)
    assert run in read_rung_work(judged, "rung2").to_train


def test_a_record_of_other_knobs_is_no_record(judged):
    run = candidates(judged, "rung2", "cpu-fp32")[0]
    spec = canonical.loads(names.record_path(run.id).read_bytes())["spec"]
    spec["config"]["matrix_lr"] = 0.5
    change(run, spec=spec)
    assert run in read_rung_work(judged, "rung2").to_train


def test_a_stopped_record_of_a_configuration_that_now_has_a_ticket_is_to_train(judged):
    held = promotions.read(names.GATES / "gate2" / "promotions.json")
    stopped = next(name for name, ticket in held.items() if ticket == "false")
    run = next(one for one in runs_of(judged, "rung3") if one.config == stopped and one.purpose == "candidate")
    assert run in read_rung_work(judged, "rung3").done
    (names.GATES / "gate2" / "promotions.json").write_bytes(promotions.dumps(held | {stopped: "true"}))
    assert run in read_rung_work(judged, "rung3").to_train


def test_a_clone_without_a_protocol_says_what_comes_first(judged):
    (names.PROTOCOL / "rung1.json").unlink()
    assert read_rung_work(judged, "rung1").closed == "`dvc repro protocol` first"
    names.lock_path("gate1").unlink()
    assert read_rung_work(judged, "rung1").closed == "no rule is frozen yet: `promotion status` says what comes first"


def test_an_unfrozen_gate_closes_its_rung(judged):
    path = names.PROTOCOL / "rung2.json"
    path.write_bytes(canonical.dumps({"schema": 1, "open": False, "rung": "rung2", "gate": "gate2"}))
    assert (
        read_rung_work(judged, "rung2").closed
        == "gate2 was frozen after the protocol looked: `dvc repro protocol` first"
    )
    names.lock_path("gate2").unlink()
    assert read_rung_work(judged, "rung2").closed == "gate2 is not frozen: `promotion freeze gate2`"


def test_stage_addresses_and_commands_are_those_of_the_dvc_files(judged):
    """The matrix is expanded by hand here, and by DVC's own rules: keys joined with '-', outer axis first."""
    for rung in judged.rungs:
        expected = {}
        for config in judged.configs:
            path = f"stages/ladder/{rung}/{config}/dvc.yaml"
            (text,) = (file.text for file in rung_files.pipeline_files(judged, rung) if file.path == path)
            stages = YAML(typ="safe").load(text)["stages"]
            for host, seed in judged.cells(rung):
                item = {"host": host, "seed": seed}
                expected[f"{path}:run@{host}-{seed}"] = filled(stages["run"]["cmd"], item)
            for host in judged.hosts if "floor" in stages else ():
                for seed in judged.rungs[rung].floor_seeds:
                    expected[f"{path}:floor@{host}-{seed}"] = filled(
                        stages["floor"]["cmd"], {"host": host, "seed": seed}
                    )
        assert {run.stage: " ".join(["python", *run.command]) for run in runs_of(judged, rung)} == expected


def filled(command: str, item: dict) -> str:
    for key, value in item.items():
        command = command.replace(f"${{item.{key}}}", str(value))
    return command


def test_pending_tells_each_rung_in_one_line_and_names_the_runs_of_a_host(judged, capsys):
    one, two = candidates(judged, "rung3", "cpu-bf16")[:2]
    forget(one)
    forget(two)
    assert pending.run(types.SimpleNamespace(host="cpu-bf16", fetch=False, remote=None, json=False)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rung1  2 s: 12 runs done; judged"
    assert lines[2] == "rung3  10 s: 14 runs done, 6 A/A; its gate waits for 2 runs of cpu-bf16"
    assert lines[3] == "rung4  1 min: waits: gate3 has not decided"
    assert [one.done for one in read_status(judged)[:3]] == [12, 12, 14], "`promotion status` counts alike"
    assert lines[5:] == ["cpu-bf16 can run now: 2", f"  {one.id}", f"  {two.id}"]


def test_pending_as_json_holds_the_runs_of_every_host(judged, capsys):
    one = candidates(judged, "rung3", "cpu-bf16")[0]
    forget(one)
    pending.run(types.SimpleNamespace(host=None, fetch=False, remote=None, json=True))
    reported = json.loads(capsys.readouterr().out)
    assert reported["rung3"]["to_train"] == {"cpu-bf16": [one.id], "cpu-fp32": []}
    assert reported["rung2"]["decided"] is True


def test_a_run_is_taken_in_only_once(judged, monkeypatch):
    done = list(read_rung_work(judged, "rung1").done)
    taken: list[tuple[str, ...]] = []
    monkeypatch.setattr(remote, "_run_module", lambda *words: taken.append(words) or 0)
    assert remote.commit_runs(done) == done
    assert taken == [("stages.hosts.dvc_commit", *(run.stage for run in done))]
    write_locks(done[:-1])
    for run in done:
        cache(run)
    assert remote.find_uncommitted(done) == [done[-1]]


def test_what_a_clone_trains_again_is_taken_in_although_its_lock_knows_it(judged):
    """A clone has the dvc.lock files from git and no cache; DVC would train again what is not cached."""
    done = list(read_rung_work(judged, "rung1").done)
    write_locks(done)
    assert remote.find_uncommitted(done) == done
    cache(done[0])
    assert remote.find_uncommitted(done) == done[1:]


def cache(run: Run) -> None:
    """Put the record of a run into DVC's cache."""
    data = names.record_path(run.id).read_bytes()
    md5 = worklist.md5_bytes(data)
    path = cache_folder(Path()) / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_locks(done: list[Run]) -> None:
    """The dvc.lock files of these runs, in this order, as far as `remote` reads them, and that of their gate."""
    texts = dict.fromkeys([run.lock_path for run in done], "schema: '2.0'\nstages:\n")
    for run in done:
        md5 = worklist.md5_bytes(names.record_path(run.id).read_bytes())
        texts[run.lock_path] += f"  {run.stage_name}:\n    outs:\n    - path: x\n      md5: {md5}\n"
    md5 = worklist.md5_bytes(names.decision_path(names.gate_of(done[0].rung)).read_bytes())
    gate = f"schema: '2.0'\nstages:\n  gate:\n    outs:\n    - path: x\n      md5: {md5}\n"
    for path, text in {**texts, names.pipeline_folder(done[0].rung) / "dvc.lock": gate}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def remove_locks(rung: str) -> None:
    shutil.rmtree(names.pipeline_folder(rung), ignore_errors=True)


def test_locks_hold_a_rung_in_any_order_but_not_without_a_run_or_this_decision(judged):
    done = list(read_rung_work(judged, "rung1").done)
    remove_locks("rung1")
    assert not remote.is_committed("rung1", done)
    for run in done:
        cache(run)
    for held, holds in ((done, True), (done[::-1], True), (done[:-1], False)):
        write_locks(held)
        assert remote.is_committed("rung1", done) is holds
    write_locks(done)
    decision = names.decision_path("gate1")
    decision.write_bytes(decision.read_bytes() + b" ")
    assert not remote.is_committed("rung1", done)


def test_what_was_judged_here_is_given_the_one_order_and_each_stage_stays_as_dvc_wrote_it(judged):
    done = list(read_rung_work(judged, "rung1").done)
    write_locks(done)
    expected = {run.lock_path: run.lock_path.read_bytes() for run in done}
    write_locks(done[::-1])
    assert {path: path.read_bytes() for path in expected} != expected
    remote.order_entries(done)
    assert {path: path.read_bytes() for path in expected} == expected


def test_the_order_is_host_by_host_with_candidates_before_floors_as_dvc_repro_ends_them(judged):
    done = list(read_rung_work(judged, "rung3").done)
    reference = [run for run in done if run.config == judged.roles["reference"]]
    write_locks(reference[::-1])
    remote.order_entries(reference)
    listed = list(lockfile.read(reference[0].lock_path)[1])
    assert listed == [
        f"{stage}@{host}-{seed}"
        for host in judged.hosts
        for stage, seeds in (("run", judged.rungs["rung3"].seeds), ("floor", judged.rungs["rung3"].floor_seeds))
        for seed in seeds
    ]


def test_a_lock_in_order_is_not_written(judged, monkeypatch):
    done = list(read_rung_work(judged, "rung1").done)
    write_locks(done)
    monkeypatch.setattr(lockfile, "write", lambda *_: pytest.fail("it was written"))
    remote.order_entries(done)


def test_a_stage_that_nobody_knows_is_kept_behind_the_others(judged):
    done = list(read_rung_work(judged, "rung1").done)
    write_locks(done)
    path = done[0].lock_path
    own = [run for run in done if run.lock_path == path]
    remote.order_entries(own[1:])
    assert list(lockfile.read(path)[1])[-1] == own[0].stage_name


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"lock": "0" * 64}, f"lock: found {'0' * 64}, expected LOCK"),
        ({"runner": "0" * 64}, f"runner: found {'0' * 64}, expected {'1' * 64}"),
        ({"corpus": "0" * 64}, f"corpus: found {'0' * 64}, expected CORPUS"),
        (
            {"budget": {"clock": "rated", "seconds": 6.0}},
            "budget: found {'clock': 'rated', 'seconds': 6.0}, expected {'clock': 'rated', 'seconds': 5.0}",
        ),
        (
            {"status": "stopped", "reason": "gate1", "spec": None, "facts": None},
            "status: found stopped, expected that of a run with a ticket",
        ),
        ({"spec": {}}, "spec: found that of other settings, expected those of params.yaml"),
        ({"seed": 7}, "found the record of rung2/CONFIG/cpu-fp32/7, expected that of rung2/CONFIG/cpu-fp32/2000"),
    ],
)
def test_a_record_that_is_not_that_of_the_run_is_told_with_what_was_expected(judged, changes, difference):
    run = candidates(judged, "rung2", "cpu-fp32")[0]
    contract = worklist.read_current_contract("rung2")
    line = names.record_path(run.id).read_bytes()
    record = worklist.parse_record(line, judged, contract, run, trained=True, where="here")
    assert (record.id, worklist.explain_difference(record, judged, contract, run, True)) == (run.id, None)
    for word, value in (("LOCK", contract.lock), ("CORPUS", contract.corpus), ("CONFIG", run.config)):
        difference = difference.replace(word, value)
    changed = canonical.dumps(canonical.loads(line) | changes)
    with pytest.raises(Invalid) as refused:
        worklist.parse_record(changed, judged, contract, run, trained=True, where="here")
    assert str(refused.value) == f"here: {difference}"


def test_a_run_that_trained_without_a_ticket_is_told(judged):
    run = candidates(judged, "rung2", "cpu-fp32")[0]
    contract = worklist.read_current_contract("rung2")
    record = worklist.records.read(run.id)
    message = "status: found finished, expected that of a run without a ticket"
    assert worklist.explain_difference(record, judged, contract, run, False) == message


def test_of_a_stopped_run_no_settings_are_expected(judged):
    held = worklist.read_tickets("rung3")
    run = next(run for run in runs_of(judged, "rung3") if not worklist.will_train(run, held))
    contract = worklist.read_current_contract("rung3")
    assert worklist.explain_difference(worklist.records.read(run.id), judged, contract, run, False) is None
    forget(run)
    work = read_rung_work(judged, "rung3")
    assert (work.to_stop, work.to_train) == ((run,), ())
    assert run not in work.done


def test_who_trains_has_a_ticket_or_is_at_the_first_rung_or_a_floor():
    run = Run("rung2", "a", "cpu", 1, "candidate")
    floor = Run("rung2", "a", "cpu", 1, "floor")
    for tickets, trains in (({}, True), ({"a": "true"}, True), ({"a": "false"}, False), ({"b": "false"}, True)):
        assert worklist.will_train(run, tickets) is trains
        assert worklist.will_train(floor, tickets) is True


def test_tickets_are_none_at_first_and_unknown_until_the_gate_has_decided(judged):
    assert worklist.read_tickets("rung1") == {}
    path = names.promotions_path("gate1")
    assert worklist.read_tickets("rung2") == promotions.read(path)
    path.unlink()
    assert worklist.read_tickets("rung2") is None
    assert read_rung_work(judged, "rung2") == worklist.RungWork("rung2", "gate1 has not decided")
    assert read_rung_work(judged, "rung1").closed is None


def test_a_contract_is_the_current_one_as_long_as_its_lock_stands(judged, monkeypatch):
    contract = worklist.read_current_contract("rung2")
    assert contract.rung == "rung2"
    assert worklist.is_decided("rung2")
    for lock in (types.SimpleNamespace(digest="0" * 64), None):
        monkeypatch.setattr(worklist.locks, "read", lambda gate, lock=lock: lock if gate == "gate2" else 1 / 0)
        assert worklist.read_current_contract("rung2") is None
        assert worklist.is_decided("rung2") is False


def test_a_gate_has_decided_under_its_lock_on_the_records_that_are_here(judged):
    assert worklist.is_decided("rung2") is True
    decision = names.decision_path("gate2")
    line, run = decision.read_bytes(), read_rung_work(judged, "rung2").trained[0]
    record = names.record_path(run.id).read_bytes()
    assert worklist.read_decision("rung2").to_bytes() == line
    changed = canonical.loads(line) | {"lock": "0" * 64}
    decision.write_bytes(canonical.dumps(changed))
    assert worklist.is_decided("rung2") is False
    decision.write_bytes(line)
    names.record_path(run.id).write_bytes(record + b" ")
    assert worklist.is_decided("rung2") is False
    forget(run)
    assert worklist.is_decided("rung2") is False
    names.record_path(run.id).write_bytes(record)
    assert worklist.is_decided("rung2") is True
    decision.unlink()
    assert worklist.read_decision("rung2") is None
    assert worklist.is_decided("rung2") is False
    decision.write_bytes(b"{")
    with pytest.raises(Invalid) as refused:
        worklist.is_decided("rung2")
    assert str(refused.value).startswith("artifacts/gates/gate2/decision.json: ")
    assert str(refused.value).endswith("; `dvc repro stages/ladder/rung2/dvc.yaml:gate` judges anew")


def test_work_is_told_apart_run_by_run_and_counted_by_host(judged):
    runs, held = runs_of(judged, "rung3"), worklist.read_tickets("rung3")
    trained = [run for run in runs if worklist.will_train(run, held)]
    lost = [trained[0], trained[1], trained[-1]]
    for run in lost:
        forget(run)
    work = read_rung_work(judged, "rung3")
    left = tuple(run for run in runs if run not in lost)
    expected = worklist.RungWork(
        "rung3", None, tuple(lost), (), left, tuple(run for run in left if worklist.will_train(run, held))
    )
    assert work == expected
    counts = {host: sum(run.host == host for run in lost) for host in dict.fromkeys(run.host for run in lost)}
    assert work.waits_for() == counts
    assert worklist.RungWork("rung3", None).waits_for() == {}
