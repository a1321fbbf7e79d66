"""The cores of this process: where it may run, and how much of that its container lets it have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from merkit.engine import cpu
from merkit.engine.cpu import cpu_features, usable_cores


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No control groups, on a machine of 8 cores."""
    monkeypatch.setattr(cpu, "_GROUPS", tmp_path)
    monkeypatch.setattr(cpu, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    return tmp_path


def test_only_cores_that_this_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(cpu, "_OWN_GROUPS", Path("/nowhere"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    assert usable_cores() == 3


@pytest.mark.parametrize(("count", "usable"), [(8, 8), (None, 1)])
def test_systems_without_affinity(
    groups: Path, monkeypatch: pytest.MonkeyPatch, count: int | None, usable: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cores() == usable


@pytest.mark.parametrize(
    ("own", "files", "usable"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 2),  # docker --cpus 2: its own group is the root
        ("0::/", {"cpu.max": "150000 100000"}, 2),  # one and a half
        ("0::/", {"cpu.max": "10000 100000"}, 1),  # a tenth
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "6400000 100000"}, 8),  # more than there are
        ("0::/", {}, 8),
        ("0::/", {"cpu.max": ""}, 8),
        # A service of systemd: the limit is its own, or that of the slice it is in.
        ("0::/a.slice/b.service", {"a.slice/b.service/cpu.max": "300000 100000"}, 3),
        ("0::/a.slice/b", {"a.slice/cpu.max": "300000 100000", "a.slice/b/cpu.max": "max 100000"}, 3),
        ("0::/a.slice", {"b.slice/cpu.max": "100000 100000"}, 8),  # another's
        # Version 1: a path that the container cannot see, and one that it can.
        ("4:cpu,cpuacct:/docker/1f", quota := {"cpu,cpuacct/cpu.cfs_quota_us": "250000",
                                               "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 3),
        ("3:memory:/\n4:cpu,cpuacct:/\n0::/", quota, 3),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("4:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "50000"}, 1),
        ("5:cpuset:/", {"cpuset/cpu.cfs_quota_us": "1", "cpuset/cpu.cfs_period_us": "1"}, 8),
        ("1:name=systemd:/a:b", {}, 8),
    ],
)  # fmt: skip
def test_a_containers_limit(groups: Path, own: str, files: dict[str, str], usable: int) -> None:
    (groups / "own").write_text(own + "\n")
    for name, content in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content + "\n")
    assert usable_cores() == usable


def test_a_group_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that the kernel made, where this process may make one."""
    version_1, version_2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    home = version_1 if version_1.is_dir() else version_2
    group = home / f"mer-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("this process may make no control group")
    try:
        if home == version_1:
            (group / "cpu.cfs_quota_us").write_text("100000")
        else:
            (group / "cpu.max").write_text("100000 100000")
        child = os.fork()
        if not child:
            code = 99
            try:
                (group / "cgroup.procs").write_text(str(os.getpid()))
                code = usable_cores()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    except OSError:
        pytest.skip("its limit may not be set")
    finally:
        group.rmdir()


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\nvmx flags\t: avx\n", ("avx2", "avx512_vnni")),
        ("processor\t: 0\nFeatures\t: fp asimd i8mm\n", ("asimd", "i8mm")),
        ("processor\t: 0\n", ()),
    ],
)
def test_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, features: tuple[str, ...]
) -> None:
    monkeypatch.setattr(cpu, "_INFO", tmp_path / "cpuinfo")
    assert cpu_features() == ()  # no such file
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_features() == features
