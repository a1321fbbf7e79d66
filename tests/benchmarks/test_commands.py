"""mer-bench's commands beside the table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from audio_files import noise, write_audio
from bench_results import results_values
from click.testing import CliRunner, Result
from merkit.benchmarks.cli import main
from merkit.benchmarks.experiments import compare, scale


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def results(path: Path, images_per_s: float, **row: object) -> Path:
    """A results file with one row, of the fewest keys that can be compared."""
    known = {"model": "net", "runtime": "onnxruntime", "precision": "fp32", "status": "ok"}
    samples = [images_per_s * noise for noise in (0.98, 1.0, 1.01, 0.99, 1.02)]
    path.write_text(
        json.dumps(
            {
                "rows": [{**known, "throughput_samples": samples, **row}],
                "machine": {"cpu": "a"},
                "valid": True,
            }
        )
    )
    return path


def test_two_results_files_and_the_gate(tmp_path: Path) -> None:
    before = results(tmp_path / "before.json", 100.0)
    slower, same = results(tmp_path / "slower.json", 80.0), results(tmp_path / "same.json", 99.0)
    done = bench("compare", before, slower, "--fail-under", "0.95")
    assert done.exit_code == 3
    assert "0.800x" in done.output
    assert "is 0.800x, under 0.95" in done.output
    assert "warning: the intervals are of one run each" in done.stderr  # between which equal code moves
    done = bench("compare", before, slower)
    assert (done.exit_code, done.stderr) == (0, "")
    done = bench("compare", before, same, "--fail-under", "0.95")
    assert done.exit_code == 0


def test_results_that_cannot_be_compared(tmp_path: Path, tiny_model: Path) -> None:
    before = results(tmp_path / "before.json", 100.0)
    other = results(tmp_path / "other.json", 100.0, model="another")
    done = bench("compare", before, other)
    assert (done.exit_code, "no measured row in common" in done.output) == (1, True)
    (tmp_path / "strange.json").write_text("[]")
    done = bench("compare", before, tmp_path / "strange.json")
    assert (done.exit_code, "no results file" in done.output) == (1, True)
    assert bench("compare", before, tiny_model).exit_code == 2
    # A ratio of them is no number, which no gate refuses; a bootstrap of the last would take 16 GB.
    for samples in ([0.0], [-1.0], [5.0, 0.0], [1.0] * 1_000_000):
        values = json.loads(before.read_text())
        values["rows"][0]["throughput_samples"] = samples
        (tmp_path / "strange.json").write_text(json.dumps(values))
        done = bench("compare", before, tmp_path / "strange.json", "--fail-under", "0.95")
        assert (done.exit_code, "no measured row in common" in done.output) == (1, True)


def test_the_medians_of_both_models_are_shown_in_ms(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [(0.002, 0.005), (0.001, 0.004), (0.009, 0.003)]
    monkeypatch.setattr(
        compare, "compare_models", lambda *_: (compare.Ratio("b against a", 0.5, 0.25, 2), times)
    )
    assert bench("compare", "a", "b").stdout.splitlines() == [
        "     2.000 ms a call of 1  a",
        "     4.000 ms a call of 1  b",
        "     0.500x [0.250, 2.000]  b against a",
    ]


def test_threads_are_at_most_as_many_as_a_machine_bears(tiny_model: Path) -> None:
    done = bench("compare", tiny_model, tiny_model, "--pairs", "5", "--threads", "100000")
    assert (done.exit_code, "range 0<=x<=1024" in done.stderr) == (2, True), done.output


def test_options_without_an_effect_are_refused(tmp_path: Path) -> None:
    file, song = (
        results(tmp_path / "a.json", 100.0),
        write_audio(tmp_path / "a.wav", noise(2, 16_000), 16_000),
    )
    for arguments, reason in (
        (["compare", file, file, "--batch", "8"], "--batch goes with two models"),
        (["compare", file, file, "--pairs", "100"], "--pairs goes with two models"),
        (["compare", file, file, "--threads", "3"], "--threads goes with two models"),
        (["scale", "--workers", "3"], "--workers goes with --cores"),
        (["scale", "--song-ms", "4"], "--song-ms goes with --cores"),
        (["scale", "--cores", "--few", "5"], "--few goes without --cores"),
        (["scale", "--cores", "--many", "2"], "--many goes without --cores"),
        (["--quick", "--layout", "nonsense"], "--layout goes with --data"),
        (["formats", song, "--seconds", "3"], "--seconds goes without FILE"),
        (["--json", tmp_path / "x", "report", file], "--json stands before report, where it does nothing"),
        (["--threads", "1", "compare", file, file], "--threads stands before compare"),
    ):
        done = bench(*arguments)
        assert (done.exit_code, reason in done.stderr) == (2, True), done.output


def test_a_gate_sees_every_row(tmp_path: Path) -> None:
    """A bundled network and one of the same name with random weights are two rows."""
    before, after = results(tmp_path / "a.json", 100.0), results(tmp_path / "b.json", 80.0)
    for path, rate in ((before, 100.0), (after, 100.0)):
        values = json.loads(path.read_text())
        values["rows"].append({**values["rows"][0], "source": "untrained", "throughput_samples": [rate] * 5})
        path.write_text(json.dumps(values))
    done = bench("compare", before, after, "--fail-under", "0.95")
    assert (done.exit_code, "Error: net onnxruntime fp32 is 0.800x" in done.stderr) == (3, True)
    assert "1.000x [1.000, 1.000]  net (untrained) onnxruntime fp32" in done.stdout
    values = json.loads(after.read_text())
    values["rows"].append(values["rows"][0])
    after.write_text(json.dumps(values))
    done = bench("compare", before, after, "--fail-under", "0.95")
    assert (done.exit_code, "b.json has two rows net onnxruntime fp32" in done.stderr) == (1, True)


def test_files_are_whole_without_a_reader(
    tmp_path: Path, tiny_model: Path, without_reader: Callable[..., int | str | None]
) -> None:
    """Lines come after the files, so that what was measured is not lost."""
    before, after = results(tmp_path / "before.json", 100.0), results(tmp_path / "after.json", 100.0)
    assert without_reader("compare", before, after) == 141
    (tmp_path / "music").mkdir()
    song, table = write_audio(tmp_path / "music" / "a.wav", noise(2, 16_000), 16_000), tmp_path / "t.md"
    assert without_reader("formats", song, "--rounds", 1, "--songs", 0, "--markdown", table) == 141
    assert "a.wav" in table.read_text()
    common = (song.parent, "--json", tmp_path / "p.json")
    turns = ("--model", tiny_model, "--songs", 1, "--rounds", 1, "--no-paper")
    assert without_reader("pipeline", *common, *turns) == 141
    assert json.loads((tmp_path / "p.json").read_text())["files"] == 1
    common = (song.parent, "--json", tmp_path / "r.json", "--markdown", tmp_path / "r.md")
    assert without_reader("robust", tiny_model, *common, "--changes", "level-10") == 141
    assert len(json.loads((tmp_path / "r.json").read_text())["rows"]) == 2
    assert "level-10" in (tmp_path / "r.md").read_text()


def test_what_makes_results_hard_to_compare_is_said(tmp_path: Path) -> None:
    before, after = results(tmp_path / "a.json", 100.0), results(tmp_path / "b.json", 100.0)
    after.write_text(after.read_text().replace('"cpu": "a"', '"cpu": "b"'))
    assert "machines differ in cpu: a and b" in bench("compare", before, after).output
    values = json.loads(before.read_text())
    before.write_text(json.dumps({**values, "threads": 1, "length": "rules"}))
    after.write_text(json.dumps({**values, "threads": 2, "length": "normal"}))
    assert bench("compare", before, after).stderr.splitlines() == [
        "warning: the runs differ in threads: 1 and 2",
        "warning: the runs differ in length: rules and normal",
    ]
    for first, second, said in (
        ("1" * 64, "1" * 64, ""),
        ("1" * 64, None, ""),  # of a version that did not say
        ("1" * 64, "2" * 64, "warning: net onnxruntime fp32 is of two files: 11111111 and 22222222\n"),
    ):
        files = results(before, 100.0, sha256=first), results(after, 100.0, sha256=second)
        assert bench("compare", *files).stderr == said
    values["rows"] += results_values()["rows"]
    after.write_text(json.dumps({**values, "valid": False}))
    done = bench("compare", before, after)
    assert "b.json is no valid measurement" in done.output
    assert "quick onnxruntime fp32 is measured in one of them only" in done.output
    assert "1.000x" in done.output


def test_a_catalogues_length() -> None:
    done = bench("scale", "--few", "20", "--many", "40")
    assert done.exit_code == 0, done.output
    assert "too few files to tell what each further one takes: 1,000 more are needed" in done.output
    assert "rows/s" in done.output
    assert bench("scale", "--few", "40", "--many", "20").exit_code == 2


def test_the_pace_over_many_is_against_that_over_few(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = (scale.Run(10, 2.0, 1.0, 1 << 20), scale.Run(2_000, 100.0, 1.0, 1 << 20))  # 5 and 20 rows/s
    monkeypatch.setattr(scale, "compare_lengths", lambda *_: runs)
    assert bench("scale").stdout.splitlines()[-1] == "rows/s over many, against over few: 4.00"


def test_feeding_a_gpu_needs_none() -> None:
    done = bench("gpu", "--feed", "--seconds", "0.05")
    assert done.exit_code == 0, done.output
    first, second, third = done.output.splitlines()
    assert re.fullmatch(r"\d+\.\d\d ms of the parent's CPU a song \(three windows\)", first)
    assert re.fullmatch(r"[\d,]+ windows/s into one process, from \d+ that make songs up", second)
    assert third.endswith("every checksum is right")
    assert "--seconds goes with" in bench("gpu", "--paper", "--seconds", "1").stderr
    for idle, reason in (
        ([__file__], "--feed stands alone"),
        (["--paper"], "--paper stands alone"),
        (["--json", "x.json"], "--json goes with ENGINE"),
        (["--decode-ms", "3"], "--decode-ms goes with --paper"),
    ):
        refused = bench("gpu", "--feed", *idle)
        assert (refused.exit_code, reason in refused.stderr) == (2, True), refused.output


def test_what_int16_changes(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.flac", noise(12, 16_000), 16_000)
    (tmp_path / "bad.flac").write_bytes(b"no sound")
    done = bench("gpu", "--int16", tmp_path)
    assert done.exit_code == 4
    assert "bad.flac: " in done.output
    line = r"1 songs from int16: 0 with another emotion, 0 with another verdict; probabilities differ by "
    assert (change := re.search(line + r"(0\.00\d+) at most", done.output)), done.output
    assert float(change[1]) < 0.002


def test_gpu_without_a_gpu(tmp_path: Path) -> None:
    assert bench("gpu").exit_code == 2
    done = bench("gpu", __file__, "--json", tmp_path / "x.json")
    assert done.exit_code == 1
    assert "Error: " in done.output
    assert not (tmp_path / "x.json").exists()
