"""Triton's model NAME_log_mel: samples in, log-mels out. mer-export copies this file into the repository.

It runs in Triton's Python backend, which must find merkit (docs/TRITON.md says how).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]
from merkit.engine.spec import ModelSpec
from merkit.engine.spectrogram.log_mel import log_mel_from_audio


class TritonPythonModel:
    """What the backend asks for by this name."""

    def initialize(self, args: dict[str, str]) -> None:
        parameters = json.loads(args["model_config"])["parameters"]
        self._audio = ModelSpec.from_json(parameters["model_spec"]["string_value"]).audio

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer a request: log-mels of ``samples`` float32 ``[n, window_samples]``, or an error."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        samples = pb_utils.get_input_tensor_by_name(request, "samples").as_numpy()
        if not np.isfinite(samples).all():
            error = pb_utils.TritonError("samples that are not finite")
            return pb_utils.InferenceResponse(output_tensors=[], error=error)
        log_mels = log_mel_from_audio(samples, self._audio)
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("images", log_mels)])
