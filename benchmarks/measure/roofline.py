"""How close a network runs to the machine's own limits.

The roofline model of Williams, Waterman and Patterson (2009): a network is bound by its arithmetic at the
machine's peak rate or by its memory traffic at the memory's bandwidth, whichever takes longer.
"""

from __future__ import annotations

from ...export.graph_costs import Workload
from ..row import Machine

_OVERHEAD = 0.1  # a share below it: neither arithmetic nor memory takes most of the time


def share_of_roofline(
    workload: Workload, machine: Machine, precision: str, batch: int, throughput: float
) -> tuple[float, str]:
    """The share of what the machine allows, 0 to 1, and what binds: "compute", "memory" or "overhead".

    The traffic is a lower bound: weights are read once a batch, and nothing that fits the last-level cache
    is read at all.

    Args:
        precision: "int8" and "bf16" are held against their own peaks, everything else (FP16, which CPUs
            compute in float32, too) against the float32 peak.
        throughput: images/s at ``batch``.

    Raises:
        ValueError: the machine's limit in this precision, or its bandwidth, is not known.
    """
    peaks = {"int8": machine.gemm_int8_gops, "bf16": machine.gemm_bf16_gflops}
    peak = peaks.get(precision, machine.gemm_gflops)
    if not peak or not machine.bandwidth_gbs:
        raise ValueError("the machine's limits were not measured")
    cache = (machine.cache_mib or 0) * 2**20
    weights = workload.weight_bytes / batch if workload.weight_bytes > cache else 0
    spilled = sum(
        layer.activation_bytes for layer in workload.layers if layer.activation_bytes * batch > cache
    )
    compute_s = 2 * workload.macs / (peak * 1e9)
    memory_s = (weights + spilled) / (machine.bandwidth_gbs * 1e9)
    share = max(compute_s, memory_s) * throughput
    if share < _OVERHEAD:
        return share, "overhead"
    return share, "compute" if compute_s >= memory_s else "memory"
