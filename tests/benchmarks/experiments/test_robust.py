"""Labels under changes of sound, by a network that hears nothing but level: what changes is known."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from level_network import AUDIO, write_level_network, write_noise
from merkit.benchmarks.cli import main
from merkit.benchmarks.experiments import robust
from merkit.engine.artifact import SPEC_KEY
from merkit.engine.data.clip import HEARD_KEY, heard_text
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.spec import ModelSpec
from onnx import helper

LABELS = ("loud", "quiet")
SONGS = 4  # of each label


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ "loud" above -25 dB RMS of white noise, else "quiet"."""
    return write_level_network(tmp_path_factory.mktemp("model") / "level.onnx")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """loud/ at -20 dB, quiet/ at -32 dB."""
    folder = tmp_path_factory.mktemp("songs")
    for label, level in zip(LABELS, (-20, -32), strict=True):
        for seed in range(SONGS):
            write_noise(folder / label / f"{seed}.wav", level, seed + 10 * -level)
    return folder


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["robust", *(str(argument) for argument in arguments)])


def test_what_changes_is_counted(model: Path, songs: Path, tmp_path: Path) -> None:
    report, table = tmp_path / "report.json", tmp_path / "table.md"
    names = "level+6,level-6,level+10,level-30,later1,left"
    done = bench(model, songs, "--changes", names, "--json", report, "--markdown", table)
    assert done.exit_code == 0, done.output
    assert "left channel alone: no song for it" in done.stderr
    assert "8 of 8 songs" in done.stderr
    rows = {row["name"]: row for row in json.loads(report.read_text())["rows"]}
    changed = {name: (row["changed"], row["to"]) for name, row in rows.items()}
    assert changed == {
        "unchanged": (0, {}),
        "level+6": (0, {}),  # -26 dB
        "level-6": (4, {"quiet": 4}),  # -26 dB
        "level+10": (4, {"loud": 4}),  # -22 dB
        "level-30": (4, {"quiet": 4}),
        "later1": (0, {}),
    }
    assert rows["unchanged"]["macro_f1"] == 1
    assert rows["unchanged"]["variation"] == 0
    assert rows["level-6"]["macro_f1"] == pytest.approx((0 + 2 * 4 / 12) / 2)  # all eight are quiet
    assert (rows["level-6"]["low"], rows["level-6"]["high"]) == pytest.approx((0.2152, 0.7848), abs=1e-4)
    assert 0.4 < rows["level-6"]["variation"] <= 0.55  # half of the songs go from sure to sure
    lines = table.read_text().splitlines()
    assert "| level -6 dB | level-6 | quiet (4) | 8 | 50.0 [21.5, 78.5] |" in table.read_text()
    assert len({line.count("|") for line in lines[2:]}) == 1
    assert "level -6 dB" in done.stdout
    assert bench(model, songs, "--changes", "left", "--markdown", table).exit_code == 0  # our own is replaced
    table.write_text("# Notes\n")
    done = bench(model, songs, "--changes", "left", "--markdown", table)
    assert (done.exit_code, "not of this command's making" in done.stderr) == (2, True), done.output
    assert table.read_text() == "# Notes\n"


def test_a_song_that_nothing_is_heard_of_has_changed_to_no_label(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "songs"
    folder.mkdir()
    for seed in range(3):  # peaks of -38 dB; 30 dB less is silence
        write_noise(folder / f"{seed}.wav", -50, seed)
    done = bench(model, folder, "--changes", "level-30", "--json", tmp_path / "report.json")
    assert done.exit_code == 0, done.output
    row = json.loads((tmp_path / "report.json").read_text())["rows"][1]
    assert (row["changed"], row["to"], row["variation"]) == (3, {"no label": 3}, 1)
    assert row["macro_f1"] is None
    assert "taken as songs without labels" in done.stderr


def test_only_a_label_can_change(
    model: Path, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = robust._label

    def quiet_is_no_music(*arguments: Any) -> SongLabel | None:
        song = label(*arguments)
        if song is None or song.emotion != "quiet":
            return song
        return dataclasses.replace(song, emotion=None, verdict="not_music")

    monkeypatch.setattr(robust, "_label", quiet_is_no_music)
    report = tmp_path / "report.json"
    done = bench(model, songs, "--changes", "level-6,level+10", "--json", report, "--fail-over", 50)
    assert (done.exit_code, "4 songs of songs" in done.stdout) == (3, True), done.output
    assert "; 4 more have no label as they are." in done.stdout
    values = json.loads(report.read_text())
    rows = [(row["songs"], row["changed"], row["to"]) for row in values["rows"]]
    assert rows == [(4, 0, {}), (4, 4, {"no label": 4}), (4, 0, {})]
    assert values["unlabelled"] == 4
    assert values["rows"][0]["macro_f1"] == pytest.approx(1 / 2)  # no label is a wrong answer
    done = bench(model, songs / "quiet", "--layout", "none", "--changes", "level-6", "--fail-over", 50)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    reason = "none of 4 songs gives a label as it is; the first one is not_music"
    assert (done.exit_code, errors) == (1, [f"Error: {reason}"])


@pytest.mark.parametrize("layout", ["auto", "none"])
def test_songs_without_labels(model: Path, songs: Path, tmp_path: Path, layout: str) -> None:
    data = songs if layout == "none" else tmp_path / "list.m3u"
    (tmp_path / "list.m3u").write_text("".join(f"{path}\n" for path in sorted(songs.rglob("*.wav"))))
    report = tmp_path / "report.json"
    done = bench(model, data, "--changes", "level-6", "--limit", 5, "--layout", layout, "--json", report)
    assert done.exit_code == 0, done.output
    rows = json.loads(report.read_text())["rows"]
    assert [(row["songs"], row["macro_f1"]) for row in rows] == [(5, None), (5, None)]


def test_sound_as_it_is_is_what_mer_label_hears(songs: Path) -> None:
    path, options = str(songs / "loud" / "0.wav"), WindowOptions(AUDIO)
    (heard,) = robust.log_mels_of_changes((0, path), robust._Task(options, (), 0))
    assert not isinstance(heard, str)
    assert heard is not None
    np.testing.assert_array_equal(heard.log_mels, log_mels_from_file(path, options).log_mels)


def test_the_choice_is_even_over_labels_and_the_seed_makes_it(
    model: Path, songs: Path, tmp_path: Path
) -> None:
    truths = []
    for seed in (0, 0, 1):
        artifact = robust.open_artifact(str(model))
        rng = np.random.default_rng(seed)
        chosen = robust._songs(songs, artifact, 4, "auto", rng, lambda line: None)
        assert sorted(chosen.truth or []) == [0, 0, 1, 1]
        truths.append(chosen.paths)
    assert truths[0] == truths[1] != truths[2]


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (4, 8, 0.2152, 0.7848), (1, 100, 0.0018, 0.0545)],
)
def test_wilsons_interval(count: int, total: int, low: float, high: float) -> None:
    assert robust.interval_of_share(count, total) == pytest.approx((low, high), abs=1e-4)


