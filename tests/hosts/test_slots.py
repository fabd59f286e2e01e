"""Slots: as many GPUs as a run uses, which no other slot has, and on the CPU as many runs as do not slow each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stages.domain.errors import Refused
from stages.domain.study import Host, parse_study
from stages.hosts import workers
from stages.hosts.workers import Slot, find_slots
from tests.hosts.test_machine import A100, T4, make_machine
from tests.support import synthetic


def study(**hosts: dict):
    value = synthetic.params(4, 1)
    value["hosts"] = hosts or value["hosts"]
    del value["gates"]["gate4"]["R4"]  # min_host_agreement: one host has none to agree with
    return parse_study(value, "params.yaml")


CPU = {"system": "any", "device": "cpu", "precision": "fp32", "threads": 2, "compile": False, "flops_per_second": 1}
GPU = CPU | {"device": "cuda", "device_name": "A100", "precision": "bf16", "threads": 1}


def test_every_gpu_of_the_named_kind_is_a_slot_that_sees_it_alone():
    second = replace(A100, uuid="GPU-bbbb")
    found = find_slots(study(big=GPU), [], None, make_machine(gpus=(A100, T4, second)))
    assert found == [Slot(("big",), ("GPU-aaaa",)), Slot(("big",), ("GPU-bbbb",))]


def command_study(**hosts: dict):
    """Blocks of a study whose runner is a command, which alone may use several GPUs."""
    return study(small=CPU).model_copy(
        update={"hosts": {name: Host.model_validate(host) for name, host in hosts.items()}}
    )


@pytest.mark.parametrize(
    ("blocks", "gpus", "expected"),
    [
        ({"pair": {"gpus": 2}}, "aabb", [("pair", "0,1"), ("pair", "2,3")]),
        ({"pair": {"gpus": 2}}, "aab", [("pair", "0,1")]),
        ({"pair": {"gpus": 2}}, "a", []),
        ({"pair": {"gpus": 2, "device_name": "A100"}}, "tata", [("pair", "1,3")]),
        ({"one": {"gpus": 1}, "four": {"gpus": 4}}, "aaaaaa", [("one four", "0,1,2,3"), ("one", "4"), ("one", "5")]),
        ({"one": {}, "pair": {"gpus": 2}}, "aaa", [("one pair", "0,1"), ("one", "2")]),
        ({"two": {"gpus": 2}, "three": {"gpus": 3}}, "aaaaa", [("two three", "0,1,2"), ("two", "3,4")]),
        ({"any": {"gpus": 2, "device_name": ""}, "t4": {"gpus": 2, "device_name": "T4"}}, "att", [("any t4", "1,2")]),
        ({"cpu": {"gpus": 2, "device": "cpu", "device_name": ""}}, "aa", [("cpu", "0,1")]),
        ({"bf16": {"gpus": 2, "device_name": "", "precision": "bf16"}}, "tata", [("bf16", "1,3")]),
    ],
)
def test_slots_have_the_gpus_of_a_run_and_share_none(blocks, gpus, expected):
    present = tuple(replace(A100 if kind in "ab" else T4, uuid=str(at)) for at, kind in enumerate(gpus))
    declared = {name: GPU | {"precision": "fp32"} | changes for name, changes in blocks.items()}
    slots = find_slots(command_study(**declared), [], None, make_machine(gpus=present))
    assert [(" ".join(slot.hosts), ",".join(slot.gpus)) for slot in slots] == expected


def test_a_block_whose_gpus_would_be_shared_is_refused_with_the_way_to_divide_the_machine():
    """The one has 80 GB twice, the other A100 twice, and one GPU is both."""
    names = ("A100-80GB", "A100-40GB", "H100-80GB")
    gpus = tuple(replace(A100, name=name, uuid=name) for name in names)
    pair = GPU | {"gpus": 2}
    declared = command_study(kind=pair, memory=pair | {"device_name": "80GB"})
    with pytest.raises(Refused, match=r"hosts\.memory: its 2 GPUs would be shared.*`--host memory`, or `--host kind`"):
        find_slots(declared, [], None, make_machine(gpus=gpus))
    assert len(find_slots(declared, ["memory"], None, make_machine(gpus=gpus))) == 1


def test_a_machine_with_too_few_gpus_has_no_slot_and_says_so():
    declared, one = command_study(pair=GPU | {"gpus": 2}, one=GPU), make_machine(gpus=(A100, T4))
    lacks = "gpus: found 1 visible GPU whose name contains 'A100', expected at least 2"
    assert [slot.hosts for slot in find_slots(declared, [], None, one)] == [("one",)]
    assert workers.explain_mismatches(declared, [], one) == [f"no slot for hosts.pair: {lacks}"]
    assert workers.explain_mismatches(declared, ["one"], one) == []
    with pytest.raises(Refused, match=lacks):
        find_slots(declared, ["pair"], None, one)


def test_a_block_of_any_device_has_one_slot_unless_told_otherwise():
    declared = command_study(any=CPU | {"device": "any"}, cpu=CPU)
    assert find_slots(declared, [], None, make_machine(gpus=(), threads=8)) == [Slot(("any", "cpu"))]
    assert len(find_slots(declared, [], 3, make_machine(gpus=(), threads=8))) == 3


@pytest.mark.parametrize(("threads", "slots"), [(2, 1), (3, 1), (8, 4)])
def test_cpu_slots_share_the_cpus_by_the_threads_of_a_run(threads, slots):
    found = find_slots(
        study(one=CPU, two=CPU | {"precision": "bf16"}), [], None, make_machine(gpus=(), threads=threads)
    )
    assert found == [Slot(("one", "two"))] * slots


def test_a_machine_that_is_no_host_has_no_slots():
    assert find_slots(study(big=GPU), [], None, make_machine(gpus=(T4,))) == []


def test_a_host_that_was_asked_for_and_does_not_fit_is_an_error():
    with pytest.raises(Refused, match=r"hosts\.big: this machine is not that host: device_name: found Tesla T4"):
        find_slots(study(big=GPU), ["big"], None, make_machine(gpus=(T4,)))
    with pytest.raises(Refused, match="nowhere: no such host"):
        find_slots(study(big=GPU), ["nowhere"], None, make_machine())


def test_only_the_named_hosts_get_slots_and_as_many_as_asked_for():
    found = find_slots(study(one=CPU, big=GPU), ["one"], 3, make_machine())
    assert found == [Slot(("one",))] * 3


def test_only_blocks_that_were_asked_for_are_explained():
    blocks = study(one=GPU, two=GPU | {"device_name": "H100"})
    expected = [
        f"no slot for hosts.{name}: device_name: found Tesla T4, expected a GPU whose name contains '{kind}'; "
        "compile: found no triton, which torch.compile needs for CUDA (on Windows: the package triton-windows)"
        for name, kind in (("one", "A100"), ("two", "H100"))
    ]
    blocks = blocks.model_copy(
        update={"hosts": {name: host.model_copy(update={"compile": True}) for name, host in blocks.hosts.items()}}
    )
    there = make_machine(gpus=(T4,), triton=False)
    assert workers.explain_mismatches(blocks, [], there) == expected
    assert workers.explain_mismatches(blocks, ["two"], there) == expected[1:]
    with pytest.raises(workers.WrongHost) as refused:
        find_slots(blocks, ["two"], None, there)
    reasons = expected[1].removeprefix("no slot for hosts.two: ")
    assert str(refused.value) == f"params.yaml: hosts.two: this machine is not that host: {reasons}"


def test_without_a_machine_this_one_is_meant(monkeypatch):
    monkeypatch.setattr(workers, "describe_machine", lambda: make_machine(gpus=(), threads=6))
    assert find_slots(study(cpu=CPU), [], None) == [Slot(("cpu",))] * 3
    assert find_slots(study(cpu=CPU), [], 0) == []
    assert workers.explain_mismatches(study(cpu=CPU | {"threads": 7}), []) == [
        "no slot for hosts.cpu: threads: found 6 usable CPUs, expected at least 7"
    ]


@pytest.mark.parametrize(("threads", "slots"), [((2, 3), 2), ((4, 1), 1), ((1, 1), 6)])
def test_the_block_with_most_threads_says_how_many_cpu_slots_there_are(threads, slots):
    blocks = study(**{f"b{at}": CPU | {"threads": number, "title": str(at)} for at, number in enumerate(threads)})
    assert find_slots(blocks, [], None, make_machine(gpus=(), threads=6)) == [Slot(("b0", "b1"))] * slots
