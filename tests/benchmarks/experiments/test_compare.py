import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.benchmarks.experiments import compare
from merkit.benchmarks.experiments.compare import Ratio, compare_models, ratio_of_pairs, ratio_of_samples
from merkit.engine.errors import MerError, UsageError
from merkit.export.precision import fp16_from_onnx
from small_networks import small_network

seconds = st.floats(0.5, 2.0)


@given(st.lists(st.tuples(seconds, seconds), min_size=5, max_size=30))
def test_the_interval_holds_the_ratio_and_turns_round(pairs: list[tuple[float, float]]) -> None:
    ratio, back = ratio_of_pairs("", pairs), ratio_of_pairs("", [(b, a) for a, b in pairs])
    assert ratio.low <= ratio.ratio <= ratio.high
    if len(pairs) % 2:  # the median of an even number is a mean, which does not invert
        assert back.ratio == pytest.approx(1 / ratio.ratio)


@given(st.lists(seconds, min_size=3, max_size=20), st.floats(0.2, 5))
def test_a_constant_factor_is_found(samples: list[float], factor: float) -> None:
    ratio = ratio_of_samples("", samples, [factor * sample for sample in samples])
    assert ratio.ratio == pytest.approx(factor)
    assert ratio.low <= ratio.ratio * (1 + 1e-9)
    assert ratio.high >= ratio.ratio * (1 - 1e-9)


@pytest.mark.parametrize(
    "ratio",
    [
        ratio_of_pairs("", [(number, 1.0) for number in range(1, 8)]),
        ratio_of_samples("", [1.0, 1.0, 1.0], range(1, 8)),
    ],
)
def test_the_interval_is_of_95_percent(ratio: Ratio) -> None:
    """Of seven draws from 1 to 7 the median is 1 in 1.1 % of cases, at most 2 in 10, at most 3 in 35."""
    assert (ratio.ratio, ratio.low, ratio.high) == (4, 2, 6)


def test_the_second_is_as_many_times_as_fast_and_both_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    took = {"a": 0.002, "b": 0.001}

    class Side:
        def __init__(self, case: str, *_: int) -> None:
            self.name = case

        def seconds(self, calls: int) -> float:
            done.append((self.name, calls))
            return took[self.name]

        def close(self) -> None: ...

    monkeypatch.setattr(compare, "_Side", Side)
    monkeypatch.setattr(compare, "_case", lambda name: name)
    monkeypatch.setattr(compare, "time", SimpleNamespace(sleep=done.append))
    assert compare_models("a", "b", pairs=3) == (Ratio("b against a", 2, 2, 2), [(0.002, 0.001)] * 3)
    a, b, rest = ("a", 25), ("b", 50), compare._REST_S  # the other's threads spin on for 0.05 s
    assert done == [("a", 3), ("b", 3), rest, a, rest, b, rest, b, rest, a, rest, a, rest, b]


def test_models_in_turns(networks: Path) -> None:
    small = networks / "small.onnx"
    ratio, pairs = compare_models(str(small), str(small), pairs=6, threads=1)
    assert len(pairs) == 6
    assert ratio.low <= ratio.ratio <= ratio.high
    for precision in ("onnxruntime-bf16", "openvino-int8", "openvino-"):
        with pytest.raises(UsageError, match=r"only openvino-bf16|unknown runtime"):
            compare_models(f"{small}@{precision}", str(small))
    with pytest.raises(UsageError, match="unknown runtime"):
        compare_models(f"{small}@nothing", str(small))
    with pytest.raises(UsageError, match="unknown model"):
        compare_models("nothing", str(small))


def test_a_path_may_hold_an_at(networks: Path) -> None:
    folder = networks.rename(networks.with_name("at@home"))
    for name in (f"{folder}/small.onnx", f"{folder}/small.onnx@onnxruntime"):
        assert compare._case(name).runtime == "onnxruntime"


def test_a_side_that_cannot_run(networks: Path) -> None:
    small = networks / "small.onnx"
    with pytest.raises(MerError, match=r"small on torch: .*backbone"):
        compare_models(str(small), f"{small}@torch")


def test_another_network_is_not_measured_instead(networks: Path) -> None:
    pytest.importorskip("torchvision")
    (networks / "half.onnx").write_bytes(fp16_from_onnx(small_network()).SerializeToString())
    for name, said in (
        ("audioset@torch", "audioset on torch: a frozen network with a head is none that torch has"),
        (f"{networks / 'half.onnx'}@torch", "half on torch: it computes the FP32 network"),
    ):
        with pytest.raises(MerError) as raised:
            compare._case(name)
        assert str(raised.value) == said


@pytest.mark.parametrize(
    ("limit", "ratio", "high", "fails"),
    [
        (0.95, 0.90, 0.97, True),
        (0.95, 0.90, 1.01, False),  # perhaps chance
        (0.95, 0.96, 0.97, False),  # slower, and no more than is allowed
        (1.5, 1.20, 1.21, True),
        (1.5, 1.20, 1.60, False),
        (1.5, 1.55, 1.60, False),
    ],
)
def test_what_a_limit_means(limit: float, ratio: float, high: float, fails: bool) -> None:
    """Up to 1 how much slower it may be; above 1 how much faster it must be."""
    assert Ratio("", ratio, ratio - 0.01, high).under(limit) is fails


def test_a_side_that_hangs(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_LIMIT_S", 2.0)
    monkeypatch.setattr(compare, "_time_calls", hang)
    small = str(networks / "small.onnx")
    with pytest.raises(MerError, match="small on onnxruntime: took longer than 2 s"):
        compare_models(small, small)


def hang(*_: object) -> None:
    time.sleep(600)
