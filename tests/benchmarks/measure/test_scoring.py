import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from merkit.benchmarks.measure import scoring as module
from merkit.benchmarks.measure.scoring import HeldOutSongs, Scoring, cross_validated, score_row
from merkit.benchmarks.row import Row
from merkit.engine.errors import MerError
from merkit.engine.spec import QUADRANTS, ModelSpec
from merkit.export.song_log_mels import SongLogMels
from small_networks import AUDIO, write_music

SPEC = ModelSpec("small", QUADRANTS, AUDIO)


def holding_out(*names: str) -> dict[str, object]:
    """A provenance that lists clips by their paths alone."""
    return {"test_clips": [{"path": f"{name}.wav"} for name in names]}


@pytest.fixture
def scoring(tmp_path: Path) -> Scoring:
    return Scoring(write_music(tmp_path), "auto", tmp_path)


def test_held_out_songs_are_decoded_once_for_models_that_are_alike(
    scoring: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = scoring.held_out(SPEC)
    assert len(songs.truth) == len(songs.groups) == len(songs.songs.songs) == 8
    assert np.load(songs.log_mels).shape == songs.songs.log_mels.shape
    assert "80/20 by group" in songs.note
    described = scoring.described(songs)
    assert (described.name, described.clips, described.labels) == ("clips.csv", 8, list(QUADRANTS))
    monkeypatch.setattr(module, "log_mels_from_songs", None)
    assert scoring.held_out(replace(SPEC, backbone="another")) is songs


def test_a_model_that_names_its_clips_is_scored_on_these(scoring: Scoring) -> None:
    spec = replace(SPEC, provenance=holding_out("happy-0-0", "sad-1-1"))
    songs = scoring.held_out(spec)
    assert [path.stem for path in songs.songs.paths] == ["happy-0-0", "sad-1-1"]
    assert songs.truth.tolist() == [QUADRANTS.index("happy"), QUADRANTS.index("sad")]
    assert scoring.held_out(SPEC).log_mels != songs.log_mels


def test_data_that_does_not_fit_is_a_reason_every_time(scoring: Scoring, tmp_path: Path) -> None:
    spec = replace(SPEC, labels=("happy", "tense", "sad"))
    for _ in range(2):
        with pytest.raises(MerError, match="not the model's: calm"):
            scoring.held_out(spec)
    with pytest.raises(MerError, match="no labelled data"):
        Scoring(None, "auto", tmp_path).held_out(SPEC)


def test_the_case_of_labels_is_the_models(scoring: Scoring, tmp_path: Path) -> None:
    music = tmp_path / "clips.csv"
    music.write_text(music.read_text().replace(",happy,", ",HAPPY,"))
    assert len(scoring.held_out(SPEC).truth) == 8


def test_a_full_folder_for_temporary_files_is_a_reason(
    scoring: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("655360 requested and 65280 written")  # NumPy's, without a number

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(MerError, match="the folder for temporary files, cannot be written"):
        scoring.held_out(SPEC)


def held_out(groups: int) -> HeldOutSongs:
    songs = 24
    return HeldOutSongs(
        Path("log_mels.npy"),
        SongLogMels(np.zeros((songs, 1, 2, 2), np.float32), tuple(np.arange(i, i + 1) for i in range(songs))),
        truth=np.arange(songs) % 2,
        groups=[f"artist {i % groups}" for i in range(songs)],
        labels=("happy", "sad"),
        note="held out",
    )


def test_a_row_is_scored_by_whole_songs() -> None:
    songs = held_out(groups=12)
    logits = np.eye(2, dtype=np.float32)[songs.truth]
    logits[:6] = (1, 0)  # three that are sad become happy
    row = Row()
    score_row(row, logits, songs, 1.0)
    assert row.accuracy == 21 / 24
    assert row.confusion == [[12, 0], [3, 9]]
    assert row.macro_f1 == pytest.approx((24 / 27 + 18 / 21) / 2)
    assert row.accuracy_interval is not None
    assert row.accuracy_interval[0] < 21 / 24 <= row.accuracy_interval[1]
    assert row.accuracy_note == "held out"


def test_a_song_is_scored_by_all_of_its_windows() -> None:
    songs = held_out(groups=12)
    windows = tuple(np.arange(3 * i, 3 * i + 3) for i in range(24))
    songs = replace(songs, songs=SongLogMels(np.zeros((72, 1, 2, 2), np.float32), windows))
    logits = 4 * np.eye(2, dtype=np.float32)[np.repeat(songs.truth, 3)]
    for place in (0, 1, 2):
        wrong = logits.copy()
        wrong[place::3] = logits[place::3, ::-1]  # one of a song's three, which the others outvote
        row = Row()
        score_row(row, wrong, songs, 1.0)
        assert (row.accuracy, row.macro_f1, row.confusion) == (1, 1, [[12, 0], [0, 12]])


def test_few_groups_support_no_interval() -> None:
    songs = held_out(groups=9)
    row = Row()
    score_row(row, np.eye(2, dtype=np.float32)[songs.truth], songs, 1.0)
    assert row.accuracy == row.macro_f1 == 1
    assert row.accuracy_interval is row.macro_f1_interval is None


def test_clips_without_audio_are_named_and_not_scored(tmp_path: Path) -> None:
    music = write_music(tmp_path)
    for name in ("happy-0-0.wav", "sad-1-1.wav"):
        soundfile.write(tmp_path / name, np.zeros(48_000, np.float32), 16_000)
    spec = replace(SPEC, provenance=holding_out("happy-0-0", "happy-0-1", "sad-1-0", "sad-1-1"))
    said: list[str] = []
    scoring = Scoring(music, "auto", tmp_path, said.append)
    for labels_in_use in (spec, replace(spec, audio=replace(AUDIO, mean=(1.0,)))):  # decoded anew
        songs = scoring.held_out(labels_in_use)
        assert [path.stem for path in songs.songs.paths] == ["happy-0-1", "sad-1-0"]
        assert [path.stem for path, _ in songs.skipped] == ["happy-0-0", "sad-1-1"]
        assert scoring.described(songs).clips == len(songs.truth) == 2
        assert len(scoring.described(songs).skipped) == 2
    assert len(said) == 2  # once, however often they are decoded
    assert all(line.startswith("skipped ") and "silent" in line for line in said), said


def heard(music: Path, *names: str) -> str:
    """As provenance lists these files, by hand."""
    contents = [(music.parent / name).read_bytes() for name in names]
    return " ".join(sorted(hashlib.sha256(content).hexdigest()[:16] for content in contents))


def test_a_model_that_was_trained_on_the_data_gets_no_accuracy_on_it(tmp_path: Path) -> None:
    music = write_music(tmp_path)
    names = sorted(path.name for path in tmp_path.glob("*.wav"))
    scoring = Scoring(music, "auto", tmp_path)
    every = replace(SPEC, provenance={"test_clips": [], "heard_clips": heard(music, *names)})
    with pytest.raises(MerError, match=r"^clips\.csv holds clips that the model was trained on: no accuracy"):
        scoring.held_out(every)
    # Another model, which heard other clips, has the same audio, labels and test clips.
    none = replace(SPEC, provenance={"test_clips": [], "heard_clips": "0123456789abcdef"})
    songs = scoring.held_out(none)
    assert len(songs.truth) == 8
    assert songs.note.endswith("the model was trained on none of these clips")


def test_what_is_new_to_a_model_is_scored_if_it_is_enough(tmp_path: Path) -> None:
    music = write_music(tmp_path, artists=6)
    names = sorted(path.name for path in tmp_path.glob("*.wav"))
    scoring = Scoring(music, "auto", tmp_path)
    first = [name for name in names if name.split("-")[1] == "0"]
    spec = replace(SPEC, provenance={"test_clips": [], "heard_clips": heard(music, *first)})
    songs = scoring.held_out(spec)
    assert {path.name for path in songs.songs.paths} == set(names) - set(first)
    assert songs.note == "the 40 clips that are new to the model"
    most = [name for name in names if name.split("-")[1] in "01234"]
    spec = replace(SPEC, provenance={"test_clips": [], "heard_clips": heard(music, *most)})
    with pytest.raises(MerError, match=r"\(the 8 others are too few, or share a group with these\)"):
        scoring.held_out(spec)


METRICS = {"macro_f1": 0.7, "macro_f1_interval": [0.66, 0.74], "songs": 720, "by_fold": [0.7] * 5}


def test_the_folds_figure_comes_from_the_provenance() -> None:
    row = Row()
    provenance = {"measured_by": "cross-validation", "metrics": METRICS, "data": {"name": "songs"}}
    cross_validated(row, replace(SPEC, provenance=provenance))
    assert (row.cv_macro_f1, row.cv_macro_f1_interval) == (0.7, (0.66, 0.74))
    assert row.cv_note == "5 folds of songs, 720 songs"
    few = {**METRICS, "macro_f1_interval": None}
    cross_validated(row := Row(), replace(SPEC, provenance={**provenance, "metrics": few}))
    assert (row.cv_macro_f1, row.cv_macro_f1_interval) == (0.7, None)


@pytest.mark.parametrize(
    "provenance",
    [
        {},
        {"metrics": METRICS},  # measured on its own held-out songs
        {"measured_by": "cross-validation"},
        {"measured_by": "cross-validation", "metrics": [1]},
        *(
            {"measured_by": "cross-validation", "metrics": {**METRICS, "macro_f1": value}}
            for value in (None, "0.7", True, 70, -0.1, 1e300)
        ),
    ],
)
def test_what_is_no_figure_of_folds_fills_nothing(provenance: dict[str, object]) -> None:
    row = Row()
    cross_validated(row, replace(SPEC, provenance=provenance))
    assert row == Row()