def test_a_file_without_sound_is_said_and_costs_only_itself(model: Path, songs: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    listed = [*sorted(songs.rglob("*.wav")), tmp_path / "broken.wav"]
    (tmp_path / "list.m3u").write_text("".join(f"{path}\n" for path in listed))
    report = tmp_path / "report.json"
    done = bench(model, tmp_path / "list.m3u", "--changes", "level-6", "--json", report)
    assert done.exit_code == 4, done.output
    assert "1 more give no audio" in done.stdout
    values = json.loads(report.read_text())
    assert [row["songs"] for row in values["rows"]] == [8, 8]
    assert "broken.wav: " in values["failed"][0]


def test_the_spelling_of_labels_and_columns_is_anyones(model: Path, songs: Path, tmp_path: Path) -> None:
    for words, note in ((("LOUD", "Quiet"), "clips on which"), (("up", "Down"), "songs without labels")):
        rows = [f"{songs}/{label}/0.wav,{word},Ann" for label, word in zip(LABELS, words, strict=True)]
        (tmp_path / "songs.csv").write_text("\n".join(["Path,Label,Artist", *rows]))
        done = bench(
            model, tmp_path / "songs.csv", "--changes", "level-6", "--json", report := tmp_path / "o.json"
        )
        assert done.exit_code == 0, done.output
        values = json.loads(report.read_text())
        assert values["rows"][0]["songs"] == 2
        assert note in values["note"]


def test_the_gate(model: Path, songs: Path) -> None:
    done = bench(model, songs, "--changes", "level-6", "--fail-over", 20)
    assert (done.exit_code, "level -6 dB: 50.0 % of labels change, over 20 %" in done.stderr) == (3, True)
    assert bench(model, songs, "--changes", "level-6", "--fail-over", 30).exit_code == 0  # may be by chance


def test_what_cannot_be_measured_is_one_line(model: Path, songs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, code, text in (
        ((model, songs, "--changes", "level-11"), 2, "unknown change level-11; there are: "),
        ((model, songs, "--changes", ""), 2, "unknown change"),
        ((model, tmp_path / "missing"), 2, "no such file or folder"),
        ((model, songs, "--layout", "strange"), 2, "unknown layout"),
        ((model, tmp_path / "empty"), 1, "no audio in"),
        (("strange", songs), 2, "strange"),
        ((model, songs, "--json", songs / "loud" / "0.wav"), 2, "which the run reads"),
    ):
        done = bench(*arguments)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert (done.exit_code, len(errors)) == (code, 1), done.output
        assert text in errors[0]
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    done = bench(model, tmp_path / "broken.wav", "--changes", "level-6")
    assert (done.exit_code, "none of 1 songs gives a label" in done.stderr) == (1, True)


def test_ctrl_c_ends_it(model: Path, songs: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.m3u"
    for number in range(400):
        (tmp_path / f"{number}.wav").symlink_to(songs / "loud" / "0.wav")
    listed.write_text("".join(f"{number}.wav\n" for number in range(400)))
    arguments = ["robust", str(model), str(listed), "--limit", "0"]
    command = [sys.executable, "-m", "merkit.benchmarks.cli", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ, cwd=tmp_path
    )
    assert process.stderr
    for line in process.stderr:
        if line.startswith("10 of"):
            break
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.splitlines()[-1] == "stopped"


def test_no_accuracy_on_clips_that_the_model_heard(model: Path, songs: Path, tmp_path: Path) -> None:
    clips = labelled_audio(songs, labels=LABELS).clips
    for heard, note in (
        (clips, "was trained on"),
        (clips[:3] + clips[SONGS : SONGS + 3], "new to the model"),
    ):
        network = onnx.load(model)
        spec = ModelSpec("level", LABELS, AUDIO, provenance={HEARD_KEY: heard_text(heard)})
        helper.set_model_props(network, {SPEC_KEY: spec.to_json()})
        onnx.save(network, tmp_path / "level.onnx")
        done = bench(tmp_path / "level.onnx", songs, "--changes", "level-6", "--json", tmp_path / "o.json")
        assert done.exit_code == 0, done.output
        values = json.loads((tmp_path / "o.json").read_text())
        assert note in values["note"]
        row = values["rows"][0]
        assert (row["songs"], row["macro_f1"]) == ((2 * SONGS, None) if heard is clips else (2, 1.0))
