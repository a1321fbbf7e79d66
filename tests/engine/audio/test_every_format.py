"""Every format that README names against a plain WAV of the same sound: the same label, from the same places.

The reference never passes through a decoder: it is the samples before they were encoded, mixed here. The
rows of docs/FORMATS.md are what this test measures; ``MER_WRITE_DOCS=1 pytest -n 0 THIS_FILE`` writes them.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import soundfile
import soxr
from merkit.engine.artifact import open_artifact
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file, samples_from_file
from merkit.engine.labelling.packed_samples import samples_from_packed
from merkit.engine.labelling.song_label import song_probabilities
from merkit.engine.runtimes import open_runtime
from sound_formats import FORMATS, SoundFormat

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "FORMATS.md"
SECONDS = 33.0
CLIPS = ("slow_major.mp3", "quick_major_with_drums.mp3", "slow_minor.ogg", "harsh_fast_drums.ogg")
GAINS = (1.0, 1.0, 0.4, 0.3, 0.4, 0.4)  # FL FR FC LFE BL BR
HALF_POWER = 0.5**0.5
# FFmpeg 7's muxer of Matroska does not state an encoder's delay, and it decodes IMA ADPCM otherwise.
_WRITTEN_OTHERWISE_BEFORE = (
    "WAV IMA ADPCM", "Matroska AAC", "Matroska AC-3", "Matroska E-AC-3", "Matroska MP2", "Matroska MP3",
)  # fmt: skip
CASES = [(form, rate, channels) for form in FORMATS for rate, channels in form.tried]


class Heard(NamedTuple):
    """``p`` is the largest difference of a probability; ``late_ms`` is how far behind its row a window is."""

    p: float
    late_ms: float
    seconds: float
    decoder: str


@lru_cache(maxsize=4)
def sound(rate: int, channels: int) -> np.ndarray:
    """Music that differs from second to second and from channel to channel, ``[samples, channels]``."""
    parts = []
    for clip in CLIPS:
        mono, own_rate = soundfile.read(ROOT / "examples" / clip, dtype="float32")
        parts.append(soxr.resample(mono, own_rate, rate)[: round(rate * SECONDS / len(CLIPS))])
    song = 0.4 * np.concatenate(parts)
    channels_ = [gain * np.roll(song, round(1.37 * i * rate)) for i, gain in enumerate(GAINS[:channels])]
    return np.stack(channels_, axis=1).astype(np.float32)


def mix(samples: np.ndarray) -> np.ndarray:
    """Mono as ITU-R BS.775 has it."""
    if samples.shape[1] <= 2:
        return samples.mean(axis=1)
    left, right, centre, _, back_left, back_right = samples.T
    return (left + right) / 2 + HALF_POWER * (centre + back_left / 2 + back_right / 2)


class Engine:
    """The bundled network, in this process."""

    def __init__(self) -> None:
        self.artifact = open_artifact("audiocnn")
        self.spec = self.artifact.spec
        self.options = WindowOptions(self.spec.audio)
        self.runtime = open_runtime(self.artifact)

    def probabilities(self, path: Path) -> np.ndarray:
        log_mels = np.asarray(log_mels_from_file(str(path), self.options).log_mels)
        logits = self.runtime.infer(log_mels)[:, : len(self.spec.labels)]  # evidence stands behind them
        return song_probabilities(logits, self.spec.temperature)


@lru_cache(maxsize=1)
def engine() -> Engine:
    return Engine()


def seconds_late(window: np.ndarray, song: np.ndarray, start: int) -> float:
    """How many samples behind ``start`` a window stands: the peak of the cross-correlation."""
    reach = 2_000
    around = np.pad(song, reach)[start : start + len(window) + 2 * reach]
    size = 2 * len(around)
    matched = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(window, size)), size)[: 2 * reach]
    peak = int(matched.argmax())
    before, top, after = matched[peak - 1 : peak + 2]
    return peak - reach + (before - after) / (2 * (before - 2 * top + after))


def decoded(path: Path) -> np.ndarray:
    """All that FFmpeg decodes, ``[samples, channels]``, one frame after the other, whatever their times."""
    with av.open(str(path)) as file:
        layout = file.streams.audio[0].layout.name
        resampler = av.AudioResampler("fltp", layout, file.streams.audio[0].rate)
        frames = [part.to_ndarray() for frame in file.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate(frames, axis=1).T


def heard(form: SoundFormat, rate: int, channels: int, folder: Path) -> Heard:
    samples = sound(rate, channels)
    path, plain = folder / f"song{form.suffix}", folder / "plain.wav"
    form.write(path, samples, rate)
    read = samples_from_file(str(path), engine().options)
    spec = engine().spec.audio
    windows = samples_from_packed(np.asarray(read.samples), read.scales)
    song = soxr.resample(mix(samples), rate, spec.sample_rate)
    late = [
        seconds_late(window, song, round(start * spec.sample_rate)) / spec.sample_rate
        for window, start in zip(windows, read.facts.starts_s, strict=True)
    ]
    worst = max(late, key=lambda seconds: abs(seconds + form.delay_s(rate)))
    # What a codec has lost is no fault of ours: there the reference is what FFmpeg decodes.
    right = samples if form.is_exact else decoded(path)[: round(read.facts.duration_s * rate)]
    soundfile.write(plain, mix(right), rate, "FLOAT")
    difference = np.abs(engine().probabilities(path) - engine().probabilities(plain)).max()
    return Heard(float(difference), 1_000 * worst, read.facts.duration_s, read.facts.decoder)


@pytest.mark.parametrize(
    ("form", "rate", "channels"),
    CASES,
    ids=[f"{form.name}, {rate}, {channels}" for form, rate, channels in CASES],
)
def test_it_sounds_as_a_plain_wav(tmp_path: Path, form: SoundFormat, rate: int, channels: int) -> None:
    if av.library_versions["libavformat"][0] < 62 and form.name.startswith(_WRITTEN_OTHERWISE_BEFORE):
        pytest.skip("FFmpeg 7 writes or decodes the file that it is compared with in another way")
    row = heard(form, rate, channels, tmp_path)
    assert row.p <= (0.002 if form.is_exact else 0.03)
    # A coarse sample still stands where it stood.
    assert abs(row.late_ms / 1_000 + form.delay_s(rate)) <= (1 / rate if form.by_sample else 0.005)
    assert row.seconds == pytest.approx(SECONDS, abs=0.06)


def table(folder: Path) -> str:
    """The rows of docs/FORMATS.md: of each format the worst of what was tried."""
    lines = [
        "| container | codec | read by | tried | starts off by | p off by |",
        "|---|---|---|---|---:|---:|",
    ]
    for form in FORMATS:
        rows = [(rate, channels, heard(form, rate, channels, folder)) for rate, channels in form.tried]
        tried = ", ".join(f"{rate / 1_000:g} kHz x {channels}" for rate, channels, _ in rows)
        late_ms = max((abs(row.late_ms + 1_000 * form.delay_s(rate)) for rate, _, row in rows))
        worst = max(row.p for *_, row in rows)
        reader = " ".join(rows[0][2].decoder.split()[:1])
        lines.append(
            f"| {form.container} | {form.codec} | {reader} | {tried} | {late_ms:.2f} ms | {worst:.4f} |"
        )
    return "\n".join(lines) + "\n"


def test_the_page_has_every_format(tmp_path: Path) -> None:
    page = PAGE.read_text()
    if "MER_WRITE_DOCS" in os.environ:
        before, _, rest = page.partition("| container |")
        after = rest.partition("\n\n")[2]
        PAGE.write_text(page := f"{before}{table(tmp_path)}\n{after}")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert [(row[0].strip("| "), row[1]) for row in rows[1:] if len(row) == 6] == [
        (form.container, form.codec) for form in FORMATS
    ]
