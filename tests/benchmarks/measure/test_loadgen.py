import itertools
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.benchmarks.measure import loadgen
from merkit.benchmarks.measure.loadgen import (
    QUICK,
    Infer,
    Length,
    block_rates,
    block_values,
    fewest_samples,
    run_loadgen,
)
from merkit.benchmarks.row import SCENARIOS
from merkit.engine.arrays import Float32

LOG_MELS = np.zeros((16, 1, 4, 4), np.float32)
SHORT = Length("quick", 0.2, {**QUICK.queries})


@pytest.fixture(autouse=True)
def _loadgen() -> None:
    pytest.importorskip("mlperf_loadgen")


def sleeping(a_call: float) -> tuple[list[int], Infer]:
    """A network that takes so many seconds, and the batches that it was given."""
    sizes: list[int] = []

    def infer(log_mels: Float32) -> Float32:
        sizes.append(len(log_mels))
        time.sleep(a_call)
        return log_mels

    return sizes, infer


@given(st.sampled_from([50.0, 90.0, 99.0, 99.9]))
def test_fewest_samples_are_enough_and_one_less_is_not(percentile: float) -> None:
    share, count = percentile / 100, fewest_samples(percentile)
    assert 1 - share**count >= 0.99 > 1 - share ** (count - 1)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=50))
def test_blocks_hold_the_median(samples: list[float]) -> None:
    blocks = block_values(samples)
    assert 1 <= len(blocks) <= 8
    assert min(samples) <= min(blocks) <= max(blocks) <= max(samples)
    assert block_values([3.0] * len(samples)) == [3.0] * len(blocks)


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(1e-4, 10)), min_size=1, max_size=200))
def test_the_rate_of_a_run_lies_between_those_of_its_parts(batches: list[tuple[int, float]]) -> None:
    sizes, seconds = [size for size, _ in batches], [second for _, second in batches]
    rates = block_rates(sizes, list(itertools.accumulate(seconds)), seconds[0])
    assert min(rates) * (1 - 1e-6) <= sum(sizes) / sum(seconds) <= max(rates) * (1 + 1e-6)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_asks_as_mlperf_does(tmp_path: Path, scenario: str) -> None:
    sizes, infer = sleeping(0.002)
    result = run_loadgen(infer, LOG_MELS, scenario, SHORT, tmp_path, 5, 300.0)
    expected = {"SingleStream": {1}, "MultiStream": {8}, "Server": {1}}.get(scenario)
    assert set(sizes) == expected if expected else set(sizes[:-1]) == {5}
    assert len(result.samples_ms) == len(sizes) == result.figures.queries
    assert all(sample >= 2 for sample in result.samples_ms)
    assert not result.figures.valid  # a quick look never is
    assert result.figures.errors == []
    lines = (tmp_path / "mlperf_log_detail.txt").read_text().splitlines()
    settings = {
        entry["key"]: entry["value"]
        for entry in (json.loads(line.removeprefix(":::MLLOG ")) for line in lines)
    }
    assert settings["effective_scenario"] == scenario
    assert settings["effective_min_duration_ms"] == 200
    if scenario == "Offline":
        assert 0 < (result.figures.images_per_s or 0) < 5 / 0.002


def test_the_percentiles_are_loadgens_and_refused_when_samples_are_few(tmp_path: Path) -> None:
    _, infer = sleeping(0.001)
    result = run_loadgen(infer, LOG_MELS, "SingleStream", SHORT, tmp_path)
    figures = result.figures
    assert figures.p50 == pytest.approx(float(np.median(result.samples_ms)), rel=0.1)  # both clocks agree
    assert 0 < (figures.queries or 0) < 459
    assert figures.p99 is None


def test_each_percentile_is_its_own_and_in_ms(tmp_path: Path) -> None:
    values = {
        f"result_{percentile}.00_percentile_latency_ns": 1e4 * percentile for percentile in (50, 90, 99)
    }
    with (tmp_path / "mlperf_log_detail.txt").open("w") as file:
        for key, value in values.items():
            entry = {"key": key, "value": value, "metadata": {"is_error": False}}
            file.write(f":::MLLOG {json.dumps(entry)}\n")
    system: Any = SimpleNamespace(samples_ms=[1.0] * 459)
    figures = loadgen._scenario_result("SingleStream", SHORT, system, tmp_path, 1.0).figures
    assert (figures.p50, figures.p90, figures.p99) == (0.5, 0.9, 0.99)


def test_server_asks_half_of_what_is_reached_within_its_limit() -> None:
    kind = SimpleNamespace
    module = kind(
        TestSettings=kind, TestScenario=kind(Server="server"), TestMode=kind(PerformanceOnly="speed")
    )
    settings = loadgen._settings(module, "Server", SHORT, images_per_s=40.0, target_ms=250.0)
    assert settings.server_target_qps == 20
    assert settings.server_target_latency_ns == 250_000_000
    assert settings.server_target_latency_percentile == 0.99


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_network_that_fails_ends_the_run_with_its_error(tmp_path: Path, scenario: str) -> None:
    calls = []

    def infer(log_mels: Float32) -> Float32:
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("broken on purpose")
        return log_mels

    with pytest.raises(ValueError, match="broken on purpose"):
        run_loadgen(infer, LOG_MELS, scenario, SHORT, tmp_path, 2, 100.0)
    assert len(calls) == 3
