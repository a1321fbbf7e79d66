"""What needs DALI, and no TensorRT: log-mels of generated and of real music, and labels of whole songs."""

from __future__ import annotations

import time
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import numpy as np

from ....engine.arrays import Float32
from ....engine.artifact import Artifact
from ....engine.errors import AudioError, DeviceMemoryError
from ....engine.labelling.file_windows import WindowOptions, samples_from_file
from ....engine.labelling.gpu_pipeline import open_gpu_pipeline
from ....engine.labelling.local import FileByFile, FileNetwork, LocalBackend
from ....engine.labelling.packed_samples import samples_from_packed
from ....engine.labelling.song_label import SongLabel
from ....engine.runtimes.onnxruntime import OnnxRuntime
from ....engine.runtimes.tensorrt import open_runtime
from ....engine.spec import AudioSpec
from ....engine.spectrogram.dali import DaliLogMel
from ....engine.spectrogram.log_mel import log_mel_from_audio, log_mel_from_decibels
from ....engine.spectrogram.presets import PRESETS
from .bench import Bench, CheckSkipped, driver, log_mels, require, require_real_gpu
from .correct import fill_memory
from .sound import QUIET_DB, check_near, generated, songs_of

_SONGS = 40
_PROBABILITY = 0.002
_SONGS_A_S = 400  # about what is labelled in a second
_LEFT_MIB = (0, 64, 128, 256, 512, 1_024, 4_096)


def check_dali(bench: Bench) -> dict[str, Any]:
    """DALI's log-mels on the GPU against the reference's, for every preset, and images/s from float32."""
    require_real_gpu()
    rows: list[dict[str, Any]] = []
    array: dict[str, Any] = {}
    for name, spec in PRESETS.items():
        audio = generated(spec, 64)
        with DaliLogMel(spec, len(audio), "gpu") as dali:
            dali.put(audio)
            on_gpu = dali.take()
            made, array = np.asarray(on_gpu.as_cpu()), on_gpu.__cuda_array_interface__
            row = check_near(name, made, log_mel_from_audio(audio, spec), spec)
            rows.append({**row, "images_per_s": _images_per_s(dali, audio, bench.seconds / len(PRESETS))})
    worst, best = max(row["ordinary_db"] for row in rows), max(row["images_per_s"] for row in rows)
    return {
        "summary": f"within {worst:.4f} dB of the reference, {best:,.0f} images/s at best",
        "presets": rows,
        "array": {name: str(value) for name, value in array.items()},
    }


def _images_per_s(dali: DaliLogMel, audio: Float32, seconds: float) -> float:
    began, batches = time.monotonic(), 0
    while batches < 3 or time.monotonic() < began + seconds:
        dali.put(audio)
        dali.take()
        batches += 1
    return batches * len(audio) / (time.monotonic() - began)


def check_real_mel(bench: Bench) -> dict[str, Any]:
    """DALI's log-mels on the GPU and librosa's, of the same windows of real music."""
    require_real_gpu()
    if bench.songs is None or find_spec("librosa") is None:
        raise CheckSkipped("it needs a folder of real music, and librosa")
    from ...measure.sample_songs import songs_from_folder

    spec = bench.first.spec.audio
    errors: list[float] = []
    for path in dict.fromkeys(songs_from_folder(bench.songs, _SONGS)):
        with suppress(AudioError):
            file = samples_from_file(path, WindowOptions(spec))
            audio = samples_from_packed(np.asarray(file.samples), file.scales)
            with DaliLogMel(spec, len(audio)) as dali:
                dali.put(audio)
                made = np.asarray(dali.take().as_cpu())[:, 0]
            errors += [_apart(log_mel, window, spec) for log_mel, window in zip(made, audio, strict=True)]
    require(bool(errors), "no song gave a window")
    require(max(errors) <= QUIET_DB, f"{max(errors):.3f} dB apart")
    return {"summary": f"within {max(errors):.4f} dB in {len(errors)} windows", "db": max(errors)}


