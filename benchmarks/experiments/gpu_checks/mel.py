"""The log-mels of ``log_mel_from_audio`` by torch's STFT, in float32, on any device."""

from __future__ import annotations

import numpy as np
import torch

from ....engine.spec import AudioSpec
from ....engine.spectrogram.log_mel import mel_filters, stft_window


class TorchLogMel:
    """Samples float32 ``[n, window_samples]`` to log-mels float32 ``[n, 1, mels, frames]``."""

    def __init__(self, spec: AudioSpec, device: str) -> None:
        self._spec = spec
        self._window = self._on(stft_window(spec), device)
        self._filters = self._on(mel_filters(spec), device)
        self._mean, self._std = (
            self._on(np.asarray(values)[:, None], device) for values in (spec.mean, spec.std)
        )

    @staticmethod
    def _on(array: np.ndarray, device: str) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        spec = self._spec
        spectrum = torch.stft(
            samples,
            spec.n_fft,
            spec.hop_length,
            window=self._window,
            center=True,
            pad_mode=spec.pad_mode,
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        decibels = 10 * torch.log10(torch.clamp(self._filters @ power, min=spec.amin))
        decibels = decibels[:, :, : spec.frames]
        if spec.reference != "one":
            peak = decibels.amax((1, 2), keepdim=True)
            level = 0.0
            if spec.reference == "mean":
                level = 10 * torch.log10((10 ** ((decibels - peak) / 10)).mean((1, 2), keepdim=True))
            decibels = decibels - (peak + level)
        if spec.top_db is not None:
            decibels = torch.maximum(decibels, decibels.amax((1, 2), keepdim=True) - spec.top_db)
        return ((decibels - self._mean) / self._std)[:, None]
