"""The CPU cores that this process may use."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""The environment's variable for the threads of NumPy's BLAS: by default one a core in each process, which
products as small as ours never use."""

MOST_WORKERS = 1_024
"""Child processes at once."""

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_INFO = Path("/proc/cpuinfo")
# Instruction sets that the kernels of networks use.
_FEATURES = (
    "avx", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16",
    "amx_int8", "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip


def usable_cores() -> int:
    """How many cores this process may keep busy, at least 1: those it may run on, within its groups' limits.

    A limit of one and a half cores counts as two.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for limit in _limits():
        cores = min(cores, max(1, -(-limit[0] // limit[1])))
    return cores


def cpu_features() -> tuple[str, ...]:
    """The instruction sets of this CPU that matter to networks, as Linux names them; elsewhere none."""
    try:
        lines = _INFO.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    flags = next((line for line in lines if line.partition("\t")[0].strip(" :") in ("flags", "Features")), "")
    known = set(flags.partition(":")[2].split())
    return tuple(feature for feature in _FEATURES if feature in known)


def _limits() -> list[tuple[int, int]]:
    """(microseconds of CPU, in so many microseconds) of each control group that this process is in.

    A container may see its own group as the root, whatever its path says: the root counts too.
    """
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:  # "0::/path" (version 2) or "4:cpu,cpuacct:/path" (version 1)
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        names = PurePosixPath(path).parts[1:]
        for depth in range(len(names) + 1):
            folder = _GROUPS.joinpath(controllers, *names[:depth])
            limits += [_version_1(folder)] if controllers else [_version_2(folder)]
    return [limit for limit in limits if limit]


def _version_2(folder: Path) -> tuple[int, int] | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return (int(quota), int(period)) if quota != "max" else None
    except (OSError, ValueError):
        return None


def _version_1(folder: Path) -> tuple[int, int] | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return (quota, int((folder / "cpu.cfs_period_us").read_text())) if quota > 0 else None
    except (OSError, ValueError):
        return None
