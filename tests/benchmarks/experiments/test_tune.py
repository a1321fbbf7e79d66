"""What earns a runtime its place in the table, and what the table says then."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from level_network import write_noise
from merkit.benchmarks.cli import main
from merkit.benchmarks.experiments import tune as tuning
from merkit.benchmarks.experiments.compare import Ratio
from merkit.benchmarks.experiments.tune import Tried, labels_by, row_from_tried, tune, write_row
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import MerError
from merkit.engine.runtimes.choice import own_table, rows_of
from merkit.export.song_log_mels import SongLogMels


def tried(name: str = "openvino", changed: int = 0, ratio: float = 1.2, low: float = 1.1) -> Tried:
    return Tried(name, changed, 720, 40.0, Ratio(name, ratio, low, ratio + 0.1))


@pytest.mark.parametrize(
    ("one", "better"),
    [
        (tried(), True),
        (tried(changed=7), True),  # of 720: 0.97 %
        (tried(changed=8), False),  # 1.1 %
        (tried(ratio=1.0525, low=1.03), False),  # 4.99 % less: too little
        (tried(ratio=1.0527, low=1.03), True),
        (tried(ratio=1.2, low=0.9), False),  # perhaps chance
    ],
)
def test_what_is_better(one: Tried, better: bool) -> None:
    assert one.is_better is better


def test_a_line_says_how_much_cpu() -> None:
    line = Tried("openvino", 3, 720, 40.0, Ratio("openvino", 1.25, 1.0, 2.0)).line()
    assert line == (
        "openvino: 40.0 ms CPU a song, 0.800 times onnxruntime's [0.500, 1.000]; 3 of 720 labels change"
    )


def test_the_row_of_a_table(tiny_model: Path, tmp_path: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    all_tried = [tried("openvino", ratio=1.1, low=1.05), tried("openvino-bf16", ratio=1.4)]
    row = row_from_tried(artifact, all_tried)
    assert row["faster"] == ["openvino-bf16", "openvino"]
    table = tmp_path / "new" / "table.json"
    write_row(row, table)
    write_row({**row, "sha256": "another"}, table)
    write_row(row_from_tried(artifact, [tried(changed=99)]), table)  # measured anew
    first, second = rows_of(table)
    assert (first["sha256"], second["sha256"]) == ("another", artifact.sha256)
    assert second["faster"] == []
    assert list(second["tried"]) == ["openvino"]


def test_labels_by_a_runtime(tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    audio = artifact.spec.audio
    windows = np.random.default_rng(0).standard_normal((6, 1, audio.n_mels, audio.frames)).astype(np.float32)
    songs = SongLogMels(windows, (np.arange(0, 2), np.arange(2, 6)))
    labels = labels_by(artifact, "onnxruntime", songs)
    assert len(labels) == 2
    assert set(labels) <= set(artifact.spec.labels)
    assert labels_by(artifact, "null", songs) == [artifact.spec.labels[0]] * 2  # all logits are equal


def test_too_few_songs(tmp_path: Path, tiny_model: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(b"")
    with pytest.raises(MerError, match="has 3 songs; to tell one label in a hundred takes 100"):
        tune(str(tiny_model), tmp_path)


def test_only_songs_with_a_label_tell_whether_it_changes(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_noise(tmp_path / f"{number}.wav", -20, 0, 1.0) for number in range(120)]
    songs = SimpleNamespace(paths=paths)
    monkeypatch.setattr(tuning, "log_mels_from_songs", lambda *_: songs)
    monkeypatch.setattr(tuning, "runtimes_here", lambda: ["onnxruntime", "other"])
    monkeypatch.setattr(tuning, "_cpu_seconds", lambda *_: {"onnxruntime": [2.0, 2.0], "other": [1.0, 1.0]})

    def labels(labelled: int) -> list[str | None]:
        return ["happy"] * labelled + [None] * (120 - labelled)

    given = {"onnxruntime": labels(110), "other": labels(108)}
    monkeypatch.setattr(tuning, "labels_by", lambda _, name, __: given[name])
    _, (one,) = tune(str(tiny_model), tmp_path)
    assert (one.changed, one.songs, one.is_better) == (2, 110, False)
    given["onnxruntime"] = labels(99)
    with pytest.raises(MerError, match="only 99 of 120 songs get a label; it takes 100"):
        tune(str(tiny_model), tmp_path)


def test_whole_commands_of_each_runtime_are_compared_by_their_cpu(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the CPU tells the runtimes apart here: each command has the same wall time and peak."""
    cpu_s, commands = {"onnxruntime": 24.0, "other": 12.0}, []

    def timed(command: Sequence[str]) -> tuple[float, float, int]:
        assert len(list(Path(command[command.index("--model") + 2]).iterdir())) == 120
        commands.append(command[command.index("--runtime") + 1])
        return 60.0, cpu_s[commands[-1]], 1 << 20

    paths = [tmp_path / f"{number}.wav" for number in range(120)]
    for path in paths:
        path.touch()
    monkeypatch.setattr(tuning, "log_mels_from_songs", lambda *_: SimpleNamespace(paths=paths))
    monkeypatch.setattr(tuning, "runtimes_here", lambda: [*cpu_s])
    monkeypatch.setattr(tuning, "labels_by", lambda *_: ["happy"] * 120)
    monkeypatch.setattr(tuning, "timed", timed)
    row, (one,) = tune(str(tiny_model), tmp_path, songs=120, rounds=5)
    assert one == Tried("other", 0, 120, 100.0, Ratio("other", 2, 2, 2))
    assert row["faster"] == ["other"]
    there, back = ["onnxruntime", "other"], ["other", "onnxruntime"]
    assert commands == [*there, *back, *there, *back, *there]


