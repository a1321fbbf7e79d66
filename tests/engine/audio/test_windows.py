"""Windows against a full decode of the same file: within 1 ms in every format."""

import dataclasses
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from audio_files import SUFFIXES, chirp, noise, write_audio
from ffmpeg_files import copied, write
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.audio.samples import SampleDecoder
from merkit.engine.audio.window_reader import WindowReader
from merkit.engine.audio.windows import samples_from_decoder, windows_from_decoder
from merkit.engine.errors import AudioError, SilentError
from merkit.engine.spec import AudioSpec
from reading import refusal, windows_from_file

SPEC = AudioSpec()


def offset_ms(window: np.ndarray, full: np.ndarray, start_s: float) -> float:
    """How far the window stands from where it says it does, by cross-correlation within 0.5 s."""
    reach = SPEC.sample_rate // 2
    begin = round(start_s * SPEC.sample_rate)
    around = full[max(0, begin - reach) : begin + len(window) + reach]
    size = 2 * (len(around) + len(window))
    matched = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(window, size)), size)
    return (int(matched[: 2 * reach].argmax()) - min(reach, begin)) * 1_000 / SPEC.sample_rate


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_windows_stand_where_they_say(tmp_path: Path, suffix: str) -> None:
    rate = 48_000 if suffix in (".opus", ".webm") else 44_100
    path = write_audio(tmp_path / f"song{suffix}", chirp(33.3, rate) + noise(33.3, rate), rate)
    with closing(open_decoder(path, Limits())) as decoder:
        full = samples_from_decoder(decoder, SPEC)
        assert decoder.length / decoder.sample_rate == pytest.approx(33.3, abs=0.1)
    streamed = windows_from_file(path, SPEC, "all", 7.7)
    for window in [*windows_from_file(path, SPEC, 3), *streamed]:
        assert abs(offset_ms(window.samples, full, window.start_s)) < 1.0
    assert [w.start_s for w in streamed] == pytest.approx([0, 7.7, 15.4, 23.1], abs=0.1)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".m4a"])
def test_windows_equal_the_full_decode(tmp_path: Path, suffix: str) -> None:
    path = write_audio(tmp_path / f"song{suffix}", noise(35, 44_100), 44_100)
    with closing(open_decoder(path, Limits())) as decoder:
        full = samples_from_decoder(decoder, SPEC)
    for window in windows_from_file(path, SPEC, 5):
        start = round(window.start_s * SPEC.sample_rate)
        # AAC's noise substitution draws its numbers anew after a seek.
        allowed = 0.02 if suffix == ".m4a" else 1e-4
        np.testing.assert_allclose(window.samples, full[start : start + len(window.samples)], atol=allowed)


def test_decodes_only_what_the_windows_need(tmp_path: Path) -> None:
    for suffix in (".flac", ".mp3", ".m4a"):
        path = write_audio(tmp_path / f"long{suffix}", noise(100, 16_000), 16_000)
        enough = round(3 * 10.8 * 16_000)
        assert len(windows_from_file(path, SPEC, 3, limits=Limits(decoded_samples=enough))) == 3
        with pytest.raises(AudioError, match="decodes to more than"):
            windows_from_file(path, SPEC, 4, limits=Limits(decoded_samples=enough))
        with pytest.raises(AudioError, match="decodes to more than"):
            windows_from_file(path, SPEC, "all", limits=Limits(decoded_samples=enough))


