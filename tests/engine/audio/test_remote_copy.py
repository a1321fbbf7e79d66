"""Songs behind URLs, copied to be decoded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from audio_files import noise, write_audio
from http_folder import served
from merkit.engine.audio import remote_copy
from merkit.engine.audio.decoder import Limits
from merkit.engine.catalogue.expand import Sources
from merkit.engine.errors import AudioError, MerError
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.spec import AudioSpec


def test_a_song_behind_a_url(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    write_audio(tmp_path / "b.wav", noise(11, 16_000), 16_000)
    with served(tmp_path) as root:
        with remote_copy.local_copy(f"{root}/b.wav", Limits()) as copy:
            assert Path(copy).read_bytes() == (tmp_path / "b.wav").read_bytes()
        assert not os.path.exists(copy)
        file = log_mels_from_file(f"{root}/b.wav", WindowOptions(AudioSpec()))
        assert file.facts.duration_s == pytest.approx(11)
        with pytest.raises(AudioError, match="no such file"):
            log_mels_from_file(f"{root}/gone.wav", WindowOptions(AudioSpec()))


def test_an_object_that_is_too_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setattr(remote_copy, "_MAX_BYTES", 10)
    (tmp_path / "a.wav").write_bytes(bytes(11))
    with (
        pytest.raises(AudioError, match="larger than"),
        remote_copy.local_copy(f"file://{tmp_path}/a.wav", Limits()),
    ):
        pass


def test_a_copy_that_takes_too_long(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "a.wav").write_bytes(b"sound")
    with (
        pytest.raises(AudioError, match="copying took longer than 0 s"),
        remote_copy.local_copy(f"file://{tmp_path}/a.wav", Limits(seconds=0)),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "package", "message"),
    [
        ("s3://bucket/songs", "s3fs", "pip install 'merkit[s3]'"),
        ("gs://bucket/songs", "gcsfs", "pip install 'merkit[gcs]'"),
        ("az://bucket/songs", "adlfs", "Install adlfs"),
        ("nothing://bucket/songs", "nothing", "Protocol not known: nothing"),
    ],
)
def test_what_a_url_needs_is_said(
    url: str, package: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MerError) as caught:
        list(Sources([url]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
