"""DALI's decoder against ours, on its CPU backend."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from audio_files import noise, write_audio
from merkit.engine.audio.dali import DaliDecoder
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.audio.windows import windows_from_decoder
from merkit.engine.errors import AudioError
from merkit.engine.spec import AudioSpec
from reading import windows_from_file

pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")


def test_dalis_resampler_aliases() -> None:
    """Why DALI never resamples here: 15 kHz cannot be at 22,050 Hz, and comes back as 7,050 Hz."""
    from nvidia.dali import fn
    from nvidia.dali.pipeline import Pipeline

    t = np.arange(44_100) / 44_100
    tone = np.sin(2 * np.pi * 15_000 * t).astype(np.float32)

    pipeline = Pipeline(batch_size=1, num_threads=1, device_id=None)  # pyright: ignore[reportArgumentType]
    with pipeline:
        source = fn.external_source([[tone]], cycle=True)
        pipeline.set_outputs(fn.audio_resample(source, in_rate=44_100, out_rate=22_050))
    pipeline.build()
    out = np.asarray(pipeline.run()[0].at(0))
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    assert np.argmax(spectrum) * 22_050 / len(out) == pytest.approx(7_050, abs=5)
    assert np.sqrt(2) * out[1000:-1000].std() > 0.5, "at nearly its full strength"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus"])
def test_the_decoder_gives_our_windows(tmp_path: Path, suffix: str) -> None:
    rate = 48_000 if suffix == ".opus" else 16_000  # libsndfile opens every Opus file at 48 kHz
    spec = AudioSpec(sample_rate=rate, window_samples=10 * rate, hop_length=rate // 40)
    stereo = np.stack([noise(23.7, rate, 1), noise(23.7, rate, 2)], axis=1)
    path = write_audio(tmp_path / f"a{suffix}", stereo, rate)
    with closing(DaliDecoder(path, Limits(), rate)) as decoder:
        by_dali = list(windows_from_decoder(decoder, spec, "all", 5.0))
    by_libsndfile = windows_from_file(path, spec, "all", 5.0)
    assert [window.start_s for window in by_dali] == [window.start_s for window in by_libsndfile]
    assert len(by_dali) == 4
    for ours, dalis in zip(by_libsndfile, by_dali, strict=True):
        np.testing.assert_allclose(dalis.samples, ours.samples, atol=1e-4)


def test_the_decoder_refuses_what_it_would_get_wrong(tmp_path: Path) -> None:
    song = noise(11, 22_050)
    with pytest.raises(AudioError, match=r"needs 16000 Hz.*aliases"):
        DaliDecoder(write_audio(tmp_path / "a.wav", song, 22_050), Limits(), 16_000)
    for suffix in (".mp3", ".m4a", ".aiff"):
        with pytest.raises(AudioError, match="WAV, FLAC, Ogg Vorbis and Opus"):
            DaliDecoder(write_audio(tmp_path / f"a{suffix}", song, 22_050), Limits(), 22_050)
    long = write_audio(tmp_path / "long.flac", np.zeros((200_000, 2), np.float32), 16_000)
    with pytest.raises(AudioError, match="more than 300000 samples"):
        DaliDecoder(long, Limits(decoded_samples=300_000), 16_000)
    with pytest.raises(AudioError, match="no such file"):
        DaliDecoder(tmp_path / "none.wav", Limits(), 16_000)


def test_a_damaged_file_costs_itself_alone(tmp_path: Path) -> None:
    whole = write_audio(tmp_path / "a.flac", noise(12, 16_000), 16_000)
    broken = tmp_path / "b.flac"
    content = bytearray(whole.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    broken.write_bytes(content)
    try:
        with closing(DaliDecoder(broken, Limits(), 16_000)) as decoder:
            length = decoder.length
        with closing(open_decoder(broken, Limits())) as ours:
            assert length <= ours.length  # libsndfile too reads what it can
    except AudioError as error:
        assert "DALI cannot decode it" in str(error)  # noqa: PT017
    with closing(DaliDecoder(whole, Limits(), 16_000)) as decoder:
        assert decoder.length == 12 * 16_000


def test_channels_in_antiphase_are_heard(tmp_path: Path) -> None:
    left = noise(12, 16_000)
    path = write_audio(tmp_path / "a.wav", np.stack([left, -left], axis=1), 16_000)
    with closing(DaliDecoder(path, Limits(), 16_000)) as decoder:
        np.testing.assert_allclose(decoder.read(0, 16_000), left[:16_000], atol=1e-4)


def test_a_header_that_lies_is_corrected(tmp_path: Path) -> None:
    sound = noise(12, 16_000)
    data = bytearray(write_audio(tmp_path / "a.wav", sound, 16_000).read_bytes())
    size = data.find(b"data") + 4
    data[size : size + 4] = bytes(4)
    (tmp_path / "a.wav").write_bytes(data)
    with closing(DaliDecoder(tmp_path / "a.wav", Limits(), 16_000)) as decoder:
        np.testing.assert_allclose(decoder.read(0, len(sound)), sound, atol=1e-4)


def test_joined_files_are_refused(tmp_path: Path) -> None:
    data = write_audio(tmp_path / "a.ogg", noise(3, 16_000), 16_000).read_bytes()
    other = write_audio(tmp_path / "b.ogg", noise(4, 16_000, 1), 16_000).read_bytes()
    (tmp_path / "a.ogg").write_bytes(data + other)
    with pytest.raises(AudioError, match="reads WAV, FLAC, Ogg Vorbis and Opus"):
        DaliDecoder(tmp_path / "a.ogg", Limits(), 16_000)
