from pathlib import Path

import pytest
from merkit.benchmarks.measure.machine import cache_bytes, describe_machine, limits
from merkit.benchmarks.measure.roofline import share_of_roofline
from merkit.benchmarks.measure.sample_songs import generated_songs, songs_from_folder
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.cpu import usable_cores
from merkit.engine.errors import MerError
from merkit.export.graph_costs import Layer, Workload


def test_the_machine_is_described() -> None:
    found = describe_machine()
    assert found["cpu"]
    assert found["cores"] == usable_cores() >= 1
    assert found["libraries"]["numpy"]
    assert set(found["flags"]) <= set(Path("/proc/cpuinfo").read_text().split())
    assert cache_bytes() < 2**32


def test_limits_are_of_this_world() -> None:
    found = limits(threads=1, seconds=0.05)
    assert 0.01 < found["gemm_gflops"] < 1e5
    assert 0.01 < found["gemm_int8_gops"] < 1e6
    assert 0.01 < found["bandwidth_gbs"] < 1e4


MACHINE = {"gemm_gflops": 100.0, "gemm_int8_gops": 200.0, "bandwidth_gbs": 10.0, "cache_mib": 1.0}


def network(macs: int, weights: int, activations: int) -> Workload:
    return Workload(0, (Layer("", "Conv", macs, weights, activations),))


def test_what_binds() -> None:
    many = network(10**9, 1_000, 1_000)  # 2 GFLOP, 20 ms
    assert share_of_roofline(many, MACHINE, "fp32", 1, 25.0) == (pytest.approx(0.5), "compute")
    assert share_of_roofline(many, MACHINE, "int8", 1, 25.0) == (pytest.approx(0.25), "compute")
    assert share_of_roofline(many, MACHINE, "fp32", 1, 1.0)[1] == "overhead"
    heavy = network(1_000, 100 * 10**6, 0)  # 100 MB of weights, 10 ms a batch
    assert share_of_roofline(heavy, MACHINE, "fp32", 1, 50.0) == (pytest.approx(0.5), "memory")
    assert share_of_roofline(heavy, MACHINE, "fp32", 10, 500.0) == (pytest.approx(0.5), "memory")
    # activations go through memory once a batch of them is more than the cache holds
    spilling = network(1_000, 0, 2**19)
    assert share_of_roofline(spilling, MACHINE, "fp32", 1, 100.0)[0] < 0.001
    assert share_of_roofline(spilling, MACHINE, "fp32", 4, 10_000.0)[1] == "memory"


def test_songs_to_label(tmp_path: Path) -> None:
    songs = generated_songs(tmp_path, 5, different=2)
    assert (len(songs), len(set(songs))) == (5, 2)
    decoder = open_decoder(songs[0], Limits())
    assert decoder.length / decoder.sample_rate == pytest.approx(30, rel=0.01)
    decoder.close()
    assert songs_from_folder(tmp_path, 3) == songs[:3]
    (tmp_path / "empty").mkdir()
    with pytest.raises(MerError, match="no audio"):
        songs_from_folder(tmp_path / "empty", 3)
