"""NVIDIA DALI's decoder for WAV, FLAC, Ogg Vorbis and Opus. It decodes whole files, on the CPU."""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Float32
from ..errors import AudioError
from .channels import mono_from_two
from .dali_library import dali_module
from .decoder import Limits
from .libsndfile import SoundFileDecoder
from .open import open_decoder

_FORMATS = ("WAV", "WAVEX", "FLAC", "OGG")  # libsndfile's names; OGG holds Vorbis and Opus


class DaliDecoder:
    """``Decoder`` of a whole file that DALI has decoded.

    It does not resample, because DALI's resampler aliases: a tone above half of the new rate comes back
    as a lower one.

    Args:
        sample_rate: the rate in Hz that the file must have.

    Raises:
        AudioError: as ``open_decoder``; another format or rate; more samples than the limits allow.
        DeviceError: DALI is not installed.
    """

    def __init__(self, path: str | Path, limits: Limits, sample_rate: int) -> None:
        self.name = f"dali {dali_module().__version__}"
        with closing(open_decoder(path, limits)) as decoder:
            self.sample_rate, self.length, self._tags = decoder.sample_rate, decoder.length, decoder.tags()
            if not isinstance(decoder, SoundFileDecoder) or decoder.format not in _FORMATS:
                kind = decoder.format if isinstance(decoder, SoundFileDecoder) else "another format"
                raise AudioError(f"DALI's decoder reads WAV, FLAC, Ogg Vorbis and Opus, and this is {kind}")
            if self.sample_rate != sample_rate:
                raise AudioError(
                    f"DALI's decoder needs {sample_rate} Hz, and this has {self.sample_rate}: "
                    "DALI's resampler aliases"
                )
            if self.length * decoder.channels > limits.decoded_samples:
                raise AudioError(f"decodes to more than {limits.decoded_samples} samples (--max-decoded)")
            self._two = decoder.two_from_block(_decoded(decoder.file_bytes()))
        self.length = len(self._two)

    def read(self, start: int, count: int) -> Float32:
        return mono_from_two(self._two[start : start + count])

    def measure(self) -> int:
        return self.length

    def tags(self) -> dict[str, str]:
        return self._tags

    def close(self) -> None:
        self._two = np.empty((0, 1), np.float32)


def _decoded(encoded: bytes) -> Float32:
    """``[samples, channels]``."""
    pipeline = _decoding_pipeline()
    try:
        (samples,) = pipeline.run(encoded=[np.frombuffer(encoded, np.uint8)])
        return np.array(samples.at(0)).reshape(len(samples.at(0)), -1)
    except RuntimeError as error:
        _decoding_pipeline.cache_clear()  # a pipeline cannot be used again after an error
        message = str(error).splitlines()
        lines = [line for line in message if "rror" in line and "ritical" not in line] or message
        raise AudioError(f"DALI cannot decode it: {lines[0].strip()[:200]}") from None


@lru_cache(maxsize=1)
def _decoding_pipeline() -> Any:
    dali = dali_module()
    fn, types = dali.fn, dali.types

    @dali.pipeline_def(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def pipeline() -> Any:
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
        return fn.decoders.audio(encoded, dtype=types.FLOAT)[0]

    built = pipeline()
    built.build()
    return built
