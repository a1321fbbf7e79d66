"""Log-mels by NVIDIA DALI, on the CPU or the GPU, from one pipeline definition.

DALI's FFT is in float32, that of the reference (log_mel.py) in float64. Cells up to 90 dB below the loudest
of their window agree within 0.01 dB; quieter ones, where float32 rounds the loud ones, within 0.3 dB.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..arrays import Float32, Int16
from ..audio.dali_library import dali_module
from ..closing import ClosedByWith
from ..errors import DeviceError, DeviceMemoryError
from ..spec import AudioSpec
from .log_mel import stft_window

_THREADS = 2  # of the CPU, which copy samples for "gpu" and do all the work for "cpu"
IN_FLIGHT = 2
"""The most batches between ``put`` and ``take``: one is copied and computed while another waits."""


class DaliLogMel(ClosedByWith):
    """``log_mel_from_audio`` on a device, one batch after the other; a context manager.

    ``put`` begins a batch and returns at once; ``take`` returns the log-mels of the oldest one.

    Args:
        batch: the most windows in a batch.
        device: "gpu" copies the samples to the GPU and computes there; "cpu" runs anywhere on Linux.
        device_id: the number of the GPU.
        packed: samples come as int16 with a scale for each window. They are not copied: see ``put``.

    Raises:
        DaliMissingError: DALI is not installed.
        DeviceError: DALI finds no GPU.
    """

    def __init__(
        self,
        spec: AudioSpec,
        batch: int,
        device: Literal["cpu", "gpu"] = "gpu",
        device_id: int = 0,
        packed: bool = False,
    ) -> None:
        self.spec, self.batch, self.device, self._packed = spec, batch, device, packed
        self._in_flight = 0
        self._pipeline: Any = None
        gpu = device_id if device == "gpu" else None
        try:
            self._pipeline = _log_mel_pipeline(
                spec, device, packed, batch_size=batch, device_id=gpu, num_threads=_THREADS
            )
            self._pipeline.build()
        except (RuntimeError, MemoryError) as error:
            raise _explained(error, f"DALI cannot work on the {device.upper()}") from None

    def put(self, audio: Float32 | Int16, scales: Float32 | None = None) -> None:
        """Begins a batch of 1 to ``batch`` windows ``[windows, spec.window_samples]``.

        Float32 is copied. Packed, it is int16 without gaps and float32 ``scales`` ``[windows]``, which must
        not be changed before the log-mels that ``take`` gives are computed: for "gpu" that is later.

        Raises:
            ValueError: another shape or type, or ``IN_FLIGHT`` batches that were not taken.
            DeviceMemoryError: the GPU has too little memory; this object cannot be used again.
        """
        dtype = np.dtype(np.int16 if self._packed else np.float32)
        if audio.ndim != 2 or audio.shape[1] != self.spec.window_samples or audio.dtype != dtype:
            expected = f"{dtype} [windows, {self.spec.window_samples}]"
            raise ValueError(f"audio must be {expected}, not {audio.dtype} {list(audio.shape)}")
        if self._packed and (scales is None or scales.shape != audio.shape[:1] or scales.dtype != np.float32):
            raise ValueError(f"scales must be float32 [{len(audio)}]")
        if not 1 <= len(audio) <= self.batch or self._in_flight >= IN_FLIGHT:
            raise ValueError(f"{len(audio)} windows after {self._in_flight} batches in flight")
        try:
            self._pipeline.feed_input("samples", np.ascontiguousarray(audio))
            if self._packed:
                self._pipeline.feed_input("scales", scales)
            self._pipeline.schedule_run()
        except (RuntimeError, MemoryError) as error:
            raise _explained(error, "DALI makes no log-mels") from None
        self._in_flight += 1

    def take(self, stream: int | None = None) -> Any:
        """The log-mels of the oldest batch, float32 ``[windows, 1, mels, frames]``.

        For "cpu" a NumPy array. For "gpu" an object with ``__cuda_array_interface__``: work that is queued
        on ``stream`` (a CUstream's handle) from now on can read it; without a stream it is ready on return.
        Keep a reference until that work is done: DALI uses the memory again once there is none.

        Raises:
            DeviceMemoryError: the GPU has too little memory; the batch is lost, and this object cannot be
                used again.
        """
        try:
            (output,) = self._pipeline.outputs(cuda_stream=stream if self.device == "gpu" else None)
            log_mels = output.as_tensor()
        except (RuntimeError, MemoryError) as error:
            raise _explained(error, "DALI makes no log-mels") from None
        self._in_flight -= 1
        return np.asarray(log_mels) if self.device == "cpu" else log_mels

    def close(self) -> None:
        """Ends the pipeline and its threads; batches that were not taken are lost."""
        self._pipeline = None


def _log_mel_pipeline(spec: AudioSpec, device: str, packed: bool, **options: Any) -> Any:
    dali = dali_module()
    fn, types, math = dali.fn, dali.types, dali.math
    mean, std = (_column(values, spec) for values in (spec.mean, spec.std))

    # Depth 1: a deeper queue needs as many batches fed before the first schedule_run. Runs are asynchronous
    # in any case, and DALI's executor queues the next ones.
    @dali.pipeline_def(prefetch_queue_depth=1, **options)
    def pipeline() -> Any:
        dtype = types.INT16 if packed else types.FLOAT
        samples = fn.external_source(name="samples", device="cpu", dtype=dtype, ndim=1, no_copy=packed)
        if device == "gpu":
            samples = samples.gpu()
        if packed:
            scales = fn.external_source(name="scales", device="cpu", dtype=types.FLOAT, ndim=0, no_copy=True)
            samples = samples * (scales.gpu() if device == "gpu" else scales)
        power = fn.spectrogram(
            samples,
            nfft=spec.n_fft,
            window_length=spec.n_fft,
            window_step=spec.hop_length,
            window_fn=stft_window(spec).tolist(),
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
        # Not relative to the maximum here: then DALI's cutoff would be too, and silence would be 0 dB.
        decibels = fn.to_decibels(
            mel, multiplier=10.0, reference=1.0, cutoff_db=10 * float(np.log10(spec.amin))
        )
        # A whole window always has enough frames; pad only fixes the shape.
        decibels = fn.pad(decibels[:, : spec.frames], axes=[1], shape=[spec.frames])
        if spec.reference == "max":
            decibels = decibels - fn.reductions.max(decibels, axes=[0, 1])
        elif spec.reference == "mean":
            peak = fn.reductions.max(decibels, axes=[0, 1])
            powers = math.exp((decibels - peak) * float(np.log(10) / 10))
            decibels = decibels - (peak + 10.0 * math.log10(fn.reductions.mean(powers, axes=[0, 1])))
        if spec.top_db is not None:
            decibels = math.max(decibels, fn.reductions.max(decibels, axes=[0, 1]) - spec.top_db)
        log_mel = fn.normalize(decibels, mean=types.Constant(mean), stddev=types.Constant(std))
        return fn.reshape(log_mel, shape=[1, spec.n_mels, spec.frames])

    return pipeline()


def _column(values: tuple[float, ...], spec: AudioSpec) -> Float32:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32)[:, None], (spec.n_mels, 1)))


def _explained(error: Exception, failure: str) -> DeviceError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # DALI raises RuntimeError for most failures on the GPU: only the text says which. The cause stands in the
    # middle of it, and the last line is "Current pipeline object is no longer valid." whatever it was.
    text = " ".join(lines).lower()
    out_of_memory = ("can't allocate", "out of memory", "bad_alloc")
    no_memory = isinstance(error, MemoryError) or any(words in text for words in out_of_memory)
    last = lines[-1] if lines else type(error).__name__
    reason = next(
        (line for line in lines if line.startswith(("Can't allocate", "CUDA ", "Assert", "nvml"))), last
    )
    return (DeviceMemoryError if no_memory else DeviceError)(f"{failure}: {reason[:300]}")