def _apart(log_mel: Float32, window: Float32, spec: AudioSpec) -> float:
    """The largest difference in dB of a log-mel ``[mels, frames]`` from librosa's of the same samples."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=window, sr=spec.sample_rate, n_fft=spec.n_fft, hop_length=spec.hop_length, n_mels=spec.n_mels,
        fmin=spec.fmin, fmax=spec.fmax, pad_mode=spec.pad_mode,
    )[:, : spec.frames]  # fmt: skip
    expected = log_mel_from_decibels(10 * np.log10(np.maximum(power, spec.amin)).astype(np.float32), spec)
    return float(np.abs((log_mel - expected) * np.asarray(spec.std)[:, None]).max())


def check_songs(bench: Bench) -> dict[str, Any]:
    """Songs to rows by DALI and a stand-in's network in FP32: the CPU's rows, and songs a second."""
    require_real_gpu()
    few, many = songs_of(bench, _SONGS), songs_of(bench, int(_SONGS_A_S * bench.seconds) + 1)
    artifact = bench.first
    expected, _ = _labelled(few, artifact, FileByFile(OnnxRuntime(artifact, 0)))
    on_gpu = bench.engine(artifact)
    rows, _ = _labelled(few, on_gpu, open_gpu_pipeline(on_gpu))
    worst = _require_same(rows, expected)
    began = time.process_time()
    rows, seconds = _labelled(many, on_gpu, open_gpu_pipeline(on_gpu))
    cpu_ms = 1e3 * (time.process_time() - began) / len(many)
    lost = sum(row.error is not None for row in rows)
    require(not lost, f"{lost} of {len(rows)} songs are errors")
    rate = len(many) / seconds
    return {
        "summary": f"the CPU's rows within {worst:.2g}; {rate:,.0f} songs/s, start left out",
        "probabilities": worst,
        "songs": len(many),
        "songs_per_s": rate,
        "cpu_ms_of_this_process_a_song": cpu_ms,
    }


def _require_same(rows: list[SongLabel], expected: list[SongLabel]) -> float:
    """The largest difference of the probabilities, which may be that of rounding."""
    worst = 0.0
    for ours, theirs in zip(rows, expected, strict=True):
        require(ours.error == theirs.error, f"{ours.path}: {ours.error}, and on the CPU {theirs.error}")
        require(ours.emotion == theirs.emotion, f"{ours.path}: {ours.emotion}, on the CPU {theirs.emotion}")
        pairs = zip(ours.probabilities, theirs.probabilities, strict=True)
        worst = max([worst, *(abs(a - b) for a, b in pairs)])
    require(worst <= _PROBABILITY, f"probabilities differ by {worst:.2g}")
    return worst


def check_overlap(bench: Bench) -> dict[str, Any]:
    """What `mer-bench gpu` measures of an engine, of the stand-in: DALI, copies, and both at once."""
    require_real_gpu()
    from ..gpu import BOTH, measure

    figures = measure(bench.engine(precision="fp16", graphs=True, batch=256), bench.seconds / 12)
    both = figures["images_per_s"][BOTH]["median"]
    return {
        "summary": f"{both:,.0f} images/s from samples to logits, {figures['overlap']:.2f} overlap",
        **figures,
    }


def check_dali_memory(bench: Bench) -> dict[str, Any]:
    """With little of the GPU's memory left, DALI's batches are halved or refused, and no row is wrong."""
    require_real_gpu()
    songs = songs_of(bench, 6)
    expected, _ = _labelled(songs, bench.first, FileByFile(OnnxRuntime(bench.first, 0)))
    artifact = bench.engine()
    with open_runtime(artifact, 0) as runtime:  # torch keeps the memory that it needs for this
        runtime.infer(log_mels(artifact.spec.audio, runtime.batch))
    outcomes = {}
    for left in _LEFT_MIB:
        with driver() as filler:
            fill_memory(filler, left << 20)
            try:
                network = open_gpu_pipeline(artifact)
                rows, _ = _labelled(songs, artifact, network)
            except DeviceMemoryError as error:  # another error would have mer-label go on without DALI
                outcomes[left] = str(error)
                continue
        _require_same(rows, expected)
        outcomes[left] = f"batches of {network.batch}"
    require(outcomes[_LEFT_MIB[-1]] == "batches of 64", str(outcomes))
    return {"summary": "; ".join(f"{left} MiB: {what}" for left, what in outcomes.items())}


def _labelled(
    songs: tuple[str, ...], artifact: Artifact, network: FileNetwork
) -> tuple[list[SongLabel], float]:
    """Rows of songs, and the seconds that they took once all was open."""
    with LocalBackend(network) as backend:
        options = WindowOptions(artifact.spec.audio)
        began = time.monotonic()
        rows = list(backend.label_files(songs, artifact, options))
        return rows, time.monotonic() - began
