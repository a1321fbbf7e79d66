"""Log-mel spectrograms by NumPy: the reference that every other path is compared with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..arrays import Float32
from ..spec import AudioSpec

_FRAMES_AT_ONCE = 32  # they stay in a core's cache: the fastest of 8 to 313 for an FFT of 2,048
_MELS_AT_ONCE = 8


def log_mel_from_audio(audio: Float32, spec: AudioSpec) -> Float32:
    """The log-mels of windows of sound, standardised as the spec says.

    Args:
        audio: float32 ``[windows, spec.window_samples]``, mono, at ``spec.sample_rate``.

    Returns:
        float32 ``[windows, 1, spec.n_mels, spec.frames]``. It is not finite where samples are not, or
        where their power is too large for float32.

    Raises:
        ValueError: another shape.
    """
    if audio.ndim != 2 or audio.shape[1] != spec.window_samples:
        raise ValueError(f"audio must be [windows, {spec.window_samples}], not {list(audio.shape)}")
    log_mels = np.empty((len(audio), 1, spec.n_mels, spec.frames), np.float32)
    for window, log_mel in zip(audio, log_mels[:, 0], strict=True):
        log_mel[:] = log_mel_from_decibels(decibels_from_audio(window, spec)[:, : spec.frames], spec)
    return log_mels


def log_mel_from_decibels(decibels: Float32, spec: AudioSpec) -> Float32:
    """The log-mel ``[mels, frames]`` of dB of the same shape.

    dB are made relative to their maximum or their mean power and limited to ``top_db`` below their maximum
    where the spec says so, then standardised.
    """
    if spec.reference == "max":
        decibels = decibels - decibels.max()
    elif spec.reference == "mean":
        peak = decibels.max()  # no power overflows once it is relative to the loudest
        power = np.exp((decibels - peak) * np.float32(np.log(10) / 10)).mean(dtype=np.float64)
        decibels = decibels - (peak + np.float32(10 * np.log10(power)))
    if spec.top_db is not None:
        decibels = np.maximum(decibels, decibels.max() - spec.top_db)
    return (decibels - np.asarray(spec.mean, np.float32)[:, None]) / np.asarray(spec.std, np.float32)[:, None]


def decibels_from_audio(audio: Float32, spec: AudioSpec) -> Float32:
    """Mel power in dB, ``10 log10(max(power, amin))``, of mono sound of any length.

    Args:
        audio: float32 ``[samples]`` at ``spec.sample_rate``.

    Returns:
        float32 ``[spec.n_mels, 1 + samples // spec.hop_length]``, before all that
        ``log_mel_from_decibels`` does.
    """
    bank, used = _mel_bank(spec)
    hann = stft_window(spec)
    # The FFT is in float64, as in librosa: in float32 its rounding of a loud bass changes a quiet treble by
    # up to 0.06 dB. That takes a third more time in the FFT.
    mode = "constant" if spec.pad_mode == "constant" else "reflect"
    padded = np.pad(np.asarray(audio, np.float64), spec.n_fft // 2, mode=mode)
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
    mel = np.empty((len(frames), spec.n_mels), np.float32)
    windowed = np.empty((_FRAMES_AT_ONCE, spec.n_fft))
    spectrum = np.empty((_FRAMES_AT_ONCE, spec.n_fft // 2 + 1), np.complex128)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(frames), _FRAMES_AT_ONCE):
            block = frames[start : start + _FRAMES_AT_ONCE]
            count = len(block)
            np.multiply(block, hann, out=windowed[:count])
            np.fft.rfft(windowed[:count], out=spectrum[:count])
            # Real and imaginary parts alternate.
            squares = spectrum[:count, used].astype(np.complex64).view(np.float32)
            np.square(squares, out=squares)
            power = squares[:, 0::2] + squares[:, 1::2]
            for rows, bins, weights in bank:
                np.matmul(power[:, bins], weights, out=mel[start : start + count, rows])
        np.maximum(mel, np.float32(spec.amin), out=mel)
        np.log(mel, out=mel)  # NumPy vectorizes log for float32, not log10
    mel *= np.float32(10 / np.log(10))
    return np.ascontiguousarray(mel.T)


@lru_cache(maxsize=8)
def stft_window(spec: AudioSpec) -> npt.NDArray[np.float64]:
    """The window of the STFT, float64 ``[n_fft]``: a periodic Hann window with zeros on both sides."""
    length = spec.win_length or spec.n_fft
    before = (spec.n_fft - length) // 2
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return np.pad(hann, (before, spec.n_fft - length - before))


def mel_filters(spec: AudioSpec) -> npt.NDArray[np.float64]:
    """Triangular mel filters, float64 ``[n_mels, 1 + n_fft // 2]``.

    Slaney's scale is linear below 1 kHz and logarithmic above (Auditory Toolbox, 1998); HTK's is
    ``2595 log10(1 + f / 700)``. With the norm "slaney" every triangle has the area 1 over frequency.
    """
    edges = mel_edges(spec)
    bins = np.linspace(0, spec.sample_rate / 2, 1 + spec.n_fft // 2)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre))
    filters = np.maximum(0, triangles)
    if spec.mel_norm == "slaney":
        filters *= 2 / (upper - lower)
    return filters


def mel_edges(spec: AudioSpec) -> npt.NDArray[np.float64]:
    """Hz, float64 ``[n_mels + 2]``: a filter begins at its edge, peaks at the next, ends at the third."""
    return _hz_from_mel(
        np.linspace(_mel_from_hz(spec.fmin, spec), _mel_from_hz(spec.fmax, spec), spec.n_mels + 2), spec
    )


_LINEAR_HZ = 200 / 3  # Hz a mel below 1 kHz on Slaney's scale
_BREAK_MEL = 1_000 / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27


def _mel_from_hz(hz: float, spec: AudioSpec) -> float:
    if spec.mel_scale == "htk":
        return float(2_595 * np.log10(1 + hz / 700))
    return hz / _LINEAR_HZ if hz < 1_000 else float(_BREAK_MEL + np.log(hz / 1_000) / _LOG_STEP)


def _hz_from_mel(mel: npt.NDArray[np.float64], spec: AudioSpec) -> npt.NDArray[np.float64]:
    if spec.mel_scale == "htk":
        return 700 * (10 ** (mel / 2_595) - 1)
    # The maximum with 0 keeps exp in range where the linear part is used.
    return np.where(
        mel < _BREAK_MEL, mel * _LINEAR_HZ, 1_000 * np.exp(_LOG_STEP * np.maximum(0, mel - _BREAK_MEL))
    )


@lru_cache(maxsize=8)
def _mel_bank(spec: AudioSpec) -> tuple[list[tuple[slice, slice, Float32]], slice]:
    """The filters in groups, each (mels, bins that it uses, weights ``[bins, mels]``), and all bins in use.

    A group's product is so small that no BLAS starts threads for it: with a process on every core, threads
    would only cost time.
    """
    filters = mel_filters(spec)
    used = _support(filters)
    bank = []
    for first in range(0, spec.n_mels, _MELS_AT_ONCE):
        rows = slice(first, min(first + _MELS_AT_ONCE, spec.n_mels))
        bins = _support(filters[rows, used])
        bank.append((rows, bins, np.ascontiguousarray(filters[rows, used][:, bins].T, np.float32)))
    return bank, used


def _support(filters: npt.NDArray[np.float64]) -> slice:
    bins = np.flatnonzero(filters.any(axis=0))
    return slice(int(bins[0]), int(bins[-1]) + 1) if bins.size else slice(0, 1)
