import ctypes
import subprocess
import sys

import pytest

from peculiar.core import InputError, memory
from peculiar.core.memory import Allowance, allowed_memory, require_memory


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine with 8 GB available whose files of the system lie in a temporary directory."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    (tmp_path / "proc/self/statm").write_text("1000 500 100 1 0 700 0\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/user/job\n")
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")
    return tmp_path


def _group(place, names, values):
    place.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, values, strict=True):
        (place / name).write_text(f"{value}\n")


V2 = ("memory.max", "memory.current", "memory.stat")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")


def test_free_memory_is_what_is_available(system):
    assert memory.free_memory() == 8_000_000 * 1024


def test_the_least_limit_of_the_groups_counts(system):
    _group(system / "cgroup/user", V2, ("3000000", "1000000", "anon 1\ninactive_file 500000"))
    _group(system / "cgroup/user/job", V2, ("max", "900000", "inactive_file 0"))
    assert memory.free_memory() == 2_500_000
    _group(system / "cgroup/user/job", V2, ("1000000", "900000", "inactive_file 0"))
    assert memory.free_memory() == 100_000
    _group(system / "cgroup/user/job", V2, ("1000000", "1200000", "inactive_file 0"))
    assert memory.free_memory() == 0


def test_groups_of_the_first_version(system):
    (system / "proc/self/cgroup").write_text("5:cpu,memory:/container\n0::/\n")
    # Inside a container the path of the group is the host's, and its limits lie at the root.
    _group(
        system / "cgroup/memory", V1, ("2000000", "1000000", "inactive_file 7\ntotal_inactive_file 300000")
    )
    assert memory.free_memory() == 1_300_000


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_limits_of_the_process_count(limit):
    code = (
        "import resource\n"
        f"resource.setrlimit(resource.{limit}, (2**33, resource.getrlimit(resource.{limit})[1]))\n"
        "from peculiar.core.memory import free_memory\n"
        "print(free_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 2**33


def test_require_memory_tells_both_numbers_and_the_remedy(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 2_000_000)
    memory.require_memory(2e6, what="a mesh", remedy="fewer cells")
    with pytest.raises(
        InputError,
        match=r"a mesh must fit in memory, got 0\.003 GB needed with 0\.002 GB free .*: fewer cells",
    ):
        memory.require_memory(3e6, what="a mesh", remedy="fewer cells")


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("8GB", 8e9),
        ("500 mb", 5e8),
        ("1.5GiB", 1.5 * 1024**3),
        (2_000_000_000, 2e9),
        ("64kB", 64e3),
        ("9B", 9),
        ("2e9", 2e9),
    ],
)
def test_sizes_are_read_in_words(given, size, monkeypatch):
    monkeypatch.setattr("peculiar.core.memory.free_memory", lambda: 10**12)
    monkeypatch.setattr("peculiar.core.memory._resident", lambda: 0)
    assert allowed_memory(given).size == size


@pytest.mark.parametrize("given", ["", "much", "-1GB", "0", 0, "8 XB", "8", "1e", "nan"])
def test_what_is_no_size_is_refused(given):
    with pytest.raises(InputError, match="memory must be a size > 0 such as 8GB"):
        allowed_memory(given)


def test_what_is_taken_already_counts(monkeypatch):
    monkeypatch.setattr("peculiar.core.memory.free_memory", lambda: 10**10)
    monkeypatch.setattr("peculiar.core.memory._resident", lambda: 5 * 10**8)
    assert allowed_memory("2GB") == Allowance(1.5e9, "1.5 GB left of 2 GB (0.5 GB are taken already)")
    assert allowed_memory("0.4GB").size == 0
    assert allowed_memory("64GB").size == allowed_memory().size == 1e10
    with pytest.raises(
        InputError, match=r"a mesh must fit in memory, got 1.8 GB needed with 1.5 GB left of 2 GB"
    ):
        require_memory(1.8e9, what="a mesh", remedy="take less", allowed=allowed_memory("2GB"))


_FAULTS = """
import resource

import numpy as np

from peculiar.core.memory import kept_memory

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(2**26, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

cleared = faults(4)
with kept_memory():
    faults(1)
    kept = faults(4)
print(cleared, kept, faults(4))
"""


def test_memory_that_is_kept_is_not_cleared_anew():
    """Blocks of 64 MiB, above what the C library keeps by itself; in a process of its own, whose heap is empty."""
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")
    done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True)
    cleared, kept, after = map(int, done.stdout.split())
    assert kept < cleared / 10
    assert after > cleared / 2