def test_overlapping_windows_are_decoded_once(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.flac", noise(60, 16_000), 16_000)
    windows = windows_from_file(path, SPEC, "all", hop_s=1.0, limits=Limits(decoded_samples=60 * 16_000))
    assert len(windows) == 51


def _tone(start: int, end: int) -> np.ndarray:
    places = np.arange(start, end)
    return (np.where(places // 4 % 2, -1, 1) * (1 - places / 2**24)).astype(np.float32)


class _Tone:
    """A decoder of a file that is never written: sample i holds 1 - i / 2^24, four of eight negative."""

    name = "tone"

    def __init__(self, sample_rate: int, length: int, true_length: int | None = None) -> None:
        self.sample_rate, self.length = sample_rate, length
        self._true = length if true_length is None else true_length

    def read(self, start: int, count: int) -> np.ndarray:
        return _tone(start, max(start, min(start + count, self._true)))

    def measure(self) -> int:
        self.length = self._true
        return self.length

    def tags(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass


@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000]),
    seconds=st.floats(0.2, 100),
    windows=st.integers(1, 12) | st.just("all"),
)
def test_plan_covers_the_file(rate: int, seconds: float, windows) -> None:
    length = round(rate * seconds)
    cut = list(windows_from_decoder(_Tone(rate, length), SPEC, windows))
    starts = [w.start_s for w in cut]
    assert starts == sorted(set(starts))
    assert starts[0] >= 0
    assert all(len(w.samples) == SPEC.window_samples and w.samples.dtype == np.float32 for w in cut)
    if seconds <= 10:
        assert starts == [0.0]
        return
    assert starts[-1] + 10 <= seconds + 0.01
    if windows == "all":
        assert np.diff(starts).max(initial=0) <= 10.01
        assert seconds - (starts[-1] + 10) < 1.05  # less than a tenth of a window, or one more
        assert starts[0] == 0
    else:
        assert len(cut) <= windows
        middles = [(2 * i + 1) * seconds / (2 * windows) for i in range(windows)]
        inside = [min(max(5, m), seconds - 5) for m in middles]
        assert max(min(abs(start + 5 - m) for start in starts) for m in inside) < 0.041  # on both rates' grid


@given(
    true_s=st.floats(0.2, 100), claimed_s=st.floats(0.2, 1_000), windows=st.integers(1, 6) | st.just("all")
)
def test_headers_that_lie(true_s: float, claimed_s: float, windows) -> None:
    true, claimed = round(16_000 * true_s), round(16_000 * max(true_s, claimed_s))
    liar = _Tone(16_000, claimed, true)
    cut = list(windows_from_decoder(liar, SPEC, windows))
    claimed_starts = [w.start_s for w in windows_from_decoder(_Tone(16_000, claimed), SPEC, windows)]
    reach = min(claimed_starts[-1] * 16_000 + SPEC.window_samples, claimed)
    if reach - true > 1_600:
        expected = windows_from_decoder(_Tone(16_000, true), SPEC, windows)
        # Within the slack: a window may end 0.1 s after the sound does.
        assert [w.start_s for w in cut] == pytest.approx([w.start_s for w in expected], abs=0.1)
        assert abs(liar.length - true) <= 1_600
    else:  # every window is there, so nobody looked further
        assert [w.start_s for w in cut] == claimed_starts
    for window in cut:  # a slack of 0.1 s is filled with silence, never with wrong samples
        start = round(window.start_s * 16_000)
        part = window.samples[: max(0, min(160_000, true - start))]
        np.testing.assert_array_equal(part, _tone(start, start + len(part)))


def test_a_window_of_a_few_samples_has_parts_too() -> None:
    reader = WindowReader(SampleDecoder(noise(1, 16_000), 16_000), AudioSpec(sample_rate=16_000), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        window = reader.window(0, 3)
    assert window is not None
    assert len(window.samples) == AudioSpec().window_samples


@pytest.mark.parametrize("offset", [0.1, -0.6])
def test_an_offset_is_taken_off(offset: float) -> None:
    music = noise(12, 16_000)
    music -= music.mean()
    spec = AudioSpec(sample_rate=16_000)
    plain, moved = (
        next(iter(windows_from_decoder(SampleDecoder(samples, 16_000), spec, 1))).samples
        for samples in (music, music + np.float32(offset))
    )
    assert abs(moved.mean()) < 1e-5
    np.testing.assert_allclose(moved, plain - plain.mean(), atol=1e-5)


def test_short_audio_is_filled_as_the_spec_says() -> None:
    (repeated,) = windows_from_decoder(_Tone(16_000, 4_000), SPEC, 3)
    np.testing.assert_array_equal(repeated.samples, np.resize(_tone(0, 4_000), 160_000))
    padded_spec = dataclasses.replace(SPEC, short_audio="zeros")
    (padded,) = windows_from_decoder(_Tone(16_000, 4_000), padded_spec, 3)
    np.testing.assert_array_equal(padded.samples[:4_000], _tone(0, 4_000))
    assert not padded.samples[4_000:].any()


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000, 192_000])
def test_rates_and_channels(tmp_path: Path, rate: int) -> None:
    t = np.arange(rate * 3) / rate
    tone = np.sin(2 * np.pi * 440 * t)
    six = np.stack([tone, 0 * t, -tone, tone, tone, tone], axis=1) * 0.5
    path = write_audio(tmp_path / "six.wav", six.astype(np.float32), rate)
    (window,) = windows_from_file(path, SPEC)
    spectrum = np.abs(np.fft.rfft(window.samples[1_000:33_000]))
    assert spectrum.argmax() == 440 * 2
    assert np.abs(window.samples[1_000:33_000]).max() == pytest.approx(0.25, abs=0.01)  # the mean of six


