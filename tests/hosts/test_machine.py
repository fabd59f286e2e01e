"""Host blocks: a machine is what it is, and a run in another's name is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from dataclasses import replace

import pytest

from stages.commands import host
from stages.domain.study import Host
from stages.hosts import machine
from stages.hosts.machine import Gpu, MachineDescription, WrongHost, find_mismatches, list_gpus, require_host
from tests.support import synthetic
from tests.support.repo import PROJECT, Repo

A100 = Gpu("NVIDIA A100-SXM4-80GB", "GPU-aaaa", "550", 81920, "8.0")
T4 = Gpu("Tesla T4", "GPU-tttt", "550", 15360, "7.5")
WINDOWS = MachineDescription("windows", "AMD64", "Xeon", threads=16, gpus=(A100,), compiler=None, triton=True)


def declared(**changes: object) -> Host:
    """The block windows-a100 of the paper's study, with changes."""
    value = {"system": "windows", "device": "cuda", "device_name": "A100", "precision": "bf16", "threads": 4}
    return Host.model_validate({**value, "compile": True, **changes})


def make_machine(**changes: object) -> MachineDescription:
    return replace(WINDOWS, **changes)


def test_a_machine_that_is_what_the_block_says_has_no_mismatch():
    assert find_mismatches(declared(), make_machine()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"system": "linux"}, "system: found linux, expected windows"),
        ({"threads": 2}, "threads: found 2 usable CPUs, expected at least 4"),
        ({"gpus": ()}, "device: found no CUDA GPU, expected one named A100"),
        ({"gpus": (T4,)}, "device_name: found Tesla T4, expected a GPU whose name contains 'A100'"),
        (
            {"gpus": (replace(A100, capability="7.5"),)},
            "precision: found compute capability 7.5, expected 8.0 or more for bf16",
        ),
        (
            {"triton": False},
            "compile: found no triton, which torch.compile needs for CUDA (on Windows: the package triton-windows)",
        ),
    ],
)
def test_every_way_to_be_another_machine_is_told(changes, expected):
    assert find_mismatches(declared(), make_machine(**changes)) == [expected]


def test_as_many_cpus_as_the_block_has_threads_are_enough():
    assert find_mismatches(declared(), make_machine(threads=4)) == []
    assert find_mismatches(declared(), make_machine(threads=3)) == ["threads: found 3 usable CPUs, expected at least 4"]


def test_bf16_is_asked_of_gpus_alone_that_the_block_trains_on():
    old = replace(A100, capability="7.5")
    assert find_mismatches(declared(device="any", gpus=1), make_machine(gpus=(old,))) == []
    assert find_mismatches(declared(precision="fp32"), make_machine(gpus=(old,))) == []
    assert find_mismatches(declared(), make_machine(gpus=(replace(A100, capability="12.1"),))) == []
    assert find_mismatches(declared(), make_machine(gpus=(replace(A100, capability="[N/A]"),))) == [
        "precision: found compute capability [N/A], expected 8.0 or more for bf16"
    ]
    assert machine._parse_capability("[N/A]") == machine._parse_capability("8.x") == (0,)


def test_without_a_name_any_gpu_counts():
    assert find_mismatches(declared(gpus=3, device_name=""), make_machine(gpus=(A100, A100))) == [
        "gpus: found 2 visible GPUs, expected at least 3"
    ]


def test_a_block_without_a_number_needs_one_gpu():
    assert machine.uses_gpus(declared()) is True
    assert machine.uses_gpus(declared(device="any", device_name="", gpus=1)) is True
    assert machine.uses_gpus(declared(device="cpu", device_name="", precision="fp32")) is False


def test_any_system_and_an_unnamed_gpu_match_whatever_is_there():
    assert find_mismatches(declared(system="any", device_name=""), make_machine(system="linux", gpus=(A100,))) == []


def test_the_matching_one_of_two_gpus_is_enough():
    assert find_mismatches(declared(), make_machine(gpus=(T4, A100))) == []


def test_a_block_that_asks_for_several_gpus_needs_as_many_of_that_name():
    assert find_mismatches(declared(gpus=2), make_machine(gpus=(T4, A100, replace(A100, uuid="GPU-bbbb")))) == []
    assert find_mismatches(declared(gpus=2), make_machine(gpus=(T4, A100))) == [
        "gpus: found 1 visible GPU whose name contains 'A100', expected at least 2"
    ]
    any_device = declared(gpus=1, device="any", device_name="")
    assert find_mismatches(any_device, make_machine(gpus=())) == ["device: found no CUDA GPU, expected one"]


