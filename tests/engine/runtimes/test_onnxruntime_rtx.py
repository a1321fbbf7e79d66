"""TensorRT RTX's provider, with ONNX Runtime's own one for the CPU in its place: no RTX card is here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import ArtifactError, DeviceError, MerError
from merkit.engine.runtimes import onnxruntime_rtx, open_runtime

if not hasattr(onnxruntime, "register_execution_provider_library"):
    pytest.skip("the extra wants ONNX Runtime 1.24", allow_module_level=True)

NAME = "CPUExecutionProvider"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """The options that sessions are opened with; the CPU's provider takes none of them.

    They must refuse what the provider leaves to the CPU, which here is nothing but the CPU.
    """
    given: list[dict[str, str]] = []

    class Options(onnxruntime.SessionOptions):
        def add_provider_for_devices(self, devices: Any, options: Any) -> None:
            assert self.entries == {"session.disable_cpu_ep_fallback": "1"}
            given.append(dict(options))
            super().add_provider_for_devices(devices, {})

        def add_session_config_entry(self, key: str, value: str) -> None:
            self.entries = {**getattr(self, "entries", {}), key: value}

    package = SimpleNamespace(get_ep_name=lambda: NAME, get_library_path=lambda: "library.so")
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", package)
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", lambda *_: None)
    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    onnxruntime_rtx._devices.cache_clear()
    yield given
    onnxruntime_rtx._devices.cache_clear()


def log_mels(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 1, 128, 313)).astype(np.float32)


def test_the_reference_runtimes_logits(tiny_model: Path, provider: list[dict[str, str]]) -> None:
    artifact = open_artifact(str(tiny_model))
    with open_runtime(artifact, "onnxruntime_rtx") as ours, open_runtime(artifact) as theirs:
        for count in (0, 1, 3, 256, 300):  # the last in two parts
            np.testing.assert_allclose(ours.infer(log_mels(count)), theirs.infer(log_mels(count)), atol=1e-5)
        ours.close()  # and again at the end
    assert provider == [
        {
            "nv_profile_min_shapes": "images:1x1x128x313",
            "nv_profile_opt_shapes": "images:64x1x128x313",
            "nv_profile_max_shapes": "images:256x1x128x313",
        }
    ]


@pytest.mark.usefixtures("provider")
def test_a_card_that_is_not_there(tiny_model: Path) -> None:
    with pytest.raises(DeviceError, match="no GPU number 7 for TensorRT RTX: it finds 1"):
        open_runtime(open_artifact(str(tiny_model)), "onnxruntime_rtx", gpu=7)


@pytest.mark.usefixtures("provider")
def test_a_card_is_the_providers_of_its_number(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other providers' devices, such as the CPU, do not count."""
    taken: list[Any] = []
    other, *cards = (SimpleNamespace(ep_name=name) for name in ("CPU", NAME, NAME))
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [other, *cards])
    monkeypatch.setattr(onnxruntime_rtx, "OnnxRuntimeRtx", lambda _, device: taken.append(device))
    artifact = open_artifact(str(tiny_model))
    for gpu in (0, 1):
        onnxruntime_rtx.open_runtime(artifact, 0, gpu)
    assert taken == cards
    assert taken[0] is cards[0]
    assert taken[1] is cards[1]
    with pytest.raises(DeviceError, match="no GPU number 2 for TensorRT RTX: it finds 2"):
        onnxruntime_rtx.open_runtime(artifact, 0, 2)


def test_what_cannot_be_opened(
    tiny_model: Path, provider: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no libcuda.so.1")

    artifact = open_artifact(str(tiny_model))
    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime, "register_execution_provider_library", refuse)
        with pytest.raises(DeviceError, match=r"cannot be loaded, .*driver: no libcuda\.so\.1"):
            onnxruntime_rtx.open_runtime(artifact, 0)
    with monkeypatch.context() as patch:
        patch.delattr(onnxruntime, "register_execution_provider_library")
        with pytest.raises(MerError, match=r"install onnxruntime 1\.24"):
            onnxruntime_rtx.open_runtime(artifact, 0)
    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", refuse)
        with pytest.raises(ArtifactError, match="TensorRT RTX refuses it"):
            onnxruntime_rtx.open_runtime(artifact, 0)
    onnxruntime_rtx._devices.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    with pytest.raises(MerError, match=r"pip install .merkit\[onnxruntime-rtx\]"):
        onnxruntime_rtx.open_runtime(artifact, 0)
