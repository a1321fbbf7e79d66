import csv
import io
import re
import sys
from pathlib import Path

import pytest
from bench_results import read, results_values
from merkit.benchmarks.results.text import csv_from_results, legend, markdown_from_results, print_results
from merkit.benchmarks.row import Results, Row
from merkit.engine.errors import MerError


def test_csv_cells_cannot_be_formulas() -> None:
    row = Row("=1+1", status="error", reason="-x", throughput_interval=(1, 2))
    header, line = csv_from_results(Results(rows=[row])).splitlines()
    cells = dict(zip(header.split(","), next(csv.reader([line])), strict=True))
    assert cells["model"] == "'=1+1"
    assert cells["reason"] == "'-x"
    assert (cells["throughput_low"], cells["throughput_high"], cells["p50_low"]) == ("1", "2", "")


def test_markdown_cells_stay_cells() -> None:
    values = results_values()
    values["rows"][0]["model"] = "a|b<i>"
    values["rows"][4]["reason"] = "<b>\nno"
    values["machine"]["cpu"] = "<script>"
    values["command"] = ["mer-bench", "a`\n\n<script>"]
    text = markdown_from_results(read(values))
    assert text.startswith("`mer-bench 'a' <script>'`\n")
    values["command"] = ["mer-bench", "\x1b[2J\u202e"]
    assert markdown_from_results(read(values)).startswith("`mer-bench '\\x1b[2J\\u202e'`\n")
    text = text.partition("\n")[2]
    assert "| * | a\\|b&lt;i> | openvino | fp32 |" in text
    assert "- gone tensorrt fp16: &lt;b> no" in text
    assert "<script>" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1


def test_the_terminal_gets_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    values = results_values()
    values["rows"][0]["model"] = "red\x1b[31m[bold]"
    values["rows"][4]["reason"] = "two\nlines"
    print_results(read(values))
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "red\\x1b[31m[bold]" in output
    assert "skipped: gone tensorrt fp16: two\\nlines" in output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_stdout_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        open("/dev/full", "wb", buffering=0) as full,
        io.TextIOWrapper(full, write_through=True) as stdout,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", stdout)
        with pytest.raises(MerError, match="standard output cannot be written: No space left"):
            print_results(read(results_values()))


def test_the_table_fits_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "150"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    print_results(read(results_values()))
    output = capsys.readouterr().out
    assert "\x1b[1m" in output
    assert max(len(re.sub("\x1b.*?m", "", line)) for line in output.split("\n")) == 150


def test_the_legend_says_what_is_wrong_with_a_table() -> None:
    assert "Quick: not a valid measurement" in legend(Results(length="quick"))
    assert "does not call all of it valid" in legend(Results(length="normal"))
    assert "valid" not in legend(Results(length="normal", valid=True))
    assert "Stopped before its end" in legend(Results(partial=True))