def test_resampling_does_not_alias(tmp_path: Path) -> None:
    t = np.arange(44_100 * 12) / 44_100
    path = write_audio(
        tmp_path / "high.wav", (0.5 * np.sin(2 * np.pi * 15_000 * t)).astype(np.float32), 44_100
    )
    with closing(open_decoder(path, Limits())) as decoder:
        resampled = samples_from_decoder(decoder, SPEC)
    assert np.abs(resampled[2_000:-2_000]).max() < 1e-4


def test_matches_soxr_on_the_whole(tmp_path: Path) -> None:
    samples = noise(25, 44_100)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 44_100, subtype="FLOAT")
    whole = soxr.resample(samples, 44_100, 16_000, quality="HQ")
    for window in windows_from_file(path, SPEC, 4):
        start = round(window.start_s * 16_000)
        np.testing.assert_allclose(window.samples, whole[start : start + 160_000], atol=1e-5)


def test_too_short_silent_or_not_finite(tmp_path: Path) -> None:
    for name, samples in {
        "one": np.ones(1),
        "silent": np.zeros(160_000),
        "nan": np.where(np.arange(160_000) == 80_000, np.nan, noise(10, 16_000)),
        "inf": np.where(np.arange(160_000) == 80_000, np.inf, 0.1),
    }.items():
        soundfile.write(tmp_path / f"{name}.wav", samples.astype(np.float32), 16_000, subtype="FLOAT")
    assert "too short" in refusal(tmp_path / "one.wav", SPEC)
    assert "silent" in refusal(tmp_path / "silent.wav", SPEC)
    assert "not finite" in refusal(tmp_path / "nan.wav", SPEC)
    assert "not finite" in refusal(tmp_path / "inf.wav", SPEC)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_a_sample_that_is_not_finite_costs_its_windows(tmp_path: Path, broken: float, rate: int) -> None:
    """The others decide; the length stays."""
    for count, at, heard in (
        (3, 15, [0, 20]),
        (3, 25, [0, 10]),
        ("all", 5, [10, 20]),
        ("all", 15, [0, 20]),
        ("all", 25, [0, 10]),
    ):
        samples = noise(30, rate)
        samples[at * rate] = broken
        soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
        with closing(open_decoder(tmp_path / "a.wav", Limits())) as decoder:
            windows = list(windows_from_decoder(decoder, SPEC, count))  # pyright: ignore[reportArgumentType]
            assert decoder.length == len(samples)
        assert [round(window.start_s) for window in windows] == heard
        assert all(np.isfinite(window.samples).all() for window in windows)


