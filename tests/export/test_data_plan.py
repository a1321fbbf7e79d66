"""What is scored and what calibrates, by the data that there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.spec import QUADRANTS, ModelSpec
from merkit.export.data_plan import DataPlan, sets_from_plan
from small_networks import AUDIO

SPEC = ModelSpec("x", QUADRANTS, AUDIO)


def test_without_data_generated_sound_is_compared() -> None:
    eval_set, calibration_set = sets_from_plan(SPEC, DataPlan(), print)
    assert calibration_set is None
    assert (eval_set.kind, eval_set.truth) == ("synthetic", None)
    assert "no accuracy is claimed" in eval_set.origin


def test_calibration_data_alone_is_compared_too(tmp_path: Path) -> None:
    archive = tmp_path / "windows.npz"
    log_mels = np.zeros((3, 1, AUDIO.n_mels, AUDIO.frames), np.float32)
    np.savez(archive, images=log_mels, audio_spec=AUDIO.to_json())
    eval_set, calibration_set = sets_from_plan(SPEC, DataPlan(calib_data=str(archive)), print)
    assert calibration_set is not None
    assert eval_set.songs is calibration_set.log_mels
    assert (eval_set.kind, eval_set.truth) == ("clips", None)
    assert eval_set.short == "the calibration data itself"
    assert calibration_set.origin == "windows.npz"
    assert calibration_set.strict


def test_labelled_audio_is_scored_and_the_rest_calibrates(music: Path) -> None:
    lines: list[str] = []
    plan = DataPlan(music, calib_windows=16, method="minmax", workers=1)
    eval_set, calibration_set = sets_from_plan(SPEC, plan, lines.append)
    assert calibration_set is not None
    assert eval_set.truth is not None
    assert len(eval_set.truth) == 8
    scored = set(eval_set.songs.paths)
    assert len(calibration_set.clips) == 32
    assert not scored & {clip.path for clip in calibration_set.clips}
    assert calibration_set.origin == f"not held out: {eval_set.origin}"
    assert (calibration_set.windows, calibration_set.method, calibration_set.workers) == (16, "minmax", 1)
    assert not calibration_set.strict
    assert lines == [f"warning: scored on {eval_set.origin}"]


def test_other_calibration_data_takes_the_place_of_clips(music: Path, tmp_path: Path) -> None:
    plan = DataPlan(music, calib_data=f"{tmp_path}/later.npz", workers=1)
    _, calibration_set = sets_from_plan(SPEC, plan, lambda line: None)
    assert calibration_set is not None
    assert (calibration_set.clips, calibration_set.origin) == ((), "later.npz")


@pytest.mark.parametrize("name", [".", "../music", "{folder}/"])
def test_calibration_data_is_recorded_by_the_name_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "music").mkdir()
    soundfile.write(tmp_path / "music" / "a.wav", np.sin(np.arange(40_000) / 9), AUDIO.sample_rate)
    monkeypatch.chdir(tmp_path / "music")
    plan = DataPlan(calib_data=name.format(folder=tmp_path / "music"), workers=1)
    _, calibration_set = sets_from_plan(SPEC, plan, lambda line: None)
    assert calibration_set is not None
    assert calibration_set.origin == "music"


def test_a_clip_that_is_scored_does_not_calibrate_though_its_folder_is_named_twice(music: Path) -> None:
    plan = DataPlan(music, calib_data=str(music.parent), calib_windows=64, workers=1)
    eval_set, calibration_set = sets_from_plan(SPEC, plan, lambda line: None)
    assert calibration_set is not None
    scored, calibrated = set(eval_set.songs.paths), set(calibration_set.log_mels.paths)
    assert len(scored) == 8
    assert len(calibrated) == 32
    assert not scored & calibrated


def test_what_calibrates_and_is_compared_is_skipped_by_name(music: Path, tmp_path: Path) -> None:
    for clip in labelled_audio(music).clips[:2]:
        (tmp_path / clip.path.name).write_bytes(clip.path.read_bytes())
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    lines: list[str] = []
    eval_set, _ = sets_from_plan(SPEC, DataPlan(calib_data=str(tmp_path), workers=1), lines.append)
    assert [path.name for path, _ in eval_set.songs.failed] == ["broken.wav"]
    assert len(lines) == 1
    assert lines[0].startswith(f"skipped {tmp_path}/broken.wav: ")
