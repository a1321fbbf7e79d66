"""How close to the machine's own limits a network runs.

The roofline of Williams, Waterman and Patterson (2009): nothing runs faster than its arithmetic at the
machine's peak, nor than its traffic at the memory's bandwidth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...export.graph_costs import Workload

_OVERHEAD = 0.1  # of the roofline: below it neither arithmetic nor memory is what takes the time


def share_of_roofline(
    workload: Workload, machine: Mapping[str, Any], precision: str, batch: int, throughput: float
) -> tuple[float, str]:
    """The share of what the machine allows, and what binds: "compute", "memory" or "overhead".

    Traffic is the least there can be: weights once a batch and no activation that fits the last-level
    cache; weights that fit stay there too.
    """
    cache = machine.get("cache_mib", 0) * 2**20
    weights = workload.weight_bytes / batch if workload.weight_bytes > cache else 0
    spilled = sum(
        layer.activation_bytes for layer in workload.layers if layer.activation_bytes * batch > cache
    )
    peak = machine["gemm_int8_gops"] if precision == "int8" else machine["gemm_gflops"]
    compute_s = 2 * workload.macs / (peak * 1e9)
    memory_s = (weights + spilled) / (machine["bandwidth_gbs"] * 1e9)
    share = max(compute_s, memory_s) * throughput
    if share < _OVERHEAD:
        return share, "overhead"
    return share, "compute" if compute_s >= memory_s else "memory"
