"""params.yaml: every mistake names file, place, what was found and what was expected."""

import copy

import pytest

from stages.domain import names, yamlio
from stages.domain.errors import Invalid
from stages.domain.runs import runs_of
from stages.domain.study import load, parse_study
from tests.runners.foreign_study import make_params
from tests.screen.test_command import screen_params
from tests.support.synthetic import params


def wrong(change):
    value = params(4)
    change(value)
    with pytest.raises(Invalid) as caught:
        parse_study(value, "params.yaml")
    return str(caught.value)


def test_a_good_study_is_read_with_its_cells_in_order():
    study = parse_study(params(4), "params.yaml")
    assert study.last_rung == "rung5"
    assert study.cells("rung3") == [("cpu-fp32", 3000), ("cpu-fp32", 3001), ("cpu-bf16", 3000), ("cpu-bf16", 3001)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: v["hosts"]["cpu-fp32"].update(thread=2),
            "params.yaml: hosts.cpu-fp32.thread: found 2, expected no such key",
        ),
        (
            lambda v: v["rungs"]["rung2"].update(seeds=["x"]),
            "params.yaml: rungs.rung2.seeds.0: found 'x', expected a whole number",
        ),
        (lambda v: v["study"].pop("title"), "params.yaml: study.title: expected a value: the key is missing"),
        (
            lambda v: v["roles"].update(reference="d9-nobody"),
            "params.yaml: roles.reference: found 'd9-nobody', "
            "expected one of configs: d1-c000, d2-c001, d3-c002, d4-c003",
        ),
        (
            lambda v: v["rungs"]["rung4"].update(seeds=[3001]),
            "params.yaml: rungs.rung4.seeds: seed 3001 stands in rungs.rung3.seeds already, "
            "expected a fresh one: a seed that helped to choose a configuration flatters it at the next rung",
        ),
        (
            lambda v: v["gates"]["gate5"]["R4"].update(role="hero"),
            "params.yaml: gates.gate5.R4: role 'hero' is not among roles: reference, comparator, sentinel",
        ),
        (
            lambda v: v["hosts"]["cpu-fp32"].pop("flops_per_second"),
            "params.yaml: hosts.cpu-fp32.flops_per_second: missing; the rated clock turns seconds into steps with it",
        ),
        (
            lambda v: v["gates"].pop("gate3"),
            "params.yaml: gates: found gate1, gate2, gate4, gate5, "
            "expected one for each rung: gate1, gate2, gate3, gate4, gate5",
        ),
        (
            lambda v: v["rungs"]["rung2"].update(budget_seconds=1.0),
            "params.yaml: rungs.rung2.budget_seconds: smaller than that of rung1; budgets climb",
        ),
        (
            lambda v: v["study"].update(schema=2),
            "params.yaml: study.schema: found 2, expected 1; update staged-promotion",
        ),
        (
            lambda v: v["configs"].update(aux={}),
            "params.yaml: configs.aux: found 'aux', expected another name: Windows keeps this one for a device",
        ),
    ],
)
def test_a_mistake_is_told_whole(change, message):
    assert wrong(change) == message


@pytest.mark.parametrize("name", ["../up", "Üben", "A", "a/b", "a b", "", "a.b", "-x", "d" * 65])
def test_a_name_that_could_leave_its_folder_or_its_key_is_refused(name):
    reported = wrong(lambda v: v["configs"].update({name: {"depth": 1}}))
    assert "configs" in reported and "a name without dots" in reported


@pytest.mark.parametrize("name", ["con", "prn", "nul", "com1", "lpt9"])
def test_a_name_that_windows_keeps_for_a_device_is_none_even_with_an_ending(name):
    assert not names.is_name(name) and not names.is_name(f"{name}.yaml")
    assert names.is_name(f"{name}-a") and names.is_name("com10")


def with_report(value):
    value["hosts"]["cpu-fp32"]["report"] = ["torch"]
    value["gates"]["gate3"]["R9"] = {"kind": "fixed_environment"}


