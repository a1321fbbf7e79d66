import hashlib
from pathlib import Path

from merkit.benchmarks.measure.cases import Case
from merkit.benchmarks.measure.loadgen import Length
from merkit.benchmarks.measure.table import TableOptions, measure_table
from merkit.benchmarks.results.text import markdown_from_results
from merkit.benchmarks.results_file import json_from_results, results_from_json
from small_networks import write_music, write_network


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


def test_a_network_that_heard_the_data_is_measured_for_speed_and_has_the_folds_figure(
    tmp_path: Path, short: Length
) -> None:
    music = write_music(tmp_path)
    contents = [path.read_bytes() for path in tmp_path.glob("*.wav")]
    heard = " ".join(sorted(hashlib.sha256(content).hexdigest()[:16] for content in contents))
    write_network(
        tmp_path / "small.onnx",
        test_clips=[],
        heard_clips=heard,
        measured_by="cross-validation",
        metrics={"macro_f1": 0.7, "macro_f1_interval": [0.6, 0.8], "songs": 40, "by_fold": [0.6, 0.8]},
        data={"name": "clips"},
    )
    options = TableOptions(short, tmp_path / "logs", scenarios=("Offline",), data=music)
    results = measure_table([case(tmp_path)], options, lambda line: None)
    (row,) = results.rows
    assert row.status == "ok"
    assert row.throughput
    assert row.accuracy is row.macro_f1 is row.confusion is None
    assert (row.cv_macro_f1, row.cv_macro_f1_interval) == (0.7, (0.6, 0.8))
    assert row.cv_note == "2 folds of clips, 40 songs"
    assert row.pareto
    text = markdown_from_results(results)
    assert "No accuracy of small: clips.csv holds clips that the model was trained on" in text
    assert results_from_json(json_from_results(results)).rows == [row]
