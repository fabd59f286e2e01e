"""The machine: what is refused before training, and how CUDA is set up."""

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