def test_what_is_no_table_is_refused_before_anything_is_measured(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "tune", lambda *_: pytest.fail("it was measured"))
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "music").mkdir()
    done = CliRunner().invoke(main, ["tune", str(tmp_path / "music"), "--out", str(tmp_path / "mine.json")])
    assert (done.exit_code, "mine.json is no table of runtimes" in done.stderr) == (1, True), done.output


def test_where_no_table_can_be_written_nothing_is_measured(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "tune", lambda *_: pytest.fail("it was measured"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("MER_HOME", str(tmp_path / "file"))
    done = CliRunner().invoke(main, ["tune", str(tiny_model.parent)])
    said = f"Error: MER_HOME {tmp_path / 'file'}: no folder can be made there: File exists; name another\n"
    assert (done.exit_code, done.stderr) == (2, said)
    monkeypatch.setenv("MER_HOME", str(tmp_path / "home"))
    own_table().mkdir(parents=True)
    done = CliRunner().invoke(main, ["tune", str(tiny_model.parent)])
    assert (done.exit_code, "choices.json is a folder; name a file" in done.stderr) == (2, True), done.output


def test_what_was_measured_is_shown_where_the_table_fails(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "choices.json")

    row = row_from_tried(open_artifact(str(tiny_model)), [tried()])
    monkeypatch.setattr(tuning, "tune", lambda *_: (row, [tried()]))
    monkeypatch.setattr(tuning, "write_whole", full)
    done = CliRunner().invoke(main, ["tune", str(tiny_model.parent)])
    assert (done.exit_code, done.stdout) == (1, tried().line() + "\n"), done.output
    assert done.stderr.startswith("Error: choices.json"), done.stderr


def test_the_command_writes_what_mer_label_reads(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, without_reader: Callable[..., int | str | None]
) -> None:
    artifact = open_artifact(str(tiny_model))

    def measured(*_: Any) -> tuple[dict[str, Any], list[Tried]]:
        return row_from_tried(artifact, [tried()]), [tried()]

    monkeypatch.setattr(tuning, "tune", measured)
    assert without_reader("tune", tiny_model.parent, "--model", tiny_model) == 141
    assert json.loads(own_table().read_text())[0]["sha256"] == artifact.sha256
    own_table().unlink()
    done = CliRunner().invoke(main, ["tune", str(tiny_model.parent), "--model", str(tiny_model)])
    assert done.exit_code == 0, done.output
    assert "openvino for tiny on this CPU" in done.output
    assert json.loads(own_table().read_text())[0]["sha256"] == artifact.sha256
