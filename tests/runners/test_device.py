"""What is said of the machine that ran: in the record, so that a rule can see a change, and against the peak of a GPU."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest
import torch

from stages.runners import REPORTABLE, device, report_environment

EVERYTHING = sorted(REPORTABLE)


def seen(monkeypatch: pytest.MonkeyPatch, kind: str, gpu: str = "", driver: str = "") -> dict[str, str]:
    """The environment that a run on such a machine writes into its record."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: gpu)
    monkeypatch.setattr(device, "_read_driver_version", lambda: driver)
    environment = report_environment(EVERYTHING, device.describe_device(kind))
    assert environment is not None
    return environment


def test_on_cuda_the_device_is_the_gpu_and_another_gpu_or_driver_is_another_environment(monkeypatch):
    a100 = seen(monkeypatch, "cuda", "NVIDIA A100-SXM4-80GB", "550.54")
    assert (a100["device"], a100["driver"]) == ("NVIDIA A100-SXM4-80GB", "550.54")
    assert seen(monkeypatch, "cuda", "NVIDIA A100-PCIE-40GB", "550.54") != a100
    assert seen(monkeypatch, "cuda", "NVIDIA A100-SXM4-80GB", "560.28") != a100


def test_on_the_cpu_the_device_is_the_processor(monkeypatch):
    environment = seen(monkeypatch, "cpu")
    assert environment["device"] == device.read_cpu_name()
    assert environment["driver"] == "unknown"


def test_the_runner_tells_every_fact_that_a_block_may_ask_for(monkeypatch):
    assert "unknown" not in seen(monkeypatch, "cuda", "NVIDIA L40S", "550.54").values()


def test_a_block_that_asks_for_nothing_has_no_environment():
    assert report_environment([], device.describe_device("cpu")) is None


@pytest.mark.parametrize(
    ("name", "bf16", "fp32"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12, 156e12),
        ("NVIDIA A100 80GB PCIe", 312e12, 156e12),
        ("NVIDIA L40S", 362e12, 183e12),
        ("L40S", 362e12, 183e12),
        ("NVIDIA H100 80GB HBM3", 989.5e12, 494.7e12),
        ("NVIDIA H100 PCIe", 756e12, 378e12),
        ("NVIDIA H100 NVL", 835e12, 417e12),
        ("NVIDIA H200", 989.5e12, 494.7e12),
        ("NVIDIA GH200 480GB", None, None),
        ("NVIDIA L40", None, None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, None),
        ("NVIDIA GeForce RTX 5090", None, None),
    ],
)
def test_the_peak_is_that_of_the_device_and_of_the_precision(name: str, bf16: float | None, fp32: float | None) -> None:
    assert (device.find_peak(name, "bf16"), device.find_peak(name, "fp32")) == (bf16, fp32)


@pytest.mark.parametrize(
    ("kind", "gpu", "mfu"), [("cpu", "", None), ("cuda", "NVIDIA L40S", 0.5), ("cuda", "new", None)]
)
def test_mfu_is_the_share_of_the_peak_of_a_gpu_that_is_known(monkeypatch, kind, gpu, mfu):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: gpu)
    assert device.compute_mfu(181e12, kind, "bf16") == mfu


def test_mfu_has_six_decimals_and_each_precision_its_own_peak(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA A100-SXM4-80GB")
    assert device.compute_mfu(1e14, "cuda", "bf16") == 0.320513
    assert device.compute_mfu(1e14, "cuda", "fp32") == 0.641026


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (SimpleNamespace(stdout="550.54.15\n"), "550.54.15"),
        (SimpleNamespace(stdout="550.54.15 \n550.54.15\n"), "550.54.15"),
        (SimpleNamespace(stdout="\n"), None),
        (FileNotFoundError("nvidia-smi"), None),
        (subprocess.TimeoutExpired("nvidia-smi", 20), None),
        (subprocess.CalledProcessError(9, "nvidia-smi"), None),
    ],
)
def test_the_driver_is_what_nvidia_smi_says_of_the_first_gpu_and_unknown_where_it_says_nothing(
    monkeypatch: pytest.MonkeyPatch, answer: object, version: str | None
) -> None:
    def run(command: list[str], **options: object) -> object:
        assert command == ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        assert options == {"check": True, "timeout": 20, "capture_output": True, "encoding": "utf-8"}
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(device.subprocess, "run", run)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "A100")
    assert device.describe_device("cuda")["driver"] == version
    assert device.describe_device("cpu")["driver"] is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC: 9V74 \nmodel name\t: another\n", "AMD EPYC: 9V74"),
        ("processor\t: 0\n", "fallback"),
        (None, "fallback"),
    ],
)
def test_the_processor_is_named_as_the_system_names_it(monkeypatch, tmp_path, content, expected):
    cpuinfo = tmp_path / "cpuinfo"
    if content is not None:
        cpuinfo.write_text(content, encoding="utf-8")
    monkeypatch.setattr(device, "Path", lambda path: cpuinfo if path == "/proc/cpuinfo" else path)
    monkeypatch.setattr(device.platform, "processor", lambda: "fallback")
    assert device.read_cpu_name() == expected


def test_all_that_ran_a_run_is_described(monkeypatch):
    monkeypatch.setattr(device, "read_cpu_name", lambda: "Xeon")
    monkeypatch.setattr(device, "socket", SimpleNamespace(gethostname=lambda: "mine"))
    monkeypatch.setattr(device, "os", SimpleNamespace(cpu_count=lambda: 6))
    platform = {"python_version": "3.12.1", "system": "Linux", "release": "6.1"}
    answers = {name: (lambda answer=answer: answer) for name, answer in platform.items()}
    monkeypatch.setattr(device, "platform", SimpleNamespace(**answers))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert device.describe_device("cpu") == {
        "torch": str(torch.__version__), "python": "3.12.1", "system": "Linux 6.1", "hostname": "mine", "cpu": "Xeon",
        "cores": 6, "instructions": "AVX512", "threads": 3, "cuda": torch.version.cuda, "device_name": "Xeon",
        "driver": None,
    }  # fmt: skip


@pytest.mark.parametrize(("processor", "expected"), [("x86", "x86"), ("", "arm64")])
def test_where_the_system_does_not_name_the_processor_python_does(monkeypatch, tmp_path, processor, expected):
    monkeypatch.setattr(device, "Path", lambda path: tmp_path / "gone")
    monkeypatch.setattr(device.platform, "processor", lambda: processor)
    monkeypatch.setattr(device.platform, "machine", lambda: "arm64")
    assert device.read_cpu_name() == expected
