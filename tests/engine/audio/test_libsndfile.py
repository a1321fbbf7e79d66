"""Files that libsndfile opens."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.errors import AudioError
from merkit.engine.spec import AudioSpec
from reading import refusal, windows_from_file

SPEC = AudioSpec()


def test_a_suffix_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "talk.vox").write_bytes(b"text that ADPCM would decode " * 1_000)
    (tmp_path / "song.raw").write_bytes(b"\x00\x01" * 50_000)
    refusal(tmp_path / "talk.vox", SPEC)
    refusal(tmp_path / "song.raw", SPEC)
    flac = write_audio(tmp_path / "a.flac", noise(12, 16_000), 16_000).rename(tmp_path / "a.mp3")
    assert len(windows_from_file(flac, SPEC, 1)) == 1


@pytest.mark.parametrize("rate", [22_050, 44_100])
def test_vorbis_after_small_steps_forward(tmp_path: Path, rate: int) -> None:
    """libsndfile is up to 896 samples late after a seek that goes a little way forward."""
    samples = noise(20, rate)
    # Short blocks and long ones in turns, as at the beats of music.
    samples *= np.where(np.arange(len(samples)) * 4 // rate % 2, 1, 0.01).astype(np.float32)
    path = write_audio(tmp_path / "a.ogg", samples, rate)
    whole = soundfile.read(path, dtype="float32")[0]
    with closing(open_decoder(path, Limits())) as decoder:
        for start in [12 * rate, *(round(rate * (1.3 * i + 0.2)) for i in range(12)), 3 * rate]:
            np.testing.assert_allclose(decoder.read(start, rate), whole[start : start + rate], atol=1e-4)
