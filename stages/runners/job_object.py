"""A job object of Windows around a trainer: whatever it started ends with it, also what left the tree of processes.

    job = open_job(child.pid)       None where there is no such thing: elsewhere, or where Windows refuses
    job.end()

A job ends its processes when its last handle is closed, so they end with the process that watches them, be it killed.
What the trainer starts before it is in the job stays outside; `ProcessTree` knows that by its parents. Source: Job
Objects, JOBOBJECT_EXTENDED_LIMIT_INFORMATION and AssignProcessToJobObject in the documentation of the Windows API.
"""

from __future__ import annotations

import ctypes
from typing import Any

EXTENDED_LIMIT_INFORMATION = 9
KILL_ON_JOB_CLOSE = 0x2000
SET_QUOTA_AND_TERMINATE = 0x0100 | 0x0001


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("process_time", ctypes.c_int64),
        ("job_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (("basic", _BasicLimits), ("io", ctypes.c_uint64 * 6), ("memory", ctypes.c_size_t * 4))


class JobObject:
    """A job with one process in it. `end` terminates every process of it and closes it."""

    def __init__(self, kernel32: Any, job: int) -> None:
        self._kernel32, self._job = kernel32, job

    def end(self) -> None:
        """End all that is left; once."""
        self._kernel32.TerminateJobObject(self._job, 1)
        self._kernel32.CloseHandle(self._job)


def open_job(pid: int, kernel32: Any = None) -> JobObject | None:
    """A job around a process that has just started. `kernel32`: that of Windows; None: this machine's own."""
    if kernel32 is None:
        load = getattr(ctypes, "WinDLL", None)
        if load is None:
            return None
        kernel32 = load("kernel32", use_last_error=True)
    _declare(kernel32)
    job = kernel32.CreateJobObjectW(None, None)
    if not job:
        return None
    limits = ExtendedLimits()
    limits.basic.flags = KILL_ON_JOB_CLOSE
    process = kernel32.OpenProcess(SET_QUOTA_AND_TERMINATE, False, pid)
    inside = (
        process
        and kernel32.SetInformationJobObject(
            job, EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
        )
        and kernel32.AssignProcessToJobObject(job, process)
    )
    if process:
        kernel32.CloseHandle(process)
    if not inside:
        kernel32.CloseHandle(job)
        return None
    return JobObject(kernel32, job)


def _declare(kernel32: Any) -> None:
    """Handles are as wide as pointers; without a declaration ctypes would cut them to 32 bits."""
    handle, boolean = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("CreateJobObjectW", handle, (ctypes.c_void_p, ctypes.c_wchar_p)),
        ("OpenProcess", handle, (ctypes.c_uint32, boolean, ctypes.c_uint32)),
        ("SetInformationJobObject", boolean, (handle, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)),
        ("AssignProcessToJobObject", boolean, (handle, handle)),
        ("TerminateJobObject", boolean, (handle, ctypes.c_uint32)),
        ("CloseHandle", boolean, (handle,)),
    ):
        function = getattr(kernel32, name)
        function.restype, function.argtypes = result, arguments
