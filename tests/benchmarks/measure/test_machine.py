from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from merkit.benchmarks.measure import machine
from merkit.benchmarks.measure.machine import cache_bytes, describe_machine, gemm_bf16_gflops, raise_limits
from merkit.benchmarks.row import Machine
from merkit.engine.cpu import usable_cores


def test_the_machine_is_described() -> None:
    here = describe_machine()
    assert here.cpu
    assert here.cores == usable_cores() >= 1
    assert here.libraries["numpy"]
    assert set(here.flags) <= set(Path("/proc/cpuinfo").read_text().split())
    assert cache_bytes() < 2**32


def test_limits_are_of_this_world() -> None:
    here = Machine()
    raise_limits(here, threads=1, seconds=0.05)
    assert 0.01 < (here.gemm_gflops or 0) < 1e5
    assert 0.01 < (here.gemm_int8_gops or 0) < 1e6
    assert 0.01 < (here.bandwidth_gbs or 0) < 1e4


def test_limits_are_in_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is computed in half a second: a product of n x n takes n^3 multiplications and additions."""
    done: list[Any] = []

    def best_time(call: Callable[[], object], _: float) -> float:
        done.append(call())
        return 0.5

    monkeypatch.setattr(machine, "_SIZE", 64)
    monkeypatch.setattr(machine, "_LEAST_BYTES", 1 << 20)
    monkeypatch.setattr(machine, "cache_bytes", lambda: 1_000)
    monkeypatch.setattr(machine, "_best_time", best_time)
    here = Machine()
    raise_limits(here, threads=2)
    product = pytest.approx(2 * 64**3 / 0.5 / 1e9)
    assert (here.gemm_gflops, here.gemm_int8_gops) == (product, product)
    assert here.gemm_bf16_gflops in (None, product)
    assert here.bandwidth_gbs == pytest.approx((1 << 20) / 0.5 / 1e9)
    assert 8 * sum(done[-1]) == 1 << 20  # ones of 8 bytes, all of which are read


def test_bf16_has_a_limit_where_it_can_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    from merkit.engine.runtimes.openvino import has_bf16

    measured = gemm_bf16_gflops(seconds=0.05, threads=1)
    assert (measured is not None) == has_bf16()
    assert measured is None or 0.01 < measured < 1e6
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert gemm_bf16_gflops(seconds=0.05, threads=1) is None


def test_a_limit_is_of_as_many_threads_as_the_networks_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's matrix product takes all cores, whatever --threads says."""
    threads: list[int] = []
    session = machine._matmul_session

    def counted(right: np.ndarray, count: int) -> Any:
        threads.append(count)
        return session(right, count)

    monkeypatch.setattr(machine, "_SIZE", 64)
    monkeypatch.setattr(machine, "_matmul_session", counted)
    monkeypatch.setattr(machine, "_matrices", lambda: tuple(np.ones((2, 64, 64), np.float32).view(NoProduct)))
    assert machine.gemm_gflops(0.01, 1) > 0
    assert threads == [1]


class NoProduct(np.ndarray):
    """Matrices that NumPy does not multiply."""

    def __matmul__(self, other: Any) -> Any:
        raise AssertionError("by NumPy, in as many threads as it likes")


def test_the_highest_limit_stays() -> None:
    here = Machine(gemm_gflops=1e9, gemm_bf16_gflops=1e9, gemm_int8_gops=1e9, bandwidth_gbs=1e9)
    raise_limits(here, threads=1, seconds=0.001)
    assert here == Machine(gemm_gflops=1e9, gemm_bf16_gflops=1e9, gemm_int8_gops=1e9, bandwidth_gbs=1e9)
