import re

import pytest
from bench_results import read, results_values
from merkit.benchmarks.results.charts import bars, has_ridge, ridges, stages
from merkit.benchmarks.row import Row


@pytest.fixture
def rows() -> list[Row]:
    return read(results_values()).rows


def test_a_histogram_holds_every_sample(rows: list[Row]) -> None:
    chart = ridges(rows)
    assert chart
    assert [ridge["row"].model for ridge in chart["ridges"]] == ["quick", "best", "middling", "peer"]
    assert all(ridge["samples"] == 200 for ridge in chart["ridges"])
    for ridge in chart["ridges"]:
        places = [float(place) for place in re.findall(r"L([\d.]+) ", ridge["path"])]
        assert places == sorted(places)  # never back: an area over the axis
        assert [name for name, _ in ridge["marks"]] == ["p50", "p90"]  # p99 was not given


def test_few_samples_are_no_histogram() -> None:
    few, enough = Row("few", latency_ms=[1.0, 2.0, 0.0, -1.0, 3.0]), Row("enough", latency_ms=[1.0] * 5)
    assert (has_ridge(few), has_ridge(enough)) == (False, True)
    assert ridges([few]) is None
    chart = ridges([few, enough])
    assert chart
    assert [ridge["row"].model for ridge in chart["ridges"]] == ["enough"]


def test_bars_stand_in_order_of_speed(rows: list[Row]) -> None:
    chart = bars(rows)
    assert chart
    assert [row.model for _, _, row in chart["bars"]] == ["quick", "best", "middling", "peer"]
    ends = [x for _, x, _ in chart["bars"]]
    assert ends == sorted(ends, reverse=True)
    assert chart["begin"] < min(ends)
    assert bars(rows[4:]) is None


def test_stages_fill_their_bar(rows: list[Row]) -> None:
    chart = stages(rows, ["decode", "resample", "mel", "network"])
    assert chart
    assert len(chart["bars"]) == 4
    for bar in chart["bars"]:
        assert [part["stage"] for part in bar["parts"]] == [0, 2, 3]  # nothing was resampled
        assert bar["parts"][0]["x"] == chart["left"]
        assert bar["parts"][-1]["x"] + bar["parts"][-1]["width"] == pytest.approx(chart["right"], abs=0.2)
        assert bar["parts"][0]["tooltip"] == "decode: 2 s, 57.1%"
        assert bar["songs"] == "20.0 songs/s"
    assert stages(rows, []) is None
