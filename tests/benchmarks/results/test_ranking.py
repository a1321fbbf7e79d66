from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from merkit.benchmarks.results.ranking import finish, pareto_front
from merkit.benchmarks.row import Results, Row, Scenario


def row(macro_f1: float | None, throughput: float | None, **other: Any) -> Row:
    known = {"model": "net", "runtime": "onnxruntime", "precision": "fp32", "macro_f1_interval": (0.4, 0.6)}
    return Row(**{**known, "macro_f1": macro_f1, "throughput": throughput, **other})


rows = st.lists(
    st.builds(
        row, st.none() | st.sampled_from([0.2, 0.5, 0.6]), st.none() | st.sampled_from([10.0, 20.0, 30.0])
    ),
    max_size=12,
)


@given(rows)
def test_the_front_is_what_nothing_beats(table: list[Row]) -> None:
    front = pareto_front(table)
    scored = [
        (one, one.macro_f1, one.throughput) for one in table if one.macro_f1 is not None and one.throughput
    ]

    def beats(a: tuple[Row, float, float], b: tuple[Row, float, float]) -> bool:
        better = a[1] > b[1] or a[2] > b[2]
        return better and a[1] >= b[1] and a[2] >= b[2]

    for one in scored:
        assert (one[0] in front) == (not any(beats(other, one) for other in scored))
    assert bool(front) == bool(scored)


@given(rows)
def test_the_front_comes_first_and_what_failed_last(table: list[Row]) -> None:
    results = Results(rows=[*table, row(None, None, status="error", model="broken")])
    finish(results)
    kinds = [(one.status != "ok", not one.pareto) for one in results.rows]
    assert kinds == sorted(kinds)
    assert results.rows[-1].model == "broken"


def test_the_advice_trades_a_point_for_speed_and_no_more() -> None:
    near = row(0.595, 300.0, model="near", precision="int8")
    results = Results(rows=[row(0.6, 100.0, model="best"), near, row(0.5, 900.0, model="fast")])
    finish(results)
    assert "Use near in int8 on onnxruntime" in results.recommendation
    assert "300 images/s" in results.recommendation
    # an INT8 that is not faster is not recommended
    results = Results(rows=[row(0.6, 100.0, model="best"), replace(near, throughput=90.0)])
    finish(results)
    assert "Use best in fp32" in results.recommendation
    finish(results, valid=False)
    assert "not valid: use" in results.recommendation


def test_without_accuracy_it_says_so_and_never_advises_a_peer() -> None:
    results = Results(rows=[row(None, 10.0), row(None, 90.0, runtime="torch")])
    finish(results)
    assert "net in fp32 on onnxruntime is fastest" in results.recommendation
    assert "not measured" in results.recommendation
    finish(results := Results())
    assert results.recommendation == "Nothing was measured."
    finish(results := Results(rows=[row(None, None)]))
    assert results.recommendation == "No advice: images/s was not measured (--scenario Offline)."
    finish(results := Results(rows=[row(None, 90.0, runtime="torch")]))
    assert results.recommendation == "Only peers were measured."
    finish(results := Results(rows=[row(None, 90.0, source="untrained"), row(None, 10.0, source="bundled")]))
    assert results.recommendation.startswith("net (untrained) in fp32 on onnx")


def test_drops_are_against_the_file_it_was_made_from() -> None:
    results = Results(
        rows=[
            row(0.60, 10.0, sha256="a", fp32_sha256=None),
            row(0.57, 30.0, sha256="b", fp32_sha256="a", precision="int8", runtime="openvino"),
            row(0.70, 20.0, sha256="c", fp32_sha256="unknown", precision="int8"),
        ]
    )
    finish(results)
    drops = {one.sha256: one.drop for one in results.rows}
    assert drops["a"] == 0
    assert drops["b"] is not None
    assert abs(drops["b"] - 3) < 1e-9
    assert drops["c"] is None
    # mer-export's own FP32 file names the checkpoint it was made from, as its INT8 sibling does.
    results = Results(
        rows=[
            row(0.60, 10.0, sha256="a", fp32_sha256="checkpoint"),
            row(0.57, 30.0, sha256="b", fp32_sha256="checkpoint", precision="int8", runtime="openvino"),
        ]
    )
    finish(results)
    assert sorted(round(one.drop) for one in results.rows if one.drop is not None) == [0, 3]
    # Scored on other songs: no drop.
    results = Results(
        rows=[
            row(0.60, 10.0, sha256="a", scored_songs="1"),
            row(0.57, 30.0, sha256="b", fp32_sha256="a", precision="int8", scored_songs="2"),
        ]
    )
    finish(results)
    assert {one.sha256: one.drop for one in results.rows} == {"a": 0, "b": None}


def test_valid_is_what_loadgen_says_of_every_row() -> None:
    good = {"SingleStream": Scenario(valid=True)}
    for second, expected in (({"Offline": Scenario(valid=False)}, False), (good, True)):
        results = Results(rows=[row(None, 1.0, scenarios=good), row(None, 2.0, scenarios=second)])
        finish(results)
        assert results.valid is expected


def test_too_few_songs_for_an_interval_are_said() -> None:
    results = Results(rows=[row(0.6, 10.0, macro_f1_interval=None)])
    finish(results)
    assert "(0.600, of too few songs for an interval)" in results.recommendation
