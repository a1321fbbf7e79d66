import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.benchmarks.measure.loadgen import (
    QUICK,
    SCENARIOS,
    Length,
    block_rates,
    block_values,
    fewest_samples,
    percentile_ms,
    run_loadgen,
)
from merkit.engine.arrays import Float32

IMAGES = np.zeros((16, 1, 4, 4), np.float32)
SHORT = Length("quick", 0.2, {**QUICK.queries})


@pytest.fixture(autouse=True)
def _loadgen() -> None:
    pytest.importorskip("mlperf_loadgen")


def sleeping(a_call: float) -> tuple[list[int], object]:
    sizes: list[int] = []

    def infer(images: Float32) -> Float32:
        sizes.append(len(images))
        time.sleep(a_call)
        return images

    return sizes, infer


@given(st.sampled_from([50.0, 90.0, 99.0, 99.9]))
def test_fewest_samples_are_enough_and_one_less_is_not(percentile: float) -> None:
    share, count = percentile / 100, fewest_samples(percentile)
    assert 1 - share**count >= 0.99 > 1 - share ** (count - 1)
    assert percentile_ms([1.0] * (count - 1), percentile) is None
    assert percentile_ms([1.0] * count, percentile) == 1.0


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=50))
def test_blocks_hold_the_median(samples: list[float]) -> None:
    blocks = block_values(samples)
    assert 1 <= len(blocks) <= 8
    assert min(samples) <= min(blocks) <= max(blocks) <= max(samples)
    assert block_values([3.0] * len(samples)) == [3.0] * len(blocks)


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(1e-4, 10)), min_size=1, max_size=200))
def test_the_rate_of_a_run_lies_between_those_of_its_parts(batches: list[tuple[int, float]]) -> None:
    sizes, seconds = [size for size, _ in batches], [each for _, each in batches]
    rates = block_rates(sizes, list(itertools.accumulate(seconds)), seconds[0])
    assert min(rates) * (1 - 1e-6) <= sum(sizes) / sum(seconds) <= max(rates) * (1 + 1e-6)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_asks_as_mlperf_does(tmp_path: Path, scenario: str) -> None:
    sizes, infer = sleeping(0.002)
    found = run_loadgen(infer, IMAGES, scenario, SHORT, tmp_path, 5, 300.0)  # pyright: ignore
    wanted = {"SingleStream": {1}, "MultiStream": {8}, "Server": {1}}.get(scenario)
    assert set(sizes) == wanted if wanted else set(sizes[:-1]) == {5}
    assert len(found.samples_ms) == len(sizes) == found.queries
    assert all(sample >= 2 for sample in found.samples_ms)
    assert not found.valid  # a quick look never is
    assert found.errors == []
    lines = (tmp_path / "mlperf_log_detail.txt").read_text().splitlines()
    settings = {
        entry["key"]: entry["value"]
        for entry in (json.loads(line.removeprefix(":::MLLOG ")) for line in lines)
    }
    assert settings["effective_scenario"] == scenario
    assert settings["effective_min_duration_ms"] == 200
    if scenario == "Offline":
        assert found.images_per_s is not None
        assert 0 < found.images_per_s < 5 / 0.002


def test_the_percentiles_are_loadgens_and_refused_when_samples_are_few(tmp_path: Path) -> None:
    _, infer = sleeping(0.001)
    found = run_loadgen(infer, IMAGES, "SingleStream", SHORT, tmp_path)  # pyright: ignore
    p50 = found.percentiles_ms["p50"]
    assert p50 is not None
    assert p50 == pytest.approx(float(np.median(found.samples_ms)), rel=0.1)  # both clocks agree
    assert found.queries < 459
    assert found.percentiles_ms["p99"] is None


def test_what_is_slowed_shows(tmp_path: Path) -> None:
    p50 = []
    for a_call in (0.002, 0.006):
        _, infer = sleeping(a_call)
        p50.append(run_loadgen(infer, IMAGES, "SingleStream", SHORT, tmp_path).percentiles_ms["p50"])  # pyright: ignore
    assert p50[1] > 2 * p50[0]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_network_that_fails_ends_the_run_with_its_error(tmp_path: Path, scenario: str) -> None:
    calls = []

    def infer(images: Float32) -> Float32:
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("broken on purpose")
        return images

    with pytest.raises(ValueError, match="broken on purpose"):
        run_loadgen(infer, IMAGES, scenario, SHORT, tmp_path, 2, 100.0)
    assert len(calls) == 3
