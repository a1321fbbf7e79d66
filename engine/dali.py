"""Spectrograms on NVIDIA DALI, on the CPU or the GPU, from one pipeline definition; and DALI's decoder.

DALI's FFT is float32, ours float64: cells up to 100 dB below a window's loudest agree within 0.01 dB, and
quieter ones, where float32's rounding of the loud ones is heard, within 0.3 dB.
"""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .decoders import Decoder, Float32, Limits, open_decoder
from .errors import AudioError, DeviceError, DeviceMemoryError
from .spec import AudioSpec

IN_FLIGHT = 2
"""Batches begun and not yet taken, at most: one is copied and computed while another waits."""

_DECODED = ("WAV", "WAVEX", "FLAC", "OGG")  # by libsndfile's names; OGG holds Vorbis and Opus


class DaliImages:
    """``spectrogram.image_from_audio`` on a device, a batch at a time; a context manager.

    ``put`` begins a batch and returns at once, ``take`` gives the oldest one's images.

    Args:
        batch: windows at once, at most.
        device: "gpu" copies the samples to the GPU and computes there; "cpu" runs anywhere on Linux.
        device_id: which GPU.
        threads: for copying samples in, and for "cpu" for all of it.

    Raises:
        DeviceError: DALI is not installed, or it finds no GPU.
    """

    def __init__(
        self,
        spec: AudioSpec,
        batch: int,
        device: Literal["cpu", "gpu"] = "gpu",
        device_id: int = 0,
        threads: int = 2,
    ) -> None:
        self.spec, self.batch, self.device = spec, batch, device
        self._in_flight = 0
        self._pipeline: Any = None
        on = device_id if device == "gpu" else None
        try:
            self._pipeline = _image_pipeline(
                spec, device, batch_size=batch, device_id=on, num_threads=threads
            )
            self._pipeline.build()
        except (RuntimeError, MemoryError) as error:
            raise _explained(error, f"DALI cannot work on the {device.upper()}") from None

    def put(self, audio: Float32) -> None:
        """Begins a batch: float32 ``[n, spec.window_samples]``, n from 1 to ``batch``; it is copied."""
        if audio.ndim != 2 or audio.shape[1] != self.spec.window_samples or audio.dtype != np.float32:
            wanted = f"float32 [windows, {self.spec.window_samples}]"
            raise ValueError(f"audio must be {wanted}, not {audio.dtype} {list(audio.shape)}")
        if not 1 <= len(audio) <= self.batch or self._in_flight >= IN_FLIGHT:
            raise ValueError(f"{len(audio)} windows after {self._in_flight} batches in flight")
        try:
            self._pipeline.feed_input("samples", np.ascontiguousarray(audio))
            self._pipeline.schedule_run()
        except (RuntimeError, MemoryError) as error:
            raise _explained(error, "DALI makes no images") from None
        self._in_flight += 1

    def take(self, stream: int | None = None) -> Any:
        """The oldest batch's images, float32 ``[n, 1, mels, frames]``.

        On "cpu" a NumPy array. On "gpu" an object with ``__cuda_array_interface__``, ready for what is
        queued on ``stream`` (a CUstream's handle) from now on, or without one ready at once. It must be
        held until the work that reads it is done: its memory is DALI's again when it is let go.

        Raises:
            DeviceMemoryError: the GPU's memory does not suffice; the batch is lost, as is this object.
        """
        try:
            (found,) = self._pipeline.outputs(cuda_stream=stream if self.device == "gpu" else None)
            images = found.as_tensor()
        except (RuntimeError, MemoryError) as error:
            raise _explained(error, "DALI makes no images") from None
        self._in_flight -= 1
        return np.asarray(images) if self.device == "cpu" else images

    def close(self) -> None:
        """Ends the pipeline and its threads; what was begun is dropped."""
        self._pipeline = None

    def __enter__(self) -> DaliImages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _image_pipeline(spec: AudioSpec, device: str, **options: Any) -> Any:
    dali = _dali()
    fn, types, math = dali.fn, dali.types, dali.math
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.n_fft) / spec.n_fft)
    mean, std = (_column(values, spec) for values in (spec.mean, spec.std))

    # Depth 1: with more, the first schedule_run would want as many batches fed before it. Runs are
    # asynchronous all the same, and DALI's executor queues those that follow.
    @dali.pipeline_def(prefetch_queue_depth=1, **options)
    def pipeline() -> Any:
        samples = fn.external_source(name="samples", device="cpu", dtype=types.FLOAT, ndim=1)
        if device == "gpu":
            samples = samples.gpu()
        power = fn.spectrogram(
            samples,
            nfft=spec.n_fft,
            window_length=spec.n_fft,
            window_step=spec.hop_length,
            window_fn=hann.tolist(),
            center_windows=True,
            reflect_padding=spec.pad_mode == "reflect",
            power=2,
        )
        mel = fn.mel_filter_bank(
            power,
            nfilter=spec.n_mels,
            sample_rate=float(spec.sample_rate),
            freq_low=spec.fmin,
            freq_high=spec.fmax,
            mel_formula=spec.mel_scale,
            normalize=spec.mel_norm == "slaney",
        )
        # Its own reference to the maximum would cut relative to it, and silence would be 0 dB.
        decibels = fn.to_decibels(
            mel, multiplier=10.0, reference=1.0, cutoff_db=10 * float(np.log10(spec.amin))
        )
        # Windows are whole, so there are frames enough; pad only makes their number known.
        decibels = fn.pad(decibels[:, : spec.frames], axes=[1], shape=[spec.frames])
        if spec.reference == "max":
            decibels = decibels - fn.reductions.max(decibels, axes=[0, 1])
        if spec.top_db is not None:
            decibels = math.max(decibels, fn.reductions.max(decibels, axes=[0, 1]) - spec.top_db)
        image = fn.normalize(decibels, mean=types.Constant(mean), stddev=types.Constant(std))
        return fn.reshape(image, shape=[1, spec.n_mels, spec.frames])

    return pipeline()


