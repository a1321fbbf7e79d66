from pathlib import Path
from tempfile import gettempdir

import pytest
from merkit.benchmarks.measure.sample_songs import generated_songs, songs_from_folder
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.errors import MerError
from soundfile import LibsndfileError


def test_songs_to_label(tmp_path: Path) -> None:
    songs = generated_songs(tmp_path, 5, different=2)
    assert (len(songs), len(set(songs))) == (5, 2)
    decoder = open_decoder(songs[0], Limits())
    assert decoder.length / decoder.sample_rate == pytest.approx(30, rel=0.01)
    decoder.close()
    assert songs_from_folder(tmp_path, 3) == songs[:3]
    (tmp_path / "empty").mkdir()
    with pytest.raises(MerError, match="no audio"):
        songs_from_folder(tmp_path / "empty", 3)


def test_a_full_folder_for_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise LibsndfileError(2)

    monkeypatch.setattr("soundfile.SoundFile.write", full)
    with pytest.raises(MerError) as error:
        generated_songs(tmp_path, 1)
    assert str(error.value) == (
        f"{gettempdir()}, the folder for temporary files, cannot be written (System error.): "
        "make room, or let TMPDIR name another"
    )