def test_several_gpus_of_which_some_lack_the_precision_are_told_by_their_number():
    old, older = (replace(A100, uuid=f"GPU-{number}", capability=f"7.{number}") for number in (5, 0))
    assert find_mismatches(declared(gpus=2), make_machine(gpus=(T4, A100, old, older))) == [
        "precision: found compute capability 7.0 on 2 of 3 GPUs, expected 8.0 or more for bf16"
    ]
    assert find_mismatches(declared(gpus=2, precision="fp32"), make_machine(gpus=(T4, A100, old))) == []


def test_the_gpus_of_a_block_are_shown_to_its_trainer_by_uuid(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "untouched")
    monkeypatch.setattr(machine, "list_gpus", lambda: (T4, A100, replace(A100, uuid="GPU-bbbb")))
    machine.show_gpus(declared())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "untouched"
    machine.show_gpus(declared(gpus=2))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa,GPU-bbbb"


def test_compiling_for_the_cpu_needs_a_compiler():
    on_cpu = declared(device="cpu", device_name="", precision="fp32")
    assert find_mismatches(on_cpu, make_machine(compiler=None)) == [
        "compile: found no C++ compiler, which torch.compile needs on a CPU: c++, g++, clang++, cl"
    ]
    any_device = declared(device="any", device_name="", precision="fp32")
    assert find_mismatches(any_device, make_machine(compiler=None, triton=False)) == []
    assert find_mismatches(on_cpu, make_machine(compiler="cl")) == []


@pytest.mark.parametrize(
    ("remote", "remedy"),
    [
        (True, "or take what it has pushed: `dvc pull --run-cache`, then `dvc repro --pull`"),
        (False, "and take it from there through a DVC remote: `dvc remote add -d team PATH-OR-URL` in both"),
    ],
)
def test_a_run_on_the_wrong_machine_names_the_block_the_machine_and_the_remedy(monkeypatch, remote, remedy):
    monkeypatch.setattr(machine, "has_remote", lambda _: remote)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(machine, "describe_machine", lambda: make_machine(system="linux", gpus=(T4,)))
    with pytest.raises(WrongHost) as refused:
        require_host("windows-a100", declared())
    assert str(refused.value) == (
        "params.yaml: hosts.windows-a100: this machine is not that host:\n"
        "  system: found linux, expected windows\n"
        "  device_name: found Tesla T4, expected a GPU whose name contains 'A100'\n"
        "  the block: system windows, cuda A100, bf16, 4 threads, compiled\n"
        "  this machine: linux, Xeon, 16 CPUs, Tesla T4\n"
        "  run windows-a100's cells there (`promotion work --host windows-a100`), "
        f"{remedy}"
    )


def fake_torch(
    monkeypatch: pytest.MonkeyPatch, *, available: bool, name: str = "", built_for: str | None = None
) -> None:
    cuda = types.SimpleNamespace(is_available=lambda: available, get_device_name=lambda: name)
    label = "cpu" if built_for is None else f"cu{built_for.replace('.', '')}"
    reported = types.SimpleNamespace(
        cuda=cuda, __version__=f"2.9.0+{label}", version=types.SimpleNamespace(cuda=built_for)
    )
    monkeypatch.setitem(sys.modules, "torch", reported)


def test_the_gpu_that_torch_uses_must_be_the_named_one(monkeypatch):
    monkeypatch.setattr(machine, "describe_machine", lambda: make_machine(gpus=(T4, A100)))
    fake_torch(monkeypatch, available=True, name="Tesla T4")
    with pytest.raises(WrongHost, match="torch uses Tesla T4, expected a GPU whose name contains 'A100'"):
        require_host("windows-a100", declared())
    fake_torch(monkeypatch, available=True, name=A100.name)
    require_host("windows-a100", declared())


