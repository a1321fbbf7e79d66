"""mer-bench without a command, and ``report``."""

from __future__ import annotations

import csv
import errno
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_results import read, results_values
from click.testing import CliRunner, Result
from merkit.benchmarks import cli
from merkit.benchmarks.cli import ResultFiles, main
from merkit.benchmarks.measure import sample_songs
from merkit.benchmarks.measure.loadgen import Length
from merkit.benchmarks.results.html import html_from_results
from merkit.benchmarks.results_file import json_from_results
from merkit.engine.errors import UsageError
from merkit.engine.text.escape import for_markdown_cell
from merkit.export.precision import fp16_from_onnx
from small_networks import small_network, write_music


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def bench(*arguments: object) -> Result:
    # One thread: on a busy machine ONNX Runtime's threads that spin for each other take seconds.
    of_table = [] if {*arguments[:1]} & {*main.commands} else ["--quick", "--threads", "1", "--logs", "logs"]
    return CliRunner().invoke(main, [*of_table, *map(str, arguments)])


def test_the_whole_table(
    networks: Path, tmp_path: Path, short: Length, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_songs, "usable_cores", lambda: 2)
    half = fp16_from_onnx(small_network()).SerializeToString()
    (networks / "half.onnx").write_bytes(half)
    (networks / "broken.onnx").write_bytes(b"nothing")
    (tmp_path / "music").mkdir()
    music = write_music(tmp_path / "music")
    done = bench(
        "--models", networks, "-m", "small", "-m", "half", "-m", "broken", "-r", "onnxruntime",
        "-r", "openvino", "--data", music, "--songs", tmp_path / "music",
        "--json", "out.json", "--csv", "out.csv", "--markdown", "out.md",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    results = json.loads(Path("out.json").read_text())
    assert (results["valid"], results["partial"], results["length"]) == (False, False, "quick")
    assert results["machine"]["cpu"]
    assert results["machine"]["gemm_gflops"] > 0
    assert results["data"]["clips"] == 8
    assert "80/20 by group" in results["data"]["note"]
    by_key = {(row["model"], row["runtime"], row["precision"]): row for row in results["rows"]}
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
    assert exact["roofline"] > 0
    assert by_key["small", "openvino", "fp32"]["macro_f1"] == exact["macro_f1"]
    assert by_key["half", "onnxruntime", "fp16"]["bytes"] < exact["bytes"]
    assert any(row["pareto"] for row in results["rows"])
    logged = Path(exact["scenarios"]["SingleStream"]["log"]) / "mlperf_log_summary.txt"
    assert "SingleStream" in logged.read_text()
    with open("out.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(results["rows"])
    assert float(lines[0]["throughput"]) == results["rows"][0]["throughput"]
    assert "| model |" in Path("out.md").read_text()
    named = f"songs/s is of 12 files in {tmp_path / 'music'}."
    assert for_markdown_cell(named) in Path("out.md").read_text().splitlines()
    assert named in done.stdout.splitlines()
    assert "not a valid measurement" in done.output
    assert results["recommendation"] in done.output.replace("\n", " ")


def _songs_that_are_measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Those that later runs are given, in the place of measuring."""
    given: list[tuple[str, ...]] = []

    def measured(cases: Any, table: Any, say: Any) -> Any:
        given.append(table.songs)
        return read(results_values())

    monkeypatch.setattr("merkit.benchmarks.measure.table.measure_table", measured)
    return given


def test_songs_a_second_is_of_generated_songs_unless_others_are_named(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of --data, whose clips may have any length: two machines are to be compared by the same songs."""
    given = _songs_that_are_measured(monkeypatch)
    (tmp_path / "music").mkdir()
    write_music(tmp_path / "music", artists=1)
    monkeypatch.setattr(sample_songs, "usable_cores", lambda: 2)
    bench("--models", networks, "-m", "small", "--data", tmp_path / "music", "--json", "out.json")
    assert not any(Path(song).is_relative_to(tmp_path / "music") for song in given[0])
    done = CliRunner().invoke(main, ["report", "out.json", "--markdown", "out.md", "--html", "out.html"])
    for text in (done.stdout, Path("out.md").read_text()):
        assert "songs/s is of 12 generated stereo MP3s of 30 s." in text.splitlines()
    assert "of 12 generated stereo MP3s of 30 s" in Path("out.html").read_text()
    assert "or generated ones" not in CliRunner().invoke(main, ["--help"]).output


@pytest.mark.parametrize(
    ("cores", "said"), [(2, "12 files, of 8 in music, by turns"), (16, "64 files, of 8 in music, by turns")]
)
def test_songs_are_enough_for_every_core_and_said_to_be_repeated(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, said: str
) -> None:
    given = _songs_that_are_measured(monkeypatch)
    monkeypatch.setattr(sample_songs, "usable_cores", lambda: cores)
    (tmp_path / "music").mkdir()
    write_music(tmp_path / "music", artists=1)
    done = bench("--models", networks, "-m", "small", "--songs", "music")
    assert len(given[0]) == int(said.split()[0])
    assert f"songs/s is of {said}." in done.stdout.splitlines()


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    for arguments, said in (
        (["--rules"], "exclude each other"),
        (["--threads", "100000"], "range 0<=x<=1024"),
        (["--models", tmp_path / "nowhere"], "no such folder"),
        (["-m", "nothing"], "unknown model nothing"),
        (["--data", tmp_path / "nowhere"], "no such file or folder"),
        (["--songs", tmp_path / "nowhere"], "no such file or folder"),
        (["--logs", __file__], "no folder can be made there"),
        (["--logs", Path(__file__) / "logs"], "no folder can be made there"),
        (["--json", tmp_path / "nowhere" / "x.json"], "there is no folder"),
    ):
        done = bench(*arguments)
        assert (done.exit_code, said in done.output, "measuring" in done.stderr) == (2, True, False), (
            done.output
        )


def test_no_artifact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merkit.benchmarks.measure.cases.known_models", dict)
    done = bench()
    assert (done.exit_code, "no artifact found" in done.output) == (1, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_keeps_what_is_done(networks: Path, tmp_path: Path, number: int, code: int) -> None:
    pytest.importorskip("mlperf_loadgen")
    (networks / "then.onnx").write_bytes((networks / "small.onnx").read_bytes())
    (tmp_path / "music").mkdir()
    write_music(tmp_path / "music", artists=1)
    command = [
        sys.executable, "-m", "merkit.benchmarks.cli", "--quick", "--threads", "1", "--models", str(networks),
        "-m", "small", "-m", "then", "-r", "onnxruntime", "-r", "openvino", "--scenario", "SingleStream",
        "--songs", "music", "--json", "out.json", "--logs", "logs",
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
    results = json.loads((tmp_path / "out.json").read_text())
    assert results["partial"]
    assert results["rows"][0]["status"] == "ok"
    assert len(results["rows"]) < 6
    assert "Stopped before its end" in output


def test_a_stop_before_the_first_row_has_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_measured", lambda *_, **options: signal.raise_signal(signal.SIGTERM))
    assert (bench().exit_code, bench().stderr) == (143, "stopped\n")


def test_the_page_of_saved_results(tmp_path: Path) -> None:
    values = results_values()
    saved, page = tmp_path / "results.json", tmp_path / "report.html"
    values |= {"length": "quick", "threads": 2}
    values["data"]["note"] = "held out"
    values["machine"]["os"] = "Linux"
    saved.write_text(json.dumps(values))
    done = CliRunner().invoke(main, ["report", str(saved), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "use best" in done.stdout
    assert page.read_text() == html_from_results(read(values))
    for file, out, reason in (
        (page, "a.html", "is no results file of mer-bench"),
        (saved, "nowhere/a.html", "there is no folder"),
    ):
        done = CliRunner().invoke(main, ["report", str(file), "--html", str(tmp_path / out)])
        assert done.exit_code in (1, 2)
        assert reason in done.stderr


def test_without_jinja2_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["--html", str(tmp_path / "a.html")])
    assert done.exit_code == 1
    assert done.stderr == "Error: --html needs the package jinja2: pip install 'merkit[bench]'\n"


def test_help_loads_no_runtime() -> None:
    code = "import sys; from merkit.benchmarks.cli import main; print('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_clips_without_audio_end_with_code_4(networks: Path, tmp_path: Path, short: Length) -> None:
    (tmp_path / "music").mkdir()
    music = write_music(tmp_path / "music")
    for file in sorted((tmp_path / "music").glob("*.wav"))[::5]:
        file.write_bytes(b"no audio")
    done = bench(
        "--models", networks, "-m", "small", "-r", "onnxruntime", "--scenario", "SingleStream",
        "--data", music, "--songs", tmp_path / "music", "--json", "o.json", "--html", "o.html",
    )  # fmt: skip
    assert done.exit_code == 4, done.output
    values = json.loads(Path("o.json").read_text())
    skipped = values["data"]["skipped"]
    assert skipped
    assert values["data"]["clips"] == sum(map(sum, values["rows"][0]["confusion"])) == 8 - len(skipped)
    for line in skipped:
        assert f"skipped {line}" in done.stderr
    assert f"{len(skipped)} more give no audio" in done.stdout


def test_songs_without_a_label_end_with_code_4(networks: Path, tmp_path: Path, short: Length) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "a.mp3").touch()
    done = bench(
        "--models", networks, "-m", "small", "-r", "onnxruntime", "--scenario", "SingleStream",
        "--songs", tmp_path / "music",
    )  # fmt: skip
    assert done.exit_code == 4, done.output
    count = sample_songs.song_count(quick=True)
    assert f"{count} of the songs gave no label; songs/s counts the others." in done.stdout
    assert "No advice: images/s was not measured (--scenario Offline)." in done.stdout


def test_files_are_whole_without_a_reader(
    tmp_path: Path, without_reader: Callable[..., int | str | None]
) -> None:
    saved = tmp_path / "results.json"
    saved.write_text(json.dumps(results_values()))
    files = [item for kind in ("csv", "markdown", "html") for item in (f"--{kind}", f"out.{kind}")]
    assert without_reader("report", saved, *files) == 141
    assert all(Path(f"out.{kind}").stat().st_size for kind in ("csv", "markdown", "html"))


def test_the_table_is_printed_if_a_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    saved = tmp_path / "results.json"
    saved.write_text(json.dumps(results_values()))
    monkeypatch.setattr("merkit.engine.files.write_whole", refuse)
    done = CliRunner().invoke(main, ["report", str(saved), "--csv", "out.csv"])
    assert (done.exit_code, done.stderr) == (1, "Error: out.csv: No space left on device\n")
    assert "use best" in done.stdout


def test_outputs_that_would_replace_something(tmp_path: Path) -> None:
    saved = tmp_path / "results.json"
    saved.write_text(text := json.dumps(results_values()))
    (tmp_path / "folder").mkdir()
    for arguments, said in (
        (["--html", str(saved)], "is what the run reads"),
        (["--csv", "../" + tmp_path.name + "/results.json"], "is what the run reads"),
        (["--csv", "a", "--html", "a"], "two outputs have the same name"),
        (["--csv", "folder"], "is a folder"),
    ):
        done = CliRunner().invoke(main, ["report", str(saved), *arguments])
        assert (done.exit_code, said in done.stderr) == (2, True), done.output
    assert saved.read_text() == text


def test_results_replace_results_alone(tmp_path: Path) -> None:
    saved = tmp_path / "results.json"
    saved.write_text(json.dumps(results_values()))
    for kind in ("csv", "html", "markdown"):
        command = ["report", str(saved), f"--{kind}", f"out.{kind}"]
        assert [CliRunner().invoke(main, command).exit_code for _ in range(2)] == [0, 0]
        Path(f"out.{kind}").write_text("path,label\n")
        done = CliRunner().invoke(main, command)
        said = f"Error: out.{kind} is there and not of this command's making: name another file\n"
        assert (done.exit_code, done.stderr, Path(f"out.{kind}").read_text()) == (2, said, "path,label\n")
    ours = ResultFiles(saved, None, None, None)
    saved.write_text(json_from_results(read(results_values())))
    ours.check()
    saved.write_text('{"machine": {}}')
    with pytest.raises(UsageError, match="not of this command's making"):
        ours.check()


def test_no_result_replaces_what_is_measured(networks: Path, tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    clips = write_music(tmp_path / "music", artists=1)
    song = clips.with_name("happy-0-0.wav")
    (tmp_path / "link.csv").hardlink_to(clips)
    (tmp_path / "net.engine").touch()
    (tmp_path / "net.json").touch()
    before = {
        path: path.read_bytes() for path in (clips, song, networks / "small.onnx", tmp_path / "net.json")
    }
    for arguments, said in (
        (["--data", clips, "--csv", tmp_path / "link.csv"], "what the run reads"),
        (["--data", clips, "--csv", song], "no result"),
        (["--data", clips.parent, "--markdown", clips], "which the run reads"),
        (["--songs", clips.parent, "--html", clips], "which the run reads"),
        (["--models", networks, "--json", networks / "small.onnx"], "no result"),
        (["--json", tmp_path / "net.json"], "the sidecar of an engine"),
        (["pipeline", clips.parent, "--json", clips], "which the run reads"),
        (["gpu", tmp_path / "net.engine", "--json", tmp_path / "net.engine"], "what the run reads"),
        (["gpu", tmp_path / "net.engine", "--json", tmp_path / "net.json"], "the sidecar of an engine"),
    ):
        done = bench(*arguments)
        assert (done.exit_code, said in done.output) == (2, True), done.output
    assert {path: path.read_bytes() for path in before} == before