def with_one_host(value):
    value["hosts"].pop("cpu-bf16")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            with_report,
            "gates.gate3.R9: fixed_environment could never tell anything: hosts.cpu-bf16.report: found nothing, "
            "expected facts to compare, such as [torch, device]; name some, or remove the rule",
        ),
        (
            lambda v: v["rungs"]["rung3"].update(floor_seeds=[3900]),
            "gates.gate3.R4: above_noise_floor could never tell anything: rungs.rung3.floor_seeds: found 1, expected at "
            "least 2 A/A runs of the reference on each host; add seeds that no rung uses, or remove the rule",
        ),
        (
            with_one_host,
            "gates.gate4.R4: min_host_agreement could never tell anything: hosts: found 1, expected at least 2 to agree; "
            "add a host block, or remove the rule",
        ),
        (
            lambda v: v["gates"]["gate5"]["R6"].update(to=v["gates"]["gate5"]["R6"]["role"]),
            "gates.gate5.R6: mean_gap could never tell anything: it compares the sentinel with itself; name two roles",
        ),
    ],
)
def test_a_rule_that_no_evidence_could_answer_is_refused_before_it_is_frozen(change, told):
    assert wrong(change) == f"params.yaml: {told}"


def test_a_gate_that_would_promote_nobody_is_refused_save_the_last_one():
    def promoters_gone(gate):
        def change(value):
            rules = value["gates"][gate]
            for rule_id in [one for one, rule in rules.items() if rule["kind"] in ("top_k", "keep_role", "within_gap")]:
                del rules[rule_id]

        return change

    assert wrong(promoters_gone("gate2")).startswith("params.yaml: gates.gate2: no rule promotes anybody, so the rungs")
    value = params(4)
    promoters_gone("gate5")(value)
    assert parse_study(value, "params.yaml").last_rung == "rung5"


@pytest.mark.parametrize(
    ("key", "found", "told"),
    [
        ("version", 0.1, "data.source.version: found 0.1, expected text: put it in quotes"),
        ("package", 3, "data.source.package: found 3, expected text: put it in quotes"),
        ("sha256", "A" * 64, f"data.source.sha256: found '{'A' * 64}', expected 64 hexadecimal digits in lower case"),
    ],
)
def test_a_key_that_is_called_like_its_kind_is_told_by_the_path_that_the_file_has(key, found, told):
    package = {"kind": "package", "package": "p", "version": "1", "file": "f", "sha256": "0" * 64, key: found}
    assert wrong(lambda v: v["data"].update(source=package)) == f"params.yaml: {told}"


def test_the_same_rules_are_welcome_where_they_can_be_answered():
    value = params(4)
    for host in value["hosts"].values():
        host["report"] = ["torch"]
    value["gates"]["gate3"]["R9"] = {"kind": "fixed_environment"}
    value["rungs"]["rung3"]["floor_seeds"] = [3900, 3901]
    assert parse_study(value, "params.yaml").gates["gate3"]["R9"].kind == "fixed_environment"


def test_an_unknown_kind_of_rule_is_refused_with_those_that_exist():
    reported = wrong(lambda v: v["gates"]["gate1"].update(R9={"kind": "vibes"}))
    assert reported.startswith("params.yaml: gates.gate1.R9.kind: found 'vibes', expected one of 'complete_cells', ")
    assert "'top_k'" in reported


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "top_k", "k": 0}, "gates.gate1.R9.k: found 0, expected greater than or equal to 1"),
        ({"kind": "top_k", "k": 2, "buy": "mean"}, "gates.gate1.R9.buy: found 'mean', expected no such key"),
        ({"kind": "top_k"}, "gates.gate1.R9.k: expected a value: the key is missing"),
        ({"k": 2}, "gates.gate1.R9.kind: expected a value: the key is missing"),
    ],
)
def test_a_mistake_in_a_rule_is_told_by_the_path_that_the_file_has(rule, message):
    assert wrong(lambda v: v["gates"]["gate1"].update(R9=rule)) == f"params.yaml: {message}"


