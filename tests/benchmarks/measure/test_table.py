import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from merkit.benchmarks.cli import main
from merkit.benchmarks.measure import row_measurement as rows
from merkit.benchmarks.measure.cases import Case, find_cases, precision_of
from merkit.benchmarks.measure.loadgen import QUICK
from merkit.benchmarks.measure.row_measurement import RowOptions, measure_in_child
from merkit.benchmarks.measure.table import TableOptions, measure_table
from merkit.benchmarks.results.text import csv_from_results, markdown_from_results
from merkit.engine.errors import MerError, UsageError
from merkit.export.precision import fp16_from_onnx
from small_networks import small_network, write_music, write_network


@pytest.fixture(autouse=True)
def _loadgen() -> None:
    pytest.importorskip("mlperf_loadgen")


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    folder = tmp_path / "networks"
    folder.mkdir()
    write_network(folder / "small.onnx")
    return folder


def bench(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["--quick", "--logs", "logs", *map(str, arguments)])


def test_the_whole_table(networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    half = fp16_from_onnx(small_network()).SerializeToString()
    (networks / "half.onnx").write_bytes(half)
    (networks / "broken.onnx").write_bytes(b"nothing")
    (tmp_path / "music").mkdir()
    music = write_music(tmp_path / "music")
    done = bench(
        "--models", networks, "-m", "small", "-m", "half", "-m", "broken", "-r", "onnxruntime",
        "-r", "openvino", "--data", music, "--json", "out.json", "--csv", "out.csv", "--markdown", "out.md",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(Path("out.json").read_text())
    assert (found["valid"], found["partial"], found["length"]) == (False, False, "quick")
    assert found["machine"]["cpu"]
    assert found["machine"]["gemm_gflops"] > 0
    assert found["data"]["clips"] == 8
    assert "80/20 by group" in found["data"]["note"]
    by_key = {(row["model"], row["runtime"], row["precision"]): row for row in found["rows"]}
    assert by_key["broken", "-", "-"]["status"] == "error"
    assert "not an ONNX file" in by_key["broken", "-", "-"]["reason"]
    bf16 = by_key["small", "openvino", "bf16"]
    assert bf16["status"] == "ok" or "bf16" in bf16["reason"]
    exact = by_key["small", "onnxruntime", "fp32"]
    assert exact["throughput"] > 0
    assert exact["songs_per_s"] > 0
    assert exact["stages"]["decode"] > 0
    assert exact["peak_mib"] > 20
    assert exact["throughput_interval"][0] <= exact["throughput_interval"][1]
    assert sum(map(sum, exact["confusion"])) == 8
    assert exact["accuracy"] == sum(exact["confusion"][i][i] for i in range(4)) / 8
    assert exact["macro_f1_interval"] is exact["accuracy_interval"] is None  # eight clips support none
    assert exact["drop"] == 0
    assert by_key["small", "openvino", "fp32"]["macro_f1"] == exact["macro_f1"]
    assert by_key["half", "onnxruntime", "fp16"]["bytes"] < exact["bytes"]
    assert any(row["pareto"] for row in found["rows"])
    logged = Path(exact["scenarios"]["SingleStream"]["log"]) / "mlperf_log_summary.txt"
    assert "SingleStream" in logged.read_text()
    with open("out.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(found["rows"])
    assert float(lines[0]["throughput"]) == found["rows"][0]["throughput"]
    assert "| model |" in Path("out.md").read_text()
    assert "not a valid measurement" in done.output
    assert found["recommendation"] in done.output.replace("\n", " ")


def test_data_of_other_labels_is_said_in_the_row(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    music = write_music(tmp_path)
    music.write_text(music.read_text().replace(",happy,", ",elated,"))
    done = bench(
        "--models", networks, "-m", "small", "-r", "onnxruntime", "--data", music, "--json", "o.json"
    )
    assert done.exit_code == 0, done.output
    (row,) = json.loads(Path("o.json").read_text())["rows"]
    assert row["accuracy"] is None
    assert "not the model's: elated" in row["accuracy_note"]
    assert row["throughput"] > 0


def test_what_cannot_be_asked_for(networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, said in (
        (["--rules"], "exclude each other"),
        (["--models", tmp_path / "nowhere"], "no such folder"),
        (["-m", "nothing"], "unknown model nothing"),
        (["--data", tmp_path / "nowhere"], "no such file or folder"),
        (["--json", tmp_path / "nowhere" / "x.json"], "there is no folder"),
    ):
        done = bench(*arguments)
        assert (done.exit_code, said in done.output) == (2, True), done.output


def test_no_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("merkit.benchmarks.measure.cases.known_models", dict)
    done = bench()
    assert (done.exit_code, "no artifact found" in done.output) == (1, True)


def test_a_row_for_every_runtime_and_precision(networks: Path, tmp_path: Path) -> None:
    (networks / "small_fp16.onnx").write_bytes(fp16_from_onnx(small_network()).SerializeToString())
    found = find_cases([networks], untrained=False, quick=True)
    kinds = {(each.model, each.source, each.runtime, each.precision): each.reason for each in found}
    for bundled in ("audiocnn", "mobilenetv3", "squeezenet"):
        assert kinds[bundled, "bundled", "onnxruntime", "fp32"] is None
        assert (bundled, "bundled", "openvino", "bf16") in kinds
        assert (bundled, "bundled", "torch", "fp32") in kinds
    assert ("small_fp16", "folder", "onnxruntime", "fp16") in kinds
    assert ("small_fp16", "folder", "torch", "fp16") not in kinds  # a peer is the FP32 network
    assert "no backbone small" in str(kinds["small", "folder", "torch", "fp32"])
    assert "--quick" in str(kinds["mobilenetv3", "bundled", "torch.compile", "fp32"])
    assert not any(runtime == "tensorrt" for _, _, runtime, _ in kinds)  # no .engine there
    assert precision_of((networks / "small_fp16.onnx").read_bytes()) == "fp16"
    with pytest.raises(UsageError, match="unknown model"):
        find_cases([], False, only=["small"])


def case(networks: Path, runtime: str = "onnxruntime") -> Case:
    return Case("small", networks / "small.onnx", "folder", runtime, "fp32")


def test_a_dying_process_is_a_reason(networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_work", die)
    options = RowOptions(QUICK, 1, ("SingleStream",), tmp_path / "logs")
    with pytest.raises(MerError, match=r"process died \(SIGKILL"):
        measure_in_child(case(networks), options)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_one_failure_stops_nothing(networks: Path, tmp_path: Path) -> None:
    chosen = [case(networks, "nothing"), case(networks)]
    options = TableOptions(QUICK, tmp_path / "logs", scenarios=("SingleStream",))
    found = measure_table(chosen, options, lambda line: None)
    good, bad = found["rows"]
    assert (good["status"], bad["status"]) == ("ok", "error")
    assert "no runtime 'nothing'" in bad["reason"]
    assert good["throughput"] is None  # Offline was not asked for
    assert good["p50"] > 0
    assert "no runtime" in markdown_from_results(found)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_keeps_what_is_done(networks: Path, tmp_path: Path, number: int, code: int) -> None:
    (networks / "then.onnx").write_bytes((networks / "small.onnx").read_bytes())
    command = [
        sys.executable, "-m", "merkit.benchmarks.cli", "--quick", "--models", str(networks), "-m", "small",
        "-m", "then", "-r", "onnxruntime", "-r", "openvino", "--json", "out.json", "--logs", "logs",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("2 of"):
            break
    time.sleep(0.1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["partial"]
    assert found["rows"][0]["status"] == "ok"
    assert len(found["rows"]) < 6
    assert "Stopped before its end" in output


def test_csv_cells_cannot_be_formulas() -> None:
    row = {"model": "=1+1", "status": "error", "reason": "-x", "pareto": False, "throughput_interval": [1, 2]}
    header, line = csv_from_results({"rows": [row]}).splitlines()
    cells = dict(zip(header.split(","), next(csv.reader([line])), strict=True))
    assert cells["model"] == "'=1+1"
    assert cells["reason"] == "'-x"
    assert (cells["throughput_low"], cells["throughput_high"], cells["p50_low"]) == ("1", "2", "")
