"""How many GPUs there are for processes of their own, and which one such a process sees."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from merkit.engine.errors import DeviceError
from merkit.engine.runtimes import cuda_devices
from merkit.engine.runtimes.cuda_devices import check_gpu_count, show_only

MIG = "MIG-0b4a5b6e-3d1f-5e4b-9c1e-000000000001"


def machine(
    monkeypatch: pytest.MonkeyPatch, count: int, name: str = "an H100", visible: str | None = None
) -> None:
    class Device:
        def __init__(self, index: int) -> None:
            assert index < count

        @staticmethod
        def count() -> int:
            return count

        def name(self) -> str:
            return name

    monkeypatch.setattr(cuda_devices, "started_cuda", lambda: SimpleNamespace(Device=Device))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 4)
    check_gpu_count(4)
    with pytest.raises(DeviceError, match=r"^5 GPUs were asked for, and there are 4$"):
        check_gpu_count(5)
    machine(monkeypatch, 1, visible="3")
    with pytest.raises(DeviceError, match=r"there is 1 \(CUDA_VISIBLE_DEVICES is 3\)$"):
        check_gpu_count(2)
    machine(monkeypatch, 0)
    with pytest.raises(DeviceError, match=r"there are 0$"):
        check_gpu_count(2)


def test_slices_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA shows a process one of them, however many there are and are listed."""
    name = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    machine(monkeypatch, 1, name)
    with pytest.raises(DeviceError, match=r"there is 1; CUDA shows a process one slice .*nvidia-smi -L"):
        check_gpu_count(2)
    machine(monkeypatch, 1, name, visible=f"{MIG},{MIG[:-1]}2")
    check_gpu_count(2)
    with monkeypatch.context() as patch:  # nothing need be asked of CUDA
        patch.setattr(cuda_devices, "started_cuda", None)
        check_gpu_count(2)
    with pytest.raises(DeviceError, match=r"^3 GPUs were asked for, and there are 2"):
        check_gpu_count(3)


def test_whole_gpus_that_are_listed_are_counted_by_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops at a name that it does not know; only slices it does not count."""
    machine(monkeypatch, 1, visible="GPU-8f1c,GPU-gone")
    with pytest.raises(DeviceError, match=r"there is 1 \(CUDA_VISIBLE_DEVICES is GPU-8f1c,GPU-gone\)$"):
        check_gpu_count(2)


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        (None, ["0", "1"]),
        ("", ["0", "1"]),
        ("6,2", ["6", "2"]),
        (" GPU-8f1c , GPU-77aa ", ["GPU-8f1c", "GPU-77aa"]),
        (f"{MIG},{MIG[:-1]}2", [MIG, f"{MIG[:-1]}2"]),
    ],
)
def test_a_process_sees_its_own_gpu_only(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, seen: list[str]
) -> None:
    for gpu, name in enumerate(seen):
        machine(monkeypatch, 2, visible=visible)
        show_only(gpu)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == name