def test_where_only_silence_is_finite_that_is_no_silence(tmp_path: Path) -> None:
    samples = np.zeros(480_000, np.float32)
    samples[240_000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    assert "not finite" in refusal(tmp_path / "a.wav", SPEC)
    with pytest.raises(AudioError, match="not finite"):
        windows_from_file(tmp_path / "a.wav", SPEC, "all")


@pytest.mark.parametrize("least", [2_000_000, 4_000_000, 40_000_000])
def test_a_long_silent_end_that_is_not_searched_takes_no_windows(tmp_path: Path, least: int) -> None:
    """A recorder that was left running: what the search found has the windows, however far it came."""
    sound = np.zeros(700 * 8_000, np.float32)
    sound[: 60 * 8_000] = noise(60, 8_000)
    soundfile.write(tmp_path / "a.wav", sound, 8_000)
    budget = Budget(Limits(decoded_samples=least))
    with closing(open_decoder(tmp_path / "a.wav", budget)) as decoder:
        windows = list(windows_from_decoder(decoder, SPEC, budget=budget))
    assert [round(window.start_s) for window in windows] == [5, 25, 45]
    assert not any(window.silent for window in windows)


def test_what_was_not_searched_to_its_end_is_not_called_silence(tmp_path: Path) -> None:
    sound = np.zeros(200 * 8_000, np.float32)
    sound[130 * 8_000 : 134 * 8_000] = noise(4, 8_000)
    soundfile.write(tmp_path / "a.wav", sound, 8_000)
    for least, found in ((900_000, False), (40_000_000, True)):
        budget = Budget(Limits(decoded_samples=least))
        with closing(open_decoder(tmp_path / "a.wav", budget)) as decoder:
            windows = windows_from_decoder(decoder, SPEC, budget=budget)
            if found:
                assert any(not window.silent for window in windows)
                continue
            with pytest.raises(AudioError, match="searched no further: --timeout") as raised:
                list(windows)
            assert not isinstance(raised.value, SilentError)


@pytest.mark.parametrize("share", [0.97, 0.6])
@pytest.mark.parametrize(
    ("kind", "codec", "flags"),
    [
        ("FLAC", "PCM_16", ""),
        ("FLAC", "PCM_24", ""),
        ("CAF", "ALAC_16", ""),
        ("mp4", "aac", "faststart"),
        ("ipod", "alac", "faststart"),
        ("mov", "pcm_s16be", "faststart"),
        ("mp4", "aac", "empty_moov+delay_moov+frag_keyframe"),
        ("mp4", "aac", "dash+delay_moov+global_sidx"),
    ],
)
def test_a_file_that_was_cut_short_is_as_long_as_what_is_there(
    tmp_path: Path, kind: str, codec: str, flags: str, share: float
) -> None:
    """Its header states what there was. But for ALAC in CAF the file is not decoded to find its end."""
    path, rate = tmp_path / "a", 44_100
    sound = noise(40, rate)
    if kind.isupper():
        soundfile.write(path, sound, rate, codec, format=kind)
    else:
        options = {"movflags": flags, **({"frag_duration": "3000000"} if "frag" in flags else {})}
        copied(write(tmp_path / "b", kind, codec, sound), path, kind, options=options)
    path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    with closing(open_decoder(path, Limits())) as decoder:
        whole = len(decoder.read(0, len(sound)))
    assert whole == pytest.approx(share * len(sound), rel=0.05)
    limits = Limits(decoded_samples=52 * rate if kind == "CAF" else 12 * rate)
    for number in (1, 3, "all"):
        budget = Budget(limits if number == 1 else Limits())
        with closing(open_decoder(path, budget)) as decoder:
            (*_, last) = windows_from_decoder(decoder, SPEC, number, budget=budget)  # pyright: ignore
            assert decoder.length == pytest.approx(whole, abs=0.1 * rate)
        if number == 1:
            assert last.start_s == pytest.approx(whole / rate / 2 - 5, abs=0.1)