def test_a_list_that_is_too_short_is_told_in_words():
    reported = wrong(lambda v: v["rungs"]["rung2"].update(seeds=[]))
    assert reported == "params.yaml: rungs.rung2.seeds: found [], expected at least 1 item"


def test_configurations_and_hosts_whose_joined_names_are_the_same_have_stages_of_their_own():
    value = params(4)
    hosts, knobs = value["hosts"], next(iter(value["configs"].values()))
    hosts["x"], hosts["b-x"] = copy.deepcopy(hosts["cpu-fp32"]), copy.deepcopy(hosts["cpu-fp32"])
    value["configs"]["a-b"], value["configs"]["a"] = dict(knobs), dict(knobs)
    stages = [run.stage for run in runs_of(parse_study(value, "params.yaml"), "rung1")]
    assert len(stages) == len(set(stages))


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(yamlio.BadYaml, match="is missing; run this in the root of a study"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: 1\na: 2\n", "p.yaml, line 2, column 1: key 'a' stands twice in one mapping, expected once"),
        (b"a: [1\n", "p.yaml, line 1, column 4: the list that begins with '[' is not closed, or lacks a comma"),
        (b"- 1\n", "p.yaml: found list, expected a mapping"),
        (b"1: 2\n", "p.yaml, line 1: 1: found the number 1 as a key, expected text: put it in quotes"),
        (b"a: 2020-01-01\n", "p.yaml, line 1: a: found the date 2020-01-01, expected text"),
        (
            b"a: !!python/object/apply:os.system [ls]\n",
            "p.yaml, line 1, column 4: '!' begins a tag, and none is read here; put such text in quotes",
        ),
        (b"\xff", "p.yaml: not UTF-8 at byte 0"),
    ],
)
def test_yaml_that_is_not_plain_data_is_refused(text, message):
    with pytest.raises(yamlio.BadYaml) as caught:
        yamlio.loads(text, "p.yaml")
    assert str(caught.value).startswith(message)


def test_an_alias_bomb_is_refused_quickly():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 12)]
    with pytest.raises(yamlio.BadYaml, match="alias bomb"):
        yamlio.loads("\n".join(lines).encode(), "p.yaml")


def foreign(**changes):
    return {**make_params(), **changes}


def mistake(value):
    with pytest.raises(Invalid) as caught:
        parse_study(value, "params.yaml")
    return str(caught.value).removeprefix("params.yaml: ")


