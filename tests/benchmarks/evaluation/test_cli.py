"""mer-eval as a user meets it: files, exit codes, one line for what is wrong."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from level_network import write_noise
from merkit.benchmarks.cli import main as bench
from merkit.benchmarks.evaluation.cli import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["-j", "1", *(str(argument) for argument in arguments)])


def test_files_gate_and_exit_codes(model: Path, clips: Path, tmp_path: Path) -> None:
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    done = run(model, clips, "--json", report, "--html", page, "--fail-under", 0.7)
    assert done.exit_code == 0, done.output
    values = json.loads(report.read_text())
    assert (values["accuracy"], values["name"], values["others"]) == (0.75, "level", [])
    named = {"macro_f1", "macro_f1_interval", "log_loss", "calibration_error", "confusion", "coverage"}
    assert named < values.keys()
    assert "macro-F1" in done.stdout
    assert "<h1>mer-eval" in page.read_text()
    assert run(model, clips, "--json", report, "--html", page).exit_code == 0  # our own are replaced
    for option, file in (("--json", report), ("--html", page), ("--png", tmp_path / "cover.png")):
        file.write_text('{"macro_f1": 1}')
        done = run(model, clips, option, file)
        assert (done.exit_code, "not of this command's making" in done.stderr) == (2, True), done.output
        assert file.read_text() == '{"macro_f1": 1}'
    gate = run(model, clips, "--fail-under", 0.8)
    assert (gate.exit_code, "level: macro-F1 0.7483 is under 0.8" in gate.stderr) == (3, True)
    (clips.parent / "more" / "loud").mkdir(parents=True)
    (clips.parent / "more" / "loud" / "x.wav").write_bytes(b"RIFF")
    write_noise(clips.parent / "more" / "quiet" / "y.wav", -40, 1)
    broken = CliRunner().invoke(bench, ["eval", str(model), str(clips.parent / "more"), "-j", "1"])
    assert broken.exit_code == 4, broken.output
    assert "without an emotion, which counts as wrong: 1 clips" in broken.stdout


def test_what_is_wrong_is_one_line(
    model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = tmp_path / "songs"
    write_noise(songs / "a.wav", -20, 1)
    for arguments, code, text in (
        ((model,), 2, "Missing argument"),
        ((clips, model), 2, "is a model: the labelled audio comes last"),
        ((model, tmp_path / "missing"), 2, "does not exist"),
        ((model, songs), 1, "songs"),
        ((model, songs / "a.wav"), 1, "a.wav"),
        (("nothing", clips), 2, "unknown model 'nothing'"),
        ((f"{model}@tpu", clips), 2, "unknown runtime 'tpu'"),
        ((model, model, clips), 2, "is named twice"),
        (("audiocnn", clips), 1, "others: loud, quiet; --map LABEL=OTHER makes one count as another"),
        ((model, clips, "--map", "loud"), 2, "'loud' is no LABEL=OTHER"),
        ((model, clips, "--map", "sad=loud"), 2, "no label is sad"),
        ((model, clips, "--map", "=loud=x"), 2, "no label is =loud"),
        ((model, clips, "--map", "loud=x", "--map", "loud="), 2, "loud cannot be x and left out"),
        ((model, clips, "--fail-under", 70), 2, "70"),
        ((model, clips, "--group-by", "singer"), 2, "singer"),
        ((model, clips, "--json", clips / "clips.csv"), 2, "which the run reads"),
        ((model, clips, "--json", model), 2, "what the run reads"),
        ((model, clips, "--json", tmp_path / "no" / "r.json"), 2, "there is no folder"),
    ):
        done = run(*arguments)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert (done.exit_code, len(errors)) == (code, 1), done.output
        assert text in errors[0]
    monkeypatch.setattr("merkit.benchmarks.evaluation.cli.find_spec", lambda name: None)
    done = run(model, clips, "--png", tmp_path / "x.png")
    assert done.stderr == "Error: --png needs the package matplotlib: pip install matplotlib\n"


def test_the_table_is_printed_if_a_file_cannot_be_written(
    model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("merkit.engine.files.write_whole", refuse)
    done = run(model, clips, "--json", tmp_path / "x.json")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        1,
        f"Error: {tmp_path / 'x.json'}: No space left on device",
    )
    assert "macro-F1" in done.stdout


def test_a_picture_says_which_letters_its_font_lacks(
    clips: Path, make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from merkit.engine.outputs import plot
    from merkit.training.evaluate import picture_text

    monkeypatch.setattr(plot, "_FONTS", ("DejaVu Sans",))
    picture_text._say_boxes.cache_clear()
    model = make_model(labels=("खुश", "quiet"))
    refused = run(model, clips, "--png", tmp_path / "m.jpg")
    assert (refused.exit_code, "end it in .png" in refused.stderr) == (2, True)
    done = run(model, clips, "--map", "loud=खुश", "--png", tmp_path / "m.png")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[-1].startswith("no font here has all characters of the labels")
    assert "Warning" not in done.stderr
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_it_needs_no_torch(model: Path, clips: Path) -> None:
    program = (
        "import sys\n"
        "from merkit.benchmarks.evaluation.cli import main\n"
        "import merkit.benchmarks.evaluation.evaluate, merkit.benchmarks.evaluation.page\n"
        "print({'torch', 'sklearn', 'scipy', 'matplotlib', 'jinja2'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"