class DaliDecoder:
    """DALI's decoder behind ``decoders.Decoder``: WAV, FLAC, Ogg Vorbis and Opus, whole files at a time.

    It resamples nothing, for DALI's resampler aliases: a tone above the new half rate comes back as
    another one.

    Raises:
        AudioError: as ``open_decoder``; another format or rate; more samples than the limits allow.
        DeviceError: DALI is not installed.
    """

    def __init__(self, path: str | Path, limits: Limits, sample_rate: int) -> None:
        import soundfile

        self.name = f"dali {_dali().__version__}"
        with closing(open_decoder(path, limits)) as checked:
            self.sample_rate, self.length, self._tags = checked.sample_rate, checked.length, checked.tags()
        try:
            info = soundfile.info(str(path))
        except soundfile.LibsndfileError:
            info = None
        if info is None or info.format not in _DECODED:
            what = info.format if info else "another format"
            raise AudioError(f"--decoder dali reads WAV, FLAC, Ogg Vorbis and Opus, and this is {what}")
        if self.sample_rate != sample_rate:
            raise AudioError(
                f"--decoder dali needs {sample_rate} Hz, and this has {self.sample_rate}: "
                "DALI's resampler aliases"
            )
        if self.length * info.channels > limits.decoded_samples:
            raise AudioError(f"decodes to more than {limits.decoded_samples} samples")
        self._samples = _decoded(Path(path).read_bytes())
        self.length = len(self._samples)

    def read(self, start: int, count: int) -> Float32:
        return self._samples[start : start + count]

    def measure(self) -> int:
        return self.length

    def tags(self) -> dict[str, str]:
        return self._tags

    def close(self) -> None:
        self._samples = np.empty(0, np.float32)


def open_dali_decoder(path: str | Path, limits: Limits, sample_rate: int) -> Decoder:
    """See ``DaliDecoder``."""
    return DaliDecoder(path, limits, sample_rate)


def _decoded(encoded: bytes) -> Float32:
    pipeline = _decoding_pipeline()
    try:
        (samples,) = pipeline.run(encoded=[np.frombuffer(encoded, np.uint8)])
        return np.array(samples.at(0))
    except RuntimeError as error:
        _decoding_pipeline.cache_clear()  # after an error a pipeline is of no use
        reason = str(error).splitlines()
        lines = [line for line in reason if "rror" in line and "ritical" not in line] or reason
        raise AudioError(f"DALI cannot decode it: {lines[0].strip()[:200]}") from None


@lru_cache(maxsize=1)
def _decoding_pipeline() -> Any:
    dali = _dali()
    fn, types = dali.fn, dali.types

    @dali.pipeline_def(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def pipeline() -> Any:
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
        return fn.decoders.audio(encoded, downmix=True, dtype=types.FLOAT)[0]

    made = pipeline()
    made.build()
    return made


def _column(values: tuple[float, ...], spec: AudioSpec) -> Float32:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32)[:, None], (spec.n_mels, 1)))


def _dali() -> Any:
    try:
        import nvidia.dali
        import nvidia.dali.fn
        import nvidia.dali.math
        import nvidia.dali.types
    except ImportError as error:
        raise DeviceError(f'DALI is not installed ({error}): pip install "mer[gpu]" (on Linux)') from None
    return nvidia.dali


def _explained(error: Exception, what: str) -> DeviceError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines)
    kind = DeviceError
    if isinstance(error, MemoryError) or any(word in text.lower() for word in ("out of memory", "bad_alloc")):
        kind = DeviceMemoryError
    last = lines[-1] if lines else type(error).__name__
    reason = next((line for line in lines if line.startswith(("CUDA ", "Assert", "nvml"))), last)
    return kind(f"{what}: {reason[:300]}")