@pytest.mark.parametrize(
    ("built_for", "told"),
    [
        (
            None,
            "found torch 2.9.0+cpu, which sees no GPU, expected one that does: it is a build without CUDA; "
            "install the CUDA build of 2.9.0 in its place (docs/hosts.md, A GPU host)",
        ),
        (
            "13.0",
            "found torch 2.9.0+cu130, which sees no GPU, expected one that does: it was built for CUDA 13.0; "
            "update the driver, and look at CUDA_VISIBLE_DEVICES",
        ),
    ],
)
def test_a_torch_that_sees_no_gpu_is_no_cuda_host_and_is_told_the_remedy(monkeypatch, built_for, told):
    monkeypatch.setattr(machine, "describe_machine", make_machine)
    fake_torch(monkeypatch, available=False, built_for=built_for)
    with pytest.raises(WrongHost) as refused:
        require_host("windows-a100", declared())
    assert f"\n  device: {told}\n" in str(refused.value)
    assert "## A GPU host\n" in (PROJECT / "docs" / "hosts.md").read_text(encoding="utf-8")


def gpu(index: str, uuid: str, name: str) -> tuple[str, ...]:
    return (index, uuid, name, "550.54", "81920", "8.0")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, ["A", "B", "C"]),
        ("", []),
        ("2,0", ["C", "A"]),
        ("GPU-bb", ["B"]),
        (" GPU-b , 0 ", ["B", "A"]),
        ("GPU-", []),
        ("1,7,0", ["B"]),  # CUDA stops at the first that it does not know
    ],
)
def test_cuda_visible_devices_is_heeded(monkeypatch, setting, expected):
    rows = (gpu("0", "GPU-aa", "A"), gpu("1", "GPU-bb", "B"), gpu("2", "GPU-cc", "C"))
    monkeypatch.setattr(machine, "_query_nvidia_smi", lambda: rows)
    if setting is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert [gpu.name for gpu in list_gpus()] == expected


def test_describing_a_machine_imports_no_torch():
    before = "torch" in sys.modules
    reported = machine.describe_machine()
    assert reported.threads >= 1
    assert reported.system in ("linux", "windows", "darwin")
    assert ("torch" in sys.modules) == before


def test_no_environment_variable_makes_this_machine_another(monkeypatch):
    monkeypatch.setattr(machine, "_query_nvidia_smi", tuple)
    for name in ("HOST", "HOSTNAME", "STAGED_PROMOTION_HOST", "CUDA_VISIBLE_DEVICES", "OS"):
        monkeypatch.setenv(name, "windows-a100")
    assert find_mismatches(declared(compile=False, threads=1), machine.describe_machine())[-1].startswith(
        "device: found no CUDA GPU"
    )