NEEDS = "needs the command runner (runner.kind: command)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: v["study"].update(schema=0),
            "study.schema: found 0, expected 1; see CHANGELOG.md for how to bring it up to date",
        ),
        (
            lambda v: v["study"].update(
                {"from": {"study": "synthetic", "commit": "a" * 40, "gate": "gate1", "decision": "a" * 64}}
            ),
            "study.from.study: found 'synthetic', this study's own name, expected another: an extension has a name of "
            "its own",
        ),
        (
            lambda v: v.update(rungs={"rung2": v["rungs"]["rung2"], "rung1": v["rungs"]["rung1"]}),
            "rungs: found rung2, rung1, expected rung1, rung2 in this order",
        ),
        (
            lambda v: v["rungs"]["rung3"].update(floor_seeds=[3000, 3900]),
            "rungs.rung3.floor_seeds: seed 3000 stands in rungs.rung3.seeds already, expected a fresh one: a seed that "
            "helped to choose a configuration flatters it at the next rung",
        ),
        (
            lambda v: v["roles"].update(best="d1-c000"),
            "roles.best: `best` means the best candidate; give the role another name",
        ),
        (
            lambda v: v["roles"].pop("reference"),
            "roles.reference: missing, but floor_seeds ask for A/A runs of it",
        ),
        (
            lambda v: (v["rungs"]["rung3"].update(floor_seeds=[]), v.update(roles={})),
            "gates.gate2.R4: role 'reference' is not among roles: none",
        ),
        (lambda v: v["clock"].update(kind="given"), f"clock.kind: found given, which {NEEDS}; expected wall or rated"),
        (lambda v: v["rungs"]["rung2"].update({"with": {"steps": 1}}), f"rungs.rung2.with: {NEEDS}"),
        (lambda v: v["hosts"]["cpu-bf16"].update(device="any"), f"hosts.cpu-bf16.device: found any, which {NEEDS}"),
        (lambda v: v["hosts"]["cpu-bf16"].update(gpus=1), f"hosts.cpu-bf16.gpus: {NEEDS}"),
        (
            lambda v: v["data"].update(source=make_params()["data"]["source"]),
            f"data.source.kind: found files, which {NEEDS}; expected package, text or parquet",
        ),
        (
            lambda v: v["gates"]["gate3"].update(R9={"kind": "budget_kept", "tolerance": 0.5}),
            "gates.gate3.R9: budget_kept could never tell anything: the built-in runner keeps its budget by its own "
            "clock; remove the rule",
        ),
        (
            lambda v: v["rungs"]["rung3"].update(floor_seeds=[]),
            "gates.gate3.R4: above_noise_floor could never tell anything: rungs.rung3.floor_seeds: found 0, expected "
            "at least 2 A/A runs of the reference on each host; add seeds that no rung uses, or remove the rule",
        ),
    ],
)
def test_sections_that_do_not_fit_are_told_with_what_is_expected(change, message):
    assert wrong(change) == f"params.yaml: {message}"


def test_two_runs_of_the_reference_are_a_noise_floor_and_budgets_may_be_alike():
    value = params(4)
    value["rungs"]["rung3"]["floor_seeds"] = [3900, 3901]
    value["rungs"]["rung2"]["budget_seconds"] = 2.0
    assert parse_study(value, "params.yaml").rungs["rung2"].budget_seconds == 2.0


def test_a_command_reads_files_and_its_rules_need_what_it_reports():
    assert parse_study(foreign(), "params.yaml").command.kind == "command"
    assert parse_study(params(4), "params.yaml").command is None
    assert mistake(foreign(data=params(4)["data"])) == (
        "data.source.kind: a command reads files as they are: expected files, with a root and digests"
    )
    value = foreign()
    del value["runner"]["facts"]["seconds"]
    assert mistake(value) == (
        "gates.gate2.R4: budget_kept could never tell anything: runner.facts.seconds: missing; name the line in which "
        "the trainer says how long it trained, such as 'training_seconds: {value}', or remove the rule"
    )
    value = foreign(clock={"kind": "rated"})
    value["configs"]["small"].pop("lr")
    assert mistake(value) == (
        "configs.small: lr is missing, but runner.command uses {lr}; "
        "clock.kind: found rated, which needs the built-in runner; expected wall or given"
    )


def test_a_threshold_below_the_resolution_of_the_scores_tells_nothing():
    value = foreign()
    value["runner"]["score"]["resolution"] = 0.01
    value["gates"]["gate3"]["R5"] = {"kind": "near_equivalent", "role": "other", "to": "reference", "margin": 0.01}
    value["roles"]["other"] = "middle"
    parse_study(value, "params.yaml")
    value["gates"]["gate3"]["R5"]["margin"] = 0.009
    assert mistake(value) == (
        "gates.gate3.R5: near_equivalent could never tell anything: its threshold is below runner.score.resolution, "
        "0.01; raise it, or remove the rule"
    )


def test_factors_that_a_configuration_does_not_follow_are_told_with_what_writes_them():
    value = screen_params()
    parse_study(value, "params.yaml")
    name = next(iter(value["configs"]))
    value["configs"][name]["matrix_lr"] = 0.7
    assert mistake(value).endswith("; `promotion screen design` writes configs from factors")
