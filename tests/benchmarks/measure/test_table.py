from pathlib import Path

from merkit.benchmarks.measure.cases import Case
from merkit.benchmarks.measure.loadgen import Length
from merkit.benchmarks.measure.table import TableOptions, measure_table
from merkit.benchmarks.results.text import markdown_from_results


def case(networks: Path, runtime: str = "onnxruntime", reason: str | None = None) -> Case:
    return Case("small", networks / "small.onnx", "folder", runtime, "fp32", reason)


def test_one_failure_stops_nothing(networks: Path, tmp_path: Path, short: Length) -> None:
    chosen = [case(networks, "nothing"), case(networks), case(networks, "openvino", "is not installed")]
    options = TableOptions(short, tmp_path / "logs", scenarios=("SingleStream",))
    said: list[str] = []
    results = measure_table(chosen, options, said.append)
    good, bad, skipped = results.rows
    assert (good.status, bad.status, skipped.status) == ("ok", "error", "skipped")
    assert "no runtime 'nothing'" in str(bad.reason)
    assert good.throughput is None  # Offline was not asked for
    assert (good.p50 or 0) > 0
    assert "no runtime" in markdown_from_results(results)
    # What the file says is known of every row.
    assert good.params == bad.params == skipped.params
    assert (good.params or 0) > 0
    assert good.sha256 == bad.sha256 == skipped.sha256
    assert good.accuracy_note == "no labelled data"
    assert not results.partial
    assert any(line.startswith("3 of 3: small openvino fp32") for line in said)
    assert "  skipped: is not installed" in said
