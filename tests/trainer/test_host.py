"""The machine: what is refused before training, how CUDA is set up, and the peaks that MFU is held against."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from trainer import host
from trainer.errors import HostError
from trainer.spec import Host


def block(device: str = "cpu", compiled: bool = True) -> Host:
    return Host(device=device, precision="fp32", threads=1, compile=compiled)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of which torch says that it has CUDA; what torch was told is taken back."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(host, "_has_triton", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    fill = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


@pytest.mark.usefixtures("gpu")
def test_on_cuda_what_is_not_deterministic_is_an_error_and_no_warning() -> None:
    assert host.prepare(block("cuda", compiled=False)).type == "cuda"
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled(), "then SDPA's backward passes would only warn"


def machine(patch: pytest.MonkeyPatch, platform: str, *compilers: str) -> None:
    """A machine of that system that has these compilers and no other."""
    patch.setattr(host, "sys", SimpleNamespace(platform=platform))
    patch.setattr(host, "shutil", SimpleNamespace(which=lambda name: name if name in compilers else None))


@pytest.mark.usefixtures("gpu")
def test_cuda_cannot_compile_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_has_triton", lambda: False)
    with pytest.raises(
        HostError, match=r"triton, which .* is not installed: install it \(on Windows: .*\), or set compile to false"
    ):
        host.prepare(block("cuda"))
    assert host.prepare(block("cuda", compiled=False)).type == "cuda"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("device", "usual"), [("cpu", "c++, g++, clang++, cl"), ("cuda", "cc, gcc, clang")])
def test_nothing_compiles_without_a_compiler(monkeypatch: pytest.MonkeyPatch, device: str, usual: str) -> None:
    machine(monkeypatch, "linux")
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(HostError) as caught:
        host.prepare(block(device))
    assert f"no compiler is found here, which torch.compile needs ({usual}): install one" in str(caught.value)
    monkeypatch.setenv("CC" if device == "cuda" else "CXX", "tcc")
    machine(monkeypatch, "linux", "tcc")
    assert host.prepare(block(device)).type == device


@pytest.mark.usefixtures("gpu")
def test_on_windows_triton_brings_its_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "win32")
    assert host.prepare(block("cuda")).type == "cuda"


@pytest.mark.parametrize(
    ("name", "bf16", "fp32"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12, 156e12),
        ("NVIDIA A100 80GB PCIe", 312e12, 156e12),
        ("NVIDIA L40S", 362e12, 183e12),
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
    assert (host.peak_of(name, "bf16"), host.peak_of(name, "fp32")) == (bf16, fp32)


def test_a_processor_has_no_peak() -> None:
    assert host.peak_flops(torch.device("cpu"), "bf16") is None
