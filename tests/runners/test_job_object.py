"""The job object around a trainer on Windows, against a kernel32 that keeps what it is asked: there is no Windows here."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import pytest

from stages.runners.job_object import ExtendedLimits, open_job

JOB, PROCESS = 0x7FFF_0000_0001, 0x7FFF_0000_0002


class FakeKernel32:
    """kernel32 as far as job objects go; `failing` names the call that Windows refuses."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.flags = 0
        for name in (
            "CreateJobObjectW", "OpenProcess", "SetInformationJobObject", "AssignProcessToJobObject",
            "TerminateJobObject", "CloseHandle",
        ):  # fmt: skip
            setattr(self, name, self._function(name, name == failing))

    def _function(self, name: str, fails: bool) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append((name, *arguments))
            if name == "SetInformationJobObject":
                self.flags = arguments[2]._obj.basic.flags
            return 0 if fails else {"CreateJobObjectW": JOB, "OpenProcess": PROCESS}.get(name, 1)

        return call

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]


def test_a_trainer_is_put_into_a_job_that_ends_it_with_its_watcher() -> None:
    kernel32 = FakeKernel32()
    job = open_job(42, kernel32)
    assert job is not None
    assert kernel32.flags == 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    assert kernel32.named("OpenProcess") == [(0x0101, False, 42)]
    assert kernel32.named("AssignProcessToJobObject") == [(JOB, PROCESS)]
    assert kernel32.named("CloseHandle") == [(PROCESS,)]  # the job stays open as long as the watcher lives
    job.end()
    assert kernel32.calls[-2:] == [("TerminateJobObject", JOB, 1), ("CloseHandle", JOB)]


@pytest.mark.parametrize(
    ("failing", "closed"),
    [
        ("CreateJobObjectW", []),
        ("OpenProcess", [(JOB,)]),
        ("SetInformationJobObject", [(PROCESS,), (JOB,)]),
        ("AssignProcessToJobObject", [(PROCESS,), (JOB,)]),
    ],
)
def test_where_windows_refuses_there_is_no_job_and_no_handle_is_left(failing: str, closed: list[tuple[int]]) -> None:
    kernel32 = FakeKernel32(failing)
    assert open_job(42, kernel32) is None
    assert kernel32.named("CloseHandle") == closed


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="the size is that of 64 bits")
def test_the_structure_has_the_size_that_windows_expects() -> None:
    assert ctypes.sizeof(ExtendedLimits) == 144


@pytest.mark.skipif(os.name == "nt", reason="Windows has job objects")
def test_elsewhere_there_is_no_job() -> None:
    assert open_job(os.getpid()) is None


def test_without_a_kernel32_that_of_windows_is_asked_and_its_handles_are_as_wide_as_pointers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel32, loaded = FakeKernel32(), []

    def load(name: str, use_last_error: bool) -> FakeKernel32:
        loaded.append((name, use_last_error))
        return kernel32

    monkeypatch.setattr(ctypes, "WinDLL", load, raising=False)
    assert open_job(42) is not None
    assert loaded == [("kernel32", True)]
    functions: Any = kernel32
    assert functions.CreateJobObjectW.restype is functions.OpenProcess.restype is ctypes.c_void_p
    assert functions.AssignProcessToJobObject.argtypes == (ctypes.c_void_p, ctypes.c_void_p)
    assert functions.CloseHandle.argtypes == (ctypes.c_void_p,)
