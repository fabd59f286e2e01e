"""Slots: one run a GPU, and on the CPU as many as do not slow each other."""

from __future__ import annotations

import pytest

from stages.domain.fail import Refused
from stages.domain.study import parse_study
from stages.hosts.slots import Slot, slots_of
from tests.hosts.test_block import A100, T4, machine
from tests.support import synthetic


def study(**hosts: dict):
    value = synthetic.params(4, 1)
    value["hosts"] = hosts or value["hosts"]
    del value["gates"]["gate4"]["R4"]  # min_host_agreement: one host has none to agree with
    return parse_study(value, "params.yaml")


CPU = {"system": "any", "device": "cpu", "precision": "fp32", "threads": 2, "compile": False, "flops_per_second": 1}
GPU = CPU | {"device": "cuda", "device_name": "A100", "precision": "bf16", "threads": 1}


def test_every_gpu_of_the_named_kind_is_a_slot_that_sees_it_alone():
    second = A100 | {"uuid": "GPU-bbbb"}
    found = slots_of(study(big=GPU), [], None, machine(gpus=[A100, T4, second]))
    assert found == [Slot(("big",), "GPU-aaaa"), Slot(("big",), "GPU-bbbb")]


@pytest.mark.parametrize(("threads", "slots"), [(2, 1), (3, 1), (8, 4)])
def test_cpu_slots_share_the_cpus_by_the_threads_of_a_run(threads, slots):
    found = slots_of(study(one=CPU, two=CPU | {"precision": "bf16"}), [], None, machine(gpus=[], threads=threads))
    assert found == [Slot(("one", "two"))] * slots


def test_a_machine_that_is_no_host_has_no_slots():
    assert slots_of(study(big=GPU), [], None, machine(gpus=[T4])) == []


def test_a_host_that_was_asked_for_and_does_not_fit_is_an_error():
    with pytest.raises(Refused, match=r"hosts\.big: this machine is not that host: device_name: found Tesla T4"):
        slots_of(study(big=GPU), ["big"], None, machine(gpus=[T4]))
    with pytest.raises(Refused, match="nowhere: no such host"):
        slots_of(study(big=GPU), ["nowhere"], None, machine())


def test_only_the_named_hosts_get_slots_and_as_many_as_asked_for():
    found = slots_of(study(one=CPU, big=GPU), ["one"], 3, machine())
    assert found == [Slot(("one",))] * 3
