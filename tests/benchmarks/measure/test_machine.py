from pathlib import Path

from merkit.benchmarks.measure.machine import cache_bytes, describe_machine, raise_limits
from merkit.benchmarks.row import Machine
from merkit.engine.cpu import usable_cores


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.cpu
    assert machine.cores == usable_cores() >= 1
    assert machine.libraries["numpy"]
    assert set(machine.flags) <= set(Path("/proc/cpuinfo").read_text().split())
    assert cache_bytes() < 2**32


def test_limits_are_of_this_world() -> None:
    machine = Machine()
    raise_limits(machine, threads=1, seconds=0.05)
    assert 0.01 < (machine.gemm_gflops or 0) < 1e5
    assert 0.01 < (machine.gemm_int8_gops or 0) < 1e6
    assert 0.01 < (machine.bandwidth_gbs or 0) < 1e4


def test_the_highest_limit_stays() -> None:
    machine = Machine(gemm_gflops=1e9, gemm_int8_gops=1e9, bandwidth_gbs=1e9)
    raise_limits(machine, threads=1, seconds=0.001)
    assert machine == Machine(gemm_gflops=1e9, gemm_int8_gops=1e9, bandwidth_gbs=1e9)
