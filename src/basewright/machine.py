"""What this computer has for us now: cores, memory, disk, devices. Looks and never loads a library.

What only some machines need is imported where it is used: every listing of what fits starts here.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from basewright.records import Device, Machine

ROOT = Path("/")
NVIDIA = ("--query-gpu=name,memory.free", "--format=csv,noheader,nounits")
MIB = 2**20
M_MMAP_THRESHOLD = -3
"""Of malloc.h."""
RETURNED = 128 * 1024
"""The smallest freed block that goes back at once."""


def probe(folder: Path) -> Machine:
    """The machine as this process may use it; `folder` (or its nearest existing parent) is where the disk is asked.

    `ram` is what is free for us: the smaller of MemAvailable and what our cgroups leave, in bytes. A CUDA device
    counts with its free memory.
    """
    ram = memory()
    cpu = Device(kind="cpu", name=_cpu_name(), memory=ram)
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return Machine(devices=(cpu, *cuda()), cores=cores(), ram=ram, disk_free=shutil.disk_usage(there).free)


def cores(root: Path = ROOT) -> int:
    """CPU cores we may run on: the affinity of this process, cut by a cgroup quota (rounded up)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _groups(root, "cpu"):
        quota, period = _quota(group)
        if quota > 0 and period > 0:
            allowed = min(allowed, math.ceil(quota / period))
    return max(1, allowed)


def memory(root: Path = ROOT) -> int:
    """Bytes of memory free for us. Page cache counts as free: the kernel gives it back before it kills."""
    free = [_available(root)]
    for group in _groups(root, "memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            most = _number(group / limit)
            if most is not None:
                free.append(most - (_number(group / used) or 0) + _cache(group))
    return max(0, min(free))


def cuda() -> tuple[Device, ...]:
    """CUDA devices as `nvidia-smi` lists them; none when it is absent, silent or slow."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    import csv
    import subprocess

    try:
        done = subprocess.run([program, *NVIDIA], capture_output=True, text=True, timeout=10, check=True)
        rows = [row for row in csv.reader(done.stdout.splitlines(), skipinitialspace=True) if row]
        return tuple(Device(kind="cuda", name=name, memory=int(free) * MIB) for name, free in rows)
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()


def arithmetic(count: int) -> float | None:
    """Float32 operations a second that `count` cores can do, from their clock and vector units; None if unknown.

    Thirty-two a cycle with AVX2 or AVX-512, which is two fused multiply-adds of eight, or one of sixteen. 80 to 93
    GFLOP/s were measured on a core of an EPYC, which is what that gives at 2.6 GHz. Half of what Intel's servers do.
    """
    text = _text(ROOT / "proc/cpuinfo")
    clocks = [float(line.split(":", 1)[1]) for line in text.splitlines() if line.startswith("cpu MHz")]
    if not clocks:
        return None
    wide = 32 if " avx2 " in text else 8
    return count * max(clocks) * 1e6 * wide


def copying(size: int = 64 * MIB) -> float:
    """Bytes a second of memory, read and written, by copying `size` bytes; a few milliseconds."""
    source, target = bytes(size), bytearray(size)
    target[:] = source  # the first time pays for the pages
    started = time.perf_counter()
    target[:] = source
    return 2 * size / (time.perf_counter() - started)


def resident() -> int:
    """Bytes of this process that are in memory now; 0 where /proc does not say."""
    return _status("VmRSS")


def peak_resident() -> int:
    """The most that `resident` has been, since it was forgotten last."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Start `peak_resident` again from what is resident now, where Linux lets a process ask for it."""
    with suppress(OSError):
        (ROOT / "proc/self/clear_refs").write_text("5")


def return_freed_memory() -> None:
    """Let freed blocks of 128 KiB and more go back to the system at once, from now on.

    glibc raises its threshold for that with every large block that is freed, and then keeps the holes between
    activations: training peaked at 1.3 to 1.6 times what it used, and ran faster (`python -m benchmarks.plan keep`).
    With a threshold of 1 MiB, rows of 1,024 tokens through a model 192 wide still took a third more than they used;
    with 128 KiB, nothing more, for 1.5 times the processor time, which larger rows do not pay.
    Where there is no `mallopt` nothing is done.
    """
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, RETURNED)


def _status(name: str) -> int:
    lines = _text(ROOT / "proc/self/status").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")), 0)


def _available(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # no /proc: all there is


def _groups(root: Path, controller: str) -> list[Path]:
    """Folders of our cgroup and its parents (every level limits), for version 2 or the controller of version 1.

    Inside a container the path in /proc may not exist below the mount; the mount itself is then our group.
    """
    groups: list[Path] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, names, path = line.split(":", 2)
        mount = root / "sys/fs/cgroup"
        if number != "0":
            if controller not in names.split(","):
                continue
            mount /= controller
        inside = Path(path.lstrip("/"))
        if ".." not in inside.parts:
            groups += [mount / level for level in (inside, *inside.parents)]
    return list(dict.fromkeys(group for group in groups if group.is_dir()))


def _quota(group: Path) -> tuple[int, int]:
    """(microseconds of CPU, in microseconds of time); (0, 0) without a limit."""
    words = _text(group / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]), int(words[1])
    return _number(group / "cpu.cfs_quota_us") or 0, _number(group / "cpu.cfs_period_us") or 0


def _cache(group: Path) -> int:
    """Page cache in a group's use, not lately touched."""
    rows = dict(line.split(maxsplit=1) for line in _text(group / "memory.stat").splitlines())
    return int(rows.get("total_inactive_file", rows.get("inactive_file", "0")))


def _number(path: Path) -> int | None:
    """The number in a file; None when there is no file or no limit (`max`, -1)."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _cpu_name() -> str:
    for line in _text(ROOT / "proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return os.uname().machine if hasattr(os, "uname") else "cpu"
