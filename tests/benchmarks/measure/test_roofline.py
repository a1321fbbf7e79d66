import pytest
from merkit.benchmarks.measure.roofline import share_of_roofline
from merkit.benchmarks.row import Machine
from merkit.export.graph_costs import Layer, Workload

MACHINE = Machine(
    gemm_gflops=100.0, gemm_bf16_gflops=400.0, gemm_int8_gops=200.0, bandwidth_gbs=10.0, cache_mib=1.0
)


def network(macs: int, weights: int, activations: int) -> Workload:
    return Workload(0, (Layer("", "Conv", macs, weights, activations),))


def test_what_binds() -> None:
    many = network(10**9, 1_000, 1_000)  # 2 GFLOP, 20 ms
    assert share_of_roofline(many, MACHINE, "fp32", 1, 25.0) == (pytest.approx(0.5), "compute")
    assert share_of_roofline(many, MACHINE, "int8", 1, 25.0) == (pytest.approx(0.25), "compute")
    # 161 % of the float32 peak is possible in bf16, and is 40 % of its own
    assert share_of_roofline(many, MACHINE, "bf16", 1, 80.5) == (pytest.approx(0.4025), "compute")
    assert share_of_roofline(many, MACHINE, "fp32", 1, 1.0)[1] == "overhead"
    heavy = network(1_000, 100 * 10**6, 0)  # 100 MB of weights, 10 ms a batch
    assert share_of_roofline(heavy, MACHINE, "fp32", 1, 50.0) == (pytest.approx(0.5), "memory")
    assert share_of_roofline(heavy, MACHINE, "fp32", 10, 500.0) == (pytest.approx(0.5), "memory")
    # activations go through memory once a batch of them is more than the cache holds
    spilling = network(1_000, 0, 2**19)
    assert share_of_roofline(spilling, MACHINE, "fp32", 1, 100.0)[0] < 0.001
    assert share_of_roofline(spilling, MACHINE, "fp32", 4, 10_000.0)[1] == "memory"


def test_a_machine_without_limits_has_no_roofline() -> None:
    with pytest.raises(ValueError, match="limits were not measured"):
        share_of_roofline(network(1, 1, 1), Machine(), "fp32", 1, 1.0)
    with pytest.raises(ValueError, match="limits were not measured"):
        share_of_roofline(network(1, 1, 1), Machine(gemm_gflops=1.0, bandwidth_gbs=1.0), "bf16", 1, 1.0)
