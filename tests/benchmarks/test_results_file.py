"""Results files: of mer-bench, and of people who mean no good."""

from __future__ import annotations

import codecs
import math
import os
from pathlib import Path
from typing import Any

import pytest
from bench_results import read, results_values, row_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from merkit.benchmarks.results.html import html_from_results
from merkit.benchmarks.results.ranking import finish
from merkit.benchmarks.results.text import csv_from_results, markdown_from_results, print_results
from merkit.benchmarks.results_file import json_from_results, results_from_file, results_from_json
from merkit.benchmarks.row import Machine, Results, Row, Scenario, ScoredData
from merkit.engine.errors import MerError


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    """PowerShell writes one."""
    results = Results("0.1", rows=[Row("net")])
    (tmp_path / "results.json").write_bytes(codecs.BOM_UTF8 + json_from_results(results).encode())
    assert results_from_file(tmp_path / "results.json") == results


def test_what_is_written_is_read_again() -> None:
    row = Row(
        "net",
        throughput=20.0,
        throughput_interval=(19.0, 21.0),
        confusion=[[1, 0], [2, 3]],
        stages={"decode": 1.5},
        scenarios={"Offline": Scenario(True, 3, 0.5, 20.0, log="logs", errors=["slow"])},
    )
    results = Results(
        "0.1",
        "today",
        ["mer-bench"],
        "normal",
        valid=True,
        threads=2,
        machine=Machine("a CPU", ["avx2"], 2, gpu={"name": "a GPU"}),
        data=ScoredData("set", 3, ["happy", "sad"], "held out"),
        rows=[row, Row("gone", status="skipped", reason="no GPU")],
        recommendation="use net",
    )
    assert results_from_json(json_from_results(results)) == results


def test_a_figure_that_is_not_finite_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_from_results(Results(rows=[Row(p50=math.nan)]))


def test_missing_keys_are_what_was_not_measured() -> None:
    (row,) = read({"machine": {}, "rows": [{"model": "net", "status": "ok"}]}).rows
    assert row == Row("net")
    (row,) = read({"machine": {}, "rows": [{}]}).rows
    assert (row.model, row.status) == ("-", "error")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("p50", "fast", None),
        ("p50", True, None),
        ("p50", math.nan, None),
        ("p50", -math.inf, None),
        ("p50", 10**400, None),
        ("p50", 3, 3.0),
        ("macs", 6e7, 60_000_000),
        ("macs", 0.5, None),
        ("macs", -1, None),
        ("model", 5, "-"),
        ("model", "\ud800", "\\ud800"),
        ("reason", ["x"], None),
        ("status", "fine", "error"),
        ("status", [], "error"),
        ("pareto", "yes", False),
        ("labels", ["happy", 3], []),
        ("labels", "happy", []),
        ("latency_ms", [1.0, None, 2], []),
        ("latency_ms", [1.0, 2], [1.0, 2.0]),
        ("macro_f1_interval", [None, 1], None),
        ("macro_f1_interval", [0, 1, 2], None),
        ("macro_f1_interval", [0, 1], (0.0, 1.0)),
        ("confusion", [[1, 2], [3]], [[1, 2], [3]]),
        ("confusion", [[1, "2"]], None),
        ("confusion", [1], None),
        ("stages", {"decode": 1, "mel": "long"}, None),
        ("stages", {"decode": 1, "\udc00": 2}, {"decode": 1.0, "\\udc00": 2.0}),
        ("stages", 3, None),
        ("scenarios", {"Offline": 3}, {"Offline": Scenario()}),
    ],
)
def test_a_value_of_another_type_was_not_measured(key: str, value: Any, expected: Any) -> None:
    (row,) = read({"machine": {}, "rows": [{"status": "ok", key: value}]}).rows
    assert getattr(row, key) == expected
    assert type(getattr(row, key)) is type(expected)


@pytest.mark.parametrize(
    "strange",
    [
        "", "null", "[]", "{", "[" * 100_000, '"rows"', "{}", '{"rows": []}', '{"rows": 3, "machine": {}}',
        '{"rows": [1], "machine": {}}', '{"rows": [], "machine": []}',
    ],
)  # fmt: skip
def test_what_is_no_results_is_refused(strange: str, tmp_path: Path) -> None:
    with pytest.raises(MerError, match="no results of mer-bench"):
        results_from_json(strange)
    (tmp_path / "strange.json").write_text(strange)
    with pytest.raises(MerError, match=r"strange\.json is no results file"):
        results_from_file(tmp_path / "strange.json")


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    for name in ("nowhere.json", "bytes.json", "."):
        with pytest.raises(MerError, match="is no results file of mer-bench"):
            results_from_file(tmp_path / name)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
numbers = st.floats() | st.sampled_from([0, -1, 1e-320, 5e-324, 1e15, 1e308, 10**30])


@given(
    st.dictionaries(st.sampled_from(sorted(row_values("net"))), anything | numbers, max_size=6),
    st.dictionaries(st.sampled_from(sorted(results_values()["machine"])), anything, max_size=3),
    st.dictionaries(st.sampled_from(["data", "command", "made", "recommendation", "valid"]), anything),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_nothing_in_a_file_ends_in_a_traceback(
    capsys: pytest.CaptureFixture[str], row: dict[str, Any], machine: dict[str, Any], other: dict[str, Any]
) -> None:
    values = results_values()
    for known in values["rows"][:3]:
        known.update(row)
    values["machine"].update(machine)
    results = read({**values, **other})
    for text in (csv_from_results(results), markdown_from_results(results), html_from_results(results)):
        text.encode()  # what no file could hold
    print_results(results)
    assert capsys.readouterr().out
    finish(results)
    json_from_results(results)


def test_no_file_is_waited_for_or_read_without_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zeros.json").symlink_to("/dev/zero")
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(1 << 40)
    for name in ("pipe.json", "zeros.json", "sparse.json"):
        with pytest.raises(MerError, match="no results file"):
            results_from_file(tmp_path / name)


def test_a_text_of_any_length_is_cut() -> None:
    values = results_values()
    values["rows"][0]["model"] = "m" * 100_000
    assert len(read(values).rows[0].model) == 1_000


@pytest.mark.parametrize("wrong", [5.0, -1.0, 1.0001])
def test_a_share_that_is_none_was_not_measured(wrong: float) -> None:
    shares = {"accuracy": wrong, "macro_f1": wrong, "cv_macro_f1": wrong}
    results = read({**results_values(), "rows": [{**row_values("net", speed=10.0), **shares}]})
    row = results.rows[0]
    assert (row.accuracy, row.macro_f1, row.cv_macro_f1) == (None, None, None)
    assert row.throughput
    finish(results)
    assert "net" in html_from_results(results)
