from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from basewright import machine

MIB = 2**20


def root(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_probe_is_plausible_and_asks_the_disk_where_the_folder_will_be(tmp_path: Path) -> None:
    found = machine.probe(tmp_path / "not" / "yet" / "made")
    assert 1 <= found.cores <= 4096
    assert 64 * MIB < found.ram < 2**50
    assert found.disk_free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert found.devices[0].kind == "cpu"
    assert found.devices[0].name
    assert found.devices[0].origin == "probed"


def test_probe_imports_no_heavy_library() -> None:
    code = "import sys; from pathlib import Path; from basewright import machine; machine.probe(Path('.'));"
    heavy = "sys.exit(bool({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code + heavy], check=False).returncode == 0


def test_memory_is_what_the_kernel_says_is_available(tmp_path: Path) -> None:
    where = root(tmp_path, {"proc/meminfo": "MemTotal: 4096 kB\nMemFree: 10 kB\nMemAvailable:  2048 kB\n"})
    assert machine.memory(where) == 2 * MIB


def test_memory_is_cut_by_the_tightest_cgroup_of_version_2(tmp_path: Path) -> None:
    where = root(
        tmp_path,
        {
            "proc/meminfo": f"MemAvailable: {8000 * 1024} kB\n",
            "proc/self/cgroup": "0::/jobs/ours\n",
            "sys/fs/cgroup/jobs/memory.max": f"{1000 * MIB}\n",
            "sys/fs/cgroup/jobs/memory.current": f"{700 * MIB}\n",
            "sys/fs/cgroup/jobs/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
            "sys/fs/cgroup/jobs/ours/memory.max": "max\n",
            "sys/fs/cgroup/jobs/ours/memory.current": f"{600 * MIB}\n",
        },
    )
    assert machine.memory(where) == 400 * MIB


def test_memory_is_cut_by_a_cgroup_of_version_1_and_by_the_mount_of_a_container(tmp_path: Path) -> None:
    where = root(
        tmp_path,
        {
            "proc/meminfo": f"MemAvailable: {8000 * 1024} kB\n",
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{512 * MIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{12 * MIB}\n",
        },
    )
    assert machine.memory(where) == 500 * MIB


def test_a_group_that_is_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "10\n", "sys/fs/cgroup/memory.current": "20\n"}
    assert machine.memory(root(tmp_path, files)) == 0


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"sys/fs/cgroup/a/cpu.max": "100000 100000\n"}, 1),
        ({"sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 10**6),
        ({"sys/fs/cgroup/cpu.max": "1000 100000\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 1),
    ],
)
def test_cores_are_cut_by_a_quota(tmp_path: Path, files: dict[str, str], most: int) -> None:
    where = root(tmp_path, {"proc/self/cgroup": "0::/a\n", **files})
    assert 1 <= machine.cores(where) <= most


def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")


def test_cuda_devices_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, monkeypatch, "echo 'NVIDIA H100 80GB HBM3, 80995'; echo 'NVIDIA L4, 22000'")
    first, second = machine.cuda()
    assert (first.kind, first.name, first.memory) == ("cuda", "NVIDIA H100 80GB HBM3", 80995 * MIB)
    assert second.memory == 22000 * MIB


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "echo 'GPU, [N/A]'", ":"])
def test_a_driver_that_answers_nothing_usable_is_no_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    smi(tmp_path, monkeypatch, script)
    assert machine.cuda() == ()


def test_a_driver_that_hangs_is_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_args: object, timeout: float, **_kwargs: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", timeout)

    smi(tmp_path, monkeypatch, ":")
    monkeypatch.setattr(subprocess, "run", hang)
    assert machine.cuda() == ()


CHURN = """
import sys
from basewright import machine
if sys.argv[1] == "return": machine.return_freed_memory()
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) // 1024
before = resident()
bytearray(24 << 20)
blocks = [bytearray(b"x") * (6 << 20) for _ in range(20)]
kept = blocks[-1]
del blocks
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_memory_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", CHURN, "return"], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20  # MiB; 6 are still in use, 120 stay resident under glibc's own habit