def test_promotion_host_names_the_machine_and_every_block(tmp_path, monkeypatch, capsys):
    synthetic.build(tmp_path, synthetic.params(4, 1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host, "describe_machine", lambda: make_machine(system="linux", gpus=(), threads=1))
    assert host.run(types.SimpleNamespace(json=False)) == 1
    reported = capsys.readouterr().out
    assert "this machine: linux, Xeon, 1 CPU, no GPU" in reported
    assert "differs  cpu-bf16: system any, cpu, bf16, 2 threads" in reported
    assert "threads: found 1 usable CPU, expected at least 2" in reported

    monkeypatch.setattr(host, "describe_machine", make_machine)
    assert host.run(types.SimpleNamespace(json=True)) == 0
    assert json.loads(capsys.readouterr().out)["blocks"]["cpu-fp32"]["mismatches"] == []


def test_a_machine_is_described_by_what_it_has(monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: asked.append(pid) or {3, 5, 7}, raising=False)
    monkeypatch.setattr(machine.platform, "system", lambda: "Windows")
    monkeypatch.setattr(machine.platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(machine, "read_cpu_name", lambda: "Xeon")
    monkeypatch.setattr(machine, "list_gpus", lambda: (A100,))
    monkeypatch.setattr(machine.shutil, "which", lambda name: name if name in ("clang++", "cl") else None)
    modules: dict[str, object] = {"triton": object()}
    monkeypatch.setattr(machine.importlib.util, "find_spec", modules.get)
    expected = MachineDescription("windows", "AMD64", "Xeon", 3, (A100,), "clang++", True)
    assert machine.describe_machine() == expected
    assert asked == [0], "this process, and no other"
    modules.clear()
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert machine.describe_machine() == replace(expected, compiler=None, triton=False)


@pytest.mark.parametrize(("cpus", "counted"), [(6, 6), (None, 1)])
def test_where_no_affinity_is_known_every_cpu_counts_and_one_at_least(monkeypatch, cpus, counted):
    monkeypatch.delattr(machine.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: cpus)
    assert machine.count_usable_cpus() == counted


ANSWER = """\
0, GPU-aa, NVIDIA A100-SXM4-80GB, 550.54, 81920, 8.0
1, GPU-bb, "Tesla T4, old" , 550.54, [N/A], [N/A]

NVIDIA-SMI has failed, 7
"""


def answer_nvidia_smi(monkeypatch: pytest.MonkeyPatch, answer: object) -> list[tuple]:
    """Let nvidia-smi answer, or fail; the words and options with which it is called."""
    calls: list[tuple] = []

    def run(words, **options):
        calls.append((words, options))
        if isinstance(answer, Exception):
            raise answer
        return types.SimpleNamespace(stdout=answer)

    monkeypatch.setattr(machine.shutil, "which", {"nvidia-smi": "/usr/bin/nvidia-smi"}.get)
    monkeypatch.setattr(machine.subprocess, "run", run)
    monkeypatch.setattr(machine, "_query_nvidia_smi", machine._query_nvidia_smi.__wrapped__)
    return calls


def test_gpus_are_what_nvidia_smi_reports(monkeypatch):
    calls = answer_nvidia_smi(monkeypatch, ANSWER)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert list_gpus() == (
        Gpu("NVIDIA A100-SXM4-80GB", "GPU-aa", "550.54", 81920, "8.0"),
        Gpu("Tesla T4, old", "GPU-bb", "550.54", None, "[N/A]"),
    )
    query = "--query-gpu=index,uuid,name,driver_version,memory.total,compute_cap"
    words = ["/usr/bin/nvidia-smi", query, "--format=csv,noheader,nounits"]
    assert calls == [(words, {"capture_output": True, "encoding": "utf-8", "timeout": 20, "check": True})]


@pytest.mark.parametrize(
    "failure",
    [OSError("no driver"), subprocess.TimeoutExpired("nvidia-smi", 20), subprocess.CalledProcessError(9, "nvidia-smi")],
)
def test_an_nvidia_smi_that_fails_is_no_gpu(monkeypatch, failure):
    answer_nvidia_smi(monkeypatch, failure)
    assert list_gpus() == machine._query_nvidia_smi() == ()


def test_a_row_of_another_length_is_no_gpu_with_values_in_the_wrong_places(monkeypatch):
    monkeypatch.setattr(machine, "_query_nvidia_smi", lambda: (("0", "GPU-aa", "A", "550", "81920"),))
    with pytest.raises(ValueError, match="zip"):
        list_gpus()


def test_without_nvidia_smi_there_is_no_gpu(monkeypatch):
    calls = answer_nvidia_smi(monkeypatch, ANSWER)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert (machine._query_nvidia_smi(), calls) == ((), [])


def test_a_block_on_the_cpu_asks_nothing_of_torch(monkeypatch):
    fake_torch(monkeypatch, available=False)
    assert machine.find_torch_mismatches(declared(device="cpu", device_name="", precision="fp32")) == []
    monkeypatch.delitem(sys.modules, "torch")
    assert machine.find_torch_mismatches(declared()) == []


def test_the_gpu_of_torch_is_told_with_the_one_that_was_expected(monkeypatch):
    fake_torch(monkeypatch, available=True, name="Tesla T4")
    assert machine.find_torch_mismatches(declared()) == [
        "device_name: torch uses Tesla T4, expected a GPU whose name contains 'A100' (CUDA_VISIBLE_DEVICES)"
    ]
    assert machine.find_torch_mismatches(declared(device_name="T4")) == []


def test_machines_and_blocks_are_told_in_one_line():
    assert machine.format_machine(make_machine(gpus=(A100, T4), threads=1)) == (
        "windows, Xeon, 1 CPU, NVIDIA A100-SXM4-80GB, Tesla T4"
    )
    on_cpu = declared(device="cpu", device_name="", precision="fp32", compile=False, threads=1)
    assert machine.format_block(on_cpu) == "system windows, cpu, fp32, 1 thread"


def test_the_commit_is_that_of_the_folder_if_it_has_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert machine.git_commit.__wrapped__() is None
    repo = Repo(tmp_path, alone=True)
    repo.git("init", "-q")
    commit = repo.commit("Nothing yet")
    assert machine.git_commit.__wrapped__() == commit
