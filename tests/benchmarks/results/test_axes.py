import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.benchmarks.results.axes import Scale, log_scale


def test_ticks_are_round() -> None:
    assert [text for _, text in Scale(0, 100, 0, 500).ticks()] == ["0", "20", "40", "60", "80", "100"]
    assert [text for _, text in Scale(0.5, 30, 0, 100, log=True).ticks()] == [
        "0.5", "1", "2", "5", "10", "20",
    ]  # fmt: skip
    assert [text for _, text in Scale(1, 1e6, 0, 100, log=True).ticks()] == [
        "1", "10", "100", "1,000", "10,000", "100,000", "1,000,000",
    ]  # fmt: skip


def test_an_axis_may_point_upwards() -> None:
    scale = Scale(0, 1, 400, 24)
    assert (scale(0), scale(0.5), scale(1)) == (400, 212, 24)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=20))
def test_a_logarithmic_axis_holds_its_values_and_has_ticks(values: list[float]) -> None:
    scale = log_scale(values, 0, 1_000, 1.1)
    assert all(0 <= scale(value) <= 1_000 for value in values)
    assert min(values) / scale.low == pytest.approx(scale.high / max(values))
    assert scale.high >= 1.09 * max(values)
    assert len(scale.ticks()) >= 2
