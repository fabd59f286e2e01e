"""What a record tells of its machine comes from the runner's own description of it, so that a rule can see a change."""

from __future__ import annotations

import pytest
import torch

from stages.runners import REPORTABLE, report_environment
from trainer import host

EVERYTHING = sorted(REPORTABLE)


def seen(monkeypatch: pytest.MonkeyPatch, device: str, gpu: str = "", driver: str = "") -> dict[str, str]:
    """The environment that a run on such a machine writes into its record."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: gpu)
    monkeypatch.setattr(host, "_driver", lambda: driver)
    told = report_environment(EVERYTHING, host.describe(torch.device(device)))
    assert told is not None
    return told


def test_on_cuda_the_device_is_the_gpu_and_another_gpu_or_driver_is_another_environment(monkeypatch):
    a100 = seen(monkeypatch, "cuda", "NVIDIA A100-SXM4-80GB", "550.54")
    assert (a100["device"], a100["driver"]) == ("NVIDIA A100-SXM4-80GB", "550.54")
    assert seen(monkeypatch, "cuda", "NVIDIA A100-PCIE-40GB", "550.54") != a100
    assert seen(monkeypatch, "cuda", "NVIDIA A100-SXM4-80GB", "560.28") != a100


def test_on_the_cpu_the_device_is_the_processor(monkeypatch):
    told = seen(monkeypatch, "cpu")
    assert told["device"] == host._cpu()
    assert told["driver"] == "unknown"


def test_the_runner_tells_every_fact_that_a_block_may_ask_for(monkeypatch):
    assert "unknown" not in seen(monkeypatch, "cuda", "NVIDIA L40S", "550.54").values()


def test_a_block_that_asks_for_nothing_has_no_environment():
    assert report_environment([], host.describe(torch.device("cpu"))) is None
