from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from merkit.benchmarks.results.ranking import finish, pareto_front

Row = dict[str, Any]


def row(macro_f1: float | None, throughput: float | None, **other: Any) -> Row:
    return {
        "model": "net", "runtime": "onnxruntime", "precision": "fp32", "status": "ok", "scenarios": {},
        "macro_f1": macro_f1, "macro_f1_interval": [0.4, 0.6], "throughput": throughput, **other,
    }  # fmt: skip


rows = st.lists(
    st.builds(
        row,
        st.none() | st.sampled_from([0.2, 0.5, 0.6]),
        st.none() | st.sampled_from([10.0, 20.0, 30.0]),
    ),
    max_size=12,
)


@given(rows)
def test_the_front_is_what_nothing_beats(found: list[Row]) -> None:
    front = pareto_front(found)
    scored = [each for each in found if each["macro_f1"] is not None and each["throughput"]]

    def beats(a: Row, b: Row) -> bool:
        better = a["macro_f1"] > b["macro_f1"] or a["throughput"] > b["throughput"]
        return better and a["macro_f1"] >= b["macro_f1"] and a["throughput"] >= b["throughput"]

    for each in scored:
        assert (each in front) == (not any(beats(other, each) for other in scored))
    assert bool(front) == bool(scored)


@given(rows)
def test_the_front_comes_first_and_what_failed_last(found: list[Row]) -> None:
    results = {"rows": [*found, row(None, None, status="error", model="broken")]}
    finish(results)
    kinds = [(each["status"] != "ok", not each["pareto"]) for each in results["rows"]]
    assert kinds == sorted(kinds)
    assert results["rows"][-1]["model"] == "broken"


def test_the_advice_trades_a_point_for_speed_and_no_more() -> None:
    near = row(0.595, 300.0, model="near", precision="int8")
    results = {"rows": [row(0.6, 100.0, model="best"), near, row(0.5, 900.0, model="fast")]}
    finish(results)
    assert "Use near in int8 on onnxruntime" in results["recommendation"]
    assert "300 images/s" in results["recommendation"]
    # an INT8 that is not faster is not recommended
    results = {"rows": [row(0.6, 100.0, model="best"), {**near, "throughput": 90.0}]}
    finish(results)
    assert "Use best in fp32" in results["recommendation"]
    finish(results, valid=False)
    assert "not valid: use" in results["recommendation"]


def test_without_accuracy_it_says_so_and_never_advises_a_peer() -> None:
    results = {"rows": [row(None, 10.0), row(None, 90.0, runtime="torch")]}
    finish(results)
    assert "net in fp32 on onnxruntime is fastest" in results["recommendation"]
    assert "not measured" in results["recommendation"]
    finish(results := {"rows": []})
    assert results["recommendation"] == "Nothing was measured."


def test_drops_are_against_the_file_it_was_made_from() -> None:
    results = {
        "rows": [
            row(0.60, 10.0, sha256="a", fp32_sha256=None),
            row(0.57, 30.0, sha256="b", fp32_sha256="a", precision="int8", runtime="openvino"),
            row(0.70, 20.0, sha256="c", fp32_sha256="unknown", precision="int8"),
        ]
    }
    finish(results)
    drops: dict[str, float | None] = {each["sha256"]: each.get("drop") for each in results["rows"]}
    assert drops["a"] == 0
    assert drops["b"] is not None
    assert abs(drops["b"] - 3) < 1e-9
    assert drops["c"] is None
    # mer-export's own FP32 file names the checkpoint it was made from, as its INT8 sibling does.
    results = {
        "rows": [
            row(0.60, 10.0, sha256="a", fp32_sha256="checkpoint"),
            row(0.57, 30.0, sha256="b", fp32_sha256="checkpoint", precision="int8", runtime="openvino"),
        ]
    }
    finish(results)
    assert sorted(round(each["drop"]) for each in results["rows"]) == [0, 3]


def test_valid_is_what_loadgen_says_of_every_row() -> None:
    good = {"SingleStream": {"valid": True}}
    for second, wanted in (({"Offline": {"valid": False}}, False), (good, True)):
        results = {"rows": [row(None, 1.0, scenarios=good), row(None, 2.0, scenarios=second)]}
        finish(results)
        assert results["valid"] is wanted


def test_too_few_songs_for_an_interval_are_said():
    results = {"rows": [row(0.6, 10.0, macro_f1_interval=None)]}
    finish(results)
    assert "(0.600, of too few songs for an interval)" in results["recommendation"]
