"""Cross-validation's figure stands in where nothing was measured, and is said to."""

from __future__ import annotations

import csv
from typing import Any

from bench_results import read, results_values, row_values
from merkit.benchmarks.results.html import html_from_results
from merkit.benchmarks.results.ranked_figure import differing, ranked_by, unscored
from merkit.benchmarks.results.ranking import finish
from merkit.benchmarks.results.scatter import scatter
from merkit.benchmarks.results.text import csv_from_results, markdown_from_results
from merkit.benchmarks.row import Results, Row

HEARD = "songs holds clips that the model was trained on: no accuracy is claimed"


def final(model: str, speed: float, cv: float | None, **more: Any) -> dict[str, Any]:
    """A network that was trained on every clip."""
    interval = None if cv is None else [cv - 0.04, cv + 0.04]
    known = {"accuracy_note": HEARD, "cv_macro_f1": cv, "cv_macro_f1_interval": interval}
    return row_values(model, speed=speed, macro_f1=None, **{**known, "cv_note": "5 folds of songs", **more})


def table(*rows: dict[str, Any]) -> Results:
    results = read({**results_values(), "rows": list(rows), "data": None})
    finish(results)
    return results


def test_cross_validation_ranks_where_no_row_was_scored() -> None:
    results = table(
        final("right", 100.0, 0.70), final("quick", 900.0, 0.62), final("neither", 90.0, 0.65),
        final("right", 500.0, 0.70, precision="int8"),
    )  # fmt: skip
    assert ranked_by(results.rows) == "cv_macro_f1"
    assert [(row.model, row.pareto) for row in results.rows[:3]] == [
        ("right", True), ("quick", True), ("neither", False),
    ]  # fmt: skip
    # What INT8 loses of the folds' figure was not measured: it is not ranked by it, and not advised.
    assert (results.rows[3].precision, results.rows[3].pareto) == ("int8", False)
    assert "right in fp32 on onnxruntime: the fastest within a point of the best CV macro-F1 (0.700" in (
        results.recommendation
    )
    assert "95 % between 0.660 and 0.740" in results.recommendation
    chart = scatter(results.rows)
    assert chart
    assert chart["figure"] == "CV macro-F1"
    assert [point.row.precision for point in chart["strip"]] == ["int8"]
    assert all(point.vertical for point in chart["points"])


def test_a_measured_figure_is_never_ranked_beside_cross_validations() -> None:
    results = table(final("heard", 100.0, 0.9), row_values("scored", speed=50.0, macro_f1=0.5))
    assert ranked_by(results.rows) == "macro_f1"
    assert [(row.model, row.pareto) for row in results.rows] == [("scored", True), ("heard", False)]
    assert "best macro-F1 (0.500" in results.recommendation


def test_folds_of_other_data_are_not_compared() -> None:
    results = table(final("a", 100.0, 0.7), final("b", 90.0, 0.9, cv_note="5 folds of others"))
    assert ranked_by(results.rows) is None
    assert not any(row.pareto for row in results.rows)
    assert "how right any of them is was not measured" in results.recommendation
    said = markdown_from_results(results)
    assert "images/s ranks the rows" in said
    assert "Pareto front" not in said


def test_a_row_that_failed_does_not_decide() -> None:
    failed = final("b", 90.0, 0.9, cv_note="5 folds of others", status="error", reason="died")
    assert ranked_by(table(final("a", 100.0, 0.7), failed).rows) == "cv_macro_f1"


def test_why_the_column_is_empty_is_said_once_for_all_rows() -> None:
    results = table(final("a|b", 100.0, 0.7), final("c", 90.0, 0.6), final("c", 80.0, 0.6))
    line = f"No accuracy of a|b, c: {HEARD}."
    assert unscored(results) == [line]
    page, text = html_from_results(results), markdown_from_results(results)
    assert line in page
    assert line.replace("|", "\\|") in text
    for said in (page, text):
        assert "CV macro-F1: networks trained in the same way" in said
        assert "No labelled data" not in said
    assert "Pareto front of CV macro-F1 and images/s" in text
    assert "0.700 [0.660, 0.740]" in text
    rows = list(csv.DictReader(csv_from_results(results).splitlines()))
    assert [rows[0][name] for name in ("cv_macro_f1", "cv_macro_f1_high", "macro_f1")] == ["0.7", "0.74", ""]
    assert rows[0]["accuracy_note"] == HEARD


def test_without_data_nothing_is_blamed_on_the_models() -> None:
    rows = [Row("net", accuracy_note="no labelled data"), Row("peer", accuracy_note="random weights")]
    assert unscored(Results(rows=rows)) == ["No labelled data (--data): no accuracy."]
    assert unscored(read(results_values())) == []


def test_rows_of_different_songs_are_said() -> None:
    rows = [
        Row("a", accuracy=0.5, scored_songs="1"),
        Row("a", precision="int8", accuracy=0.5, scored_songs="1"),
        Row("b", accuracy=0.9, scored_songs="2"),
        Row("c"),
    ]
    assert differing(Results(rows=rows)) == [
        "Not scored on the same songs, so not to be compared in accuracy and macro-F1: a; b."
    ]
    assert differing(Results(rows=rows[:2])) == differing(Results(rows=rows[2:])) == []


def test_figures_of_different_songs_rank_nothing() -> None:
    rows = [
        row_values("easy", speed=100.0, macro_f1=0.9, scored_songs="1", cv_macro_f1=0.7, cv_note="5 folds"),
        row_values("hard", speed=500.0, macro_f1=0.6, scored_songs="2", cv_macro_f1=0.8, cv_note="5 folds"),
    ]
    results = table(*rows)
    assert ranked_by(results.rows) is None
    assert [(row.model, row.pareto) for row in results.rows] == [("hard", False), ("easy", False)]
    assert (
        "hard in fp32 on onnxruntime is fastest at 500 images/s; which is more right is not known, for "
        in (results.recommendation)
    )
    assert scatter(results.rows) is None
    assert "best" not in results.recommendation
    said = markdown_from_results(results)
    assert "images/s ranks the rows" in said
    assert "Pareto front" not in said
    assert "Images a second of every row" in html_from_results(results)
    # A file may not say which songs: nothing shows that they differ.
    results = table(rows[0], {**rows[1], "scored_songs": None})
    assert (ranked_by(results.rows), results.rows[0].model) == ("macro_f1", "easy")
