"""Which builder is chosen, and options that it does not support are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from merkit.engine.errors import UsageError
from merkit.engine.runtimes.engine_compatibility import CARDS
from merkit.export import builders
from merkit.export.builders import (
    EngineOptions,
    GpuFamily,
    NoBuilderError,
    UnsupportedOptionError,
    gpu_capability,
    open_builder,
)

pytest.importorskip("tensorrt_rtx")
pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.mark.parametrize("batches", [(2, 1, 4), (1, 5, 4), (0, 1, 4), (4, 4, 3)])
def test_batches_must_rise(batches: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="min <= opt <= max"):
        EngineOptions(batches)


@pytest.mark.parametrize(
    ("option", "value"),
    [("timing_cache", Path("cache")), ("hardware_compatible", True), ("version_compatible", True)],
)
def test_what_rtx_does_not_support_is_refused(option: str, value: Any) -> None:
    for name in ("rtx", "auto"):
        with pytest.raises(UnsupportedOptionError, match=f"does not support {option}") as refused:
            open_builder(name, EngineOptions(**{option: value}))  # pyright: ignore[reportArgumentType]
        assert refused.value.options == (option,)
        assert refused.value.exit_code == 2


def test_full_tensorrt_needs_its_package_its_version_and_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt_rtx

    def installed(version: str, gpu: str | None) -> None:
        full = SimpleNamespace(**{**vars(tensorrt_rtx), "__version__": version})
        monkeypatch.setattr(
            builders, "import_module", lambda name: full if name == "tensorrt" else tensorrt_rtx
        )
        monkeypatch.setattr(builders, "_installed", lambda name: True)
        monkeypatch.setattr(builders, "gpu_capability", lambda: gpu)

    with pytest.raises(NoBuilderError, match=r"merkit\[gpu\]"):
        open_builder("tensorrt", EngineOptions())
    installed("10.7.0", "8.9")
    with pytest.raises(NoBuilderError, match=r"10\.8"):
        open_builder("tensorrt", EngineOptions())
    installed("10.8.0", "8.9")
    assert open_builder("tensorrt", EngineOptions()).name == "tensorrt"
    installed("11.0.0", None)
    with pytest.raises(NoBuilderError, match="none is here"):
        open_builder("tensorrt", EngineOptions())
    installed("11.0.0", "8.9")
    with pytest.raises(UnsupportedOptionError, match="gpu") as refused:
        open_builder("tensorrt", EngineOptions(gpu="ada"))
    assert (refused.value.title, refused.value.options) == ("TensorRT", ("gpu",))


@pytest.mark.parametrize(
    ("gpu", "has_tensorrt", "family", "name", "why"),
    [
        (
            None,
            True,
            None,
            "rtx",
            "TensorRT for RTX: no NVIDIA GPU is here, and TensorRT compiles on the GPU",
        ),
        (
            "8.9",
            True,
            None,
            "tensorrt",
            "TensorRT: it is installed, and compiles for the GPU that is here (8.9)",
        ),
        ("8.9", True, "ada", "rtx", "TensorRT for RTX: it alone compiles for the family ada"),
        ("8.9", False, None, "rtx", "TensorRT for RTX: TensorRT is not installed"),
        ("9.0", False, None, "rtx", "will not run on the GPU that is here (9.0): pip install"),
    ],
)
def test_auto_says_what_it_chose_and_why(
    monkeypatch: pytest.MonkeyPatch, gpu: str | None, has_tensorrt: bool, family: Any, name: str, why: str
) -> None:
    import tensorrt_rtx

    full = SimpleNamespace(**{**vars(tensorrt_rtx), "__version__": "11.0.0"})
    monkeypatch.setattr(builders, "import_module", lambda name: full)
    monkeypatch.setattr(builders, "_installed", lambda name: has_tensorrt)
    monkeypatch.setattr(builders, "gpu_capability", lambda: gpu)
    builder = open_builder("auto", EngineOptions(gpu=family))
    assert builder.name == name
    assert why in builder.choice
    assert ("not run" in builder.choice) == (gpu == "9.0")
    assert open_builder("rtx", EngineOptions()).choice == ""


def test_every_family_is_known_to_the_builder() -> None:
    known = open_builder("rtx", EngineOptions()).trt.ComputeCapability
    assert set(CARDS) == set(get_args(GpuFamily))
    assert all(hasattr(known, f"SM{card.replace('.', '')}") for cards in CARDS.values() for card in cards)


@pytest.mark.parametrize("failing", [None, 0, 1, 2])
def test_a_driver_that_fails_tells_of_no_gpu(monkeypatch: pytest.MonkeyPatch, failing: int | None) -> None:
    """Whichever call: none of them alone makes a capability."""
    calls: list[Any] = []

    def answer(*given: Any) -> int:
        calls.append(given)
        return 100 * (len(calls) - 1 == failing)

    driver = SimpleNamespace(cuInit=answer, cuDeviceGetAttribute=answer)
    monkeypatch.setattr(builders.ctypes, "CDLL", lambda _: driver)
    assert gpu_capability() == ("0.0" if failing is None else None)
