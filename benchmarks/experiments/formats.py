"""What an audio format costs: a song's windows as mer-label reads them, beside the plainest decoding."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import soundfile

from ...engine.artifact import DEFAULT_MODEL, open_artifact
from ...engine.errors import MerError
from ...engine.labelling.file_windows import WindowOptions, log_mels_from_file
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ...engine.temporary import temporary_writes
from ...engine.text.escape import for_markdown_cell
from ..measure.whole_commands import linked

_RATE, _BLOCK = 44_100, 8_192  # libsndfile's Vorbis crashes on longer writes
_BITS = 128_000  # a second
# Suffix: libsndfile's container and codec, or FFmpeg's container and encoder.
_BY_LIBSNDFILE = {
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
    ".flac": ("FLAC", "PCM_16"),
    ".wav": ("WAV", "PCM_16"),
}
TABLE_BEGINS = "| file | read by |"
"""As every table in Markdown does that was ever written here."""
_BY_FFMPEG = {".m4a": ("ipod", "aac"), ".opus": ("ogg", "libopus"), ".wma": ("asf", "wmav2")}


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a file in each round, and the decoder that mer-label used.

    ``ours`` is what mer-label calls "decode": the file is opened, its windows are decoded and mixed to mono,
    its tags are read. ``libsndfile`` and ``ffmpeg`` read as many seconds of sound from its beginning, in one
    piece; None where they cannot. ``wall_s`` is that of ``mer-label --runtime null -j 1``, for a song.
    """

    file: str
    decoder: str
    ours: tuple[float, ...]
    libsndfile: tuple[float, ...] | None
    ffmpeg: tuple[float, ...] | None
    wall_s: float | None = None

    @property
    def floor(self) -> tuple[float, ...] | None:
        """The cheaper of the two, by its median; None where neither reads the file, which is damaged."""
        known = (times for times in (self.libsndfile, self.ffmpeg) if times)
        return min(known, key=statistics.median, default=None)

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios of ours to the floor."""
        floor = self.floor
        if floor is None:
            return None
        return statistics.median(one / two for one, two in zip(self.ours, floor, strict=True))


def format_costs(
    files: Sequence[Path],
    rounds: int,
    songs: int,
    seconds: float,
    say: Callable[[str], None] = lambda line: None,
) -> list[Cost]:
    """Measures files; without any, a song of ``seconds`` in each of seven formats, which are made first.

    Files that cannot be decoded are said and left out.

    Args:
        rounds: of each file, in turns.
        songs: in a run of mer-label for the wall time; 0 leaves it out.

    Raises:
        MerError: none of the files can be decoded, or mer-label fails.
    """
    options = WindowOptions(open_artifact(DEFAULT_MODEL).spec.audio)
    with tempfile.TemporaryDirectory(prefix="mer-bench-") as folder:
        times: dict[Path, list[Any]] = {file: [] for file in files or made_songs(Path(folder), seconds)}
        with WorkerPool(decoding_times, options, 1) as pool:
            for turn in range(rounds + 1):  # the first one loads libraries
                say(f"round {turn} of {rounds}")
                chosen = list(times)
                for position, result in pool.map(map(str, chosen)):
                    file = chosen[position]
                    if not isinstance(result, Failure):
                        times[file].append(result)
                        continue
                    del times[file]
                    if not times:
                        raise MerError(f"no file is left that can be decoded; {file}: {result.reason}")
                    say(f"left out {file}: {result.reason}")
        costs = []
        for file, found in times.items():
            decoder, ours, *floors = zip(*found[1:], strict=True)
            libsndfile, ffmpeg = (None if None in column else column for column in floors)
            wall_s = _wall_s(file, songs) if songs else None
            costs.append(Cost(file.name, decoder[0], ours, libsndfile, ffmpeg, wall_s))
    return costs


def decoding_times(path: str, options: WindowOptions) -> tuple[str, float, float | None, float | None]:
    """Runs in a child process: the decoder, and the CPU seconds of ours, libsndfile and FFmpeg."""
    facts = log_mels_from_file(path, options).facts
    seconds = min(facts.duration_s, len(facts.starts_s) * options.spec.window_s)
    libsndfile, ffmpeg = (_time(read, path, seconds) for read in (_read, _decode))
    return facts.decoder, facts.seconds["decode"], libsndfile, ffmpeg


def made_songs(folder: Path, seconds: float) -> list[Path]:
    """Writes a stereo song in each format: chords, drums and noise that change from beat to beat.

    Raises:
        MerError: there is no room for them.
    """
    sound = _song(seconds)
    paths = [folder / f"song{suffix}" for suffix in (*_BY_LIBSNDFILE, *_BY_FFMPEG)]
    with temporary_writes(soundfile.LibsndfileError):
        for path in paths:
            if path.suffix in _BY_FFMPEG:
                _encode(path, sound, *_BY_FFMPEG[path.suffix])
                continue
            kind, subtype = _BY_LIBSNDFILE[path.suffix]
            with soundfile.SoundFile(path, "w", _RATE, 2, subtype, format=kind) as file:
                for start in range(0, len(sound), _BLOCK):
                    file.write(sound[start : start + _BLOCK])
    return paths


def markdown_from_costs(costs: Sequence[Cost]) -> str:
    """A table in Markdown; CPU milliseconds are medians."""
    lines = [
        "| file | read by | mer-label | libsndfile | FFmpeg | over the floor | wall, -j 1 |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for cost in costs:
        ours, libsndfile, ffmpeg = map(_ms, (cost.ours, cost.libsndfile, cost.ffmpeg))
        wall = f"{1e3 * cost.wall_s:.0f} ms" if cost.wall_s is not None and cost.wall_s > 0 else "-"
        ratio = "-" if cost.ratio is None else f"{cost.ratio:.2f}"
        cells = (cost.file, cost.decoder, ours, libsndfile, ffmpeg, ratio, wall)
        lines.append(f"| {' | '.join(map(for_markdown_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _ms(times: tuple[float, ...] | None) -> str:
    return f"{1e3 * statistics.median(times):.1f} ms" if times else "-"


def _time(read: Callable[[str, float], int], path: str, seconds: float) -> float | None:
    began = time.process_time()
    try:
        read(path, seconds)
    except (soundfile.LibsndfileError, av.error.FFmpegError):
        return None
    return time.process_time() - began


def _read(path: str, seconds: float) -> int:
    with soundfile.SoundFile(path) as file:
        return len(file.read(round(seconds * file.samplerate), "float32"))


def _decode(path: str, seconds: float) -> int:
    samples = 0
    with av.open(path) as file:
        for frame in file.decode(audio=0):
            samples += frame.samples
            if samples >= seconds * frame.sample_rate:
                break
    return samples


def _wall_s(file: Path, songs: int) -> float:
    """Seconds a song: what ``songs`` of them take beyond one."""
    one, many = (_run(file, count) for count in (1, songs + 1))
    return (many - one) / songs


def _run(file: Path, songs: int) -> float:
    with linked([str(file)], songs) as (folder, _):
        command = [sys.executable, "-m", "merkit.engine.cli", str(folder), "--runtime", "null", "-j", "1"]
        began = time.perf_counter()
        done = subprocess.run([*command, "--out", str(folder) + ".jsonl"], capture_output=True, text=True)
        seconds = time.perf_counter() - began
        with suppress(OSError):
            os.remove(str(folder) + ".jsonl")
    if done.returncode:
        raise MerError(f"mer-label ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return seconds


def _song(seconds: float) -> np.ndarray[Any, Any]:
    rng, beat = np.random.default_rng(0), _RATE // 2
    t = np.arange(beat) / _RATE
    beats = []
    for _ in range(round(2 * seconds)):
        notes = 110 * 2 ** (rng.integers(0, 36, (4, 1)) / 12)
        chord = sum(
            np.sin(2 * np.pi * harmonic * notes * t).sum(axis=0) / harmonic for harmonic in range(1, 8)
        )
        drum = rng.standard_normal((beat, 2)) * np.exp(-12 * t)[:, None]
        beats.append(0.05 * np.stack([chord, np.roll(chord, 20)], axis=1) + 0.15 * drum)
    return np.concatenate(beats).astype(np.float32)


def _encode(path: Path, sound: np.ndarray[Any, Any], kind: str, encoder: str) -> None:
    with av.open(str(path), "w", format=kind) as file:
        rate = 48_000 if encoder == "libopus" else _RATE
        stream: Any = file.add_stream(encoder, rate=rate, layout="stereo")
        stream.bit_rate = _BITS
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = _RATE, 0, Fraction(1, _RATE)
        size = stream.codec_context.frame_size or 1_024
        resampler = av.AudioResampler(stream.format, "stereo", rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(part))
