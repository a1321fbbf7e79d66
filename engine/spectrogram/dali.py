"""Log-mels on NVIDIA DALI, on the CPU or the GPU, from one pipeline definition.

DALI's FFT is float32, ours float64: cells up to 100 dB below a window's loudest agree within 0.01 dB, and
quieter ones, where float32's rounding of the loud ones is heard, within 0.3 dB.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..arrays import Float32
from ..dali_library import dali_module
from ..errors import DeviceError, DeviceMemoryError
from ..spec import AudioSpec

IN_FLIGHT = 2
"""Batches begun and not yet taken, at most: one is copied and computed while another waits."""


class DaliLogMel:
    """``spectrogram.log_mel_from_audio`` on a device, a batch at a time; a context manager.

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

    def __enter__(self) -> DaliLogMel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _image_pipeline(spec: AudioSpec, device: str, **options: Any) -> Any:
    dali = dali_module()
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


def _column(values: tuple[float, ...], spec: AudioSpec) -> Float32:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32)[:, None], (spec.n_mels, 1)))


def _explained(error: Exception, what: str) -> DeviceError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines)
    kind = DeviceError
    if isinstance(error, MemoryError) or any(word in text.lower() for word in ("out of memory", "bad_alloc")):
        kind = DeviceMemoryError
    last = lines[-1] if lines else type(error).__name__
    reason = next((line for line in lines if line.startswith(("CUDA ", "Assert", "nvml"))), last)
    return kind(f"{what}: {reason[:300]}")
