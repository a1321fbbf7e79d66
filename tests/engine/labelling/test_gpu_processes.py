"""Several GPUs: a process each, which may die."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gpu_on_cpu import SPEC, assert_close, by_reference, on_cpu
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError
from merkit.engine.labelling.file_windows import FileSamples, WindowOptions
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.labelling.gpu_processes import GpuProcesses

pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")


def dying(artifact: Artifact, number: int) -> GpuPipeline:
    """The second GPU's process ends after some batches, as a driver's fault would end it."""
    network = on_cpu(artifact, number, 4)
    if number == 1:
        add = network.add

        def counted(position: int, file: FileSamples) -> Iterator[tuple[int, np.ndarray]]:
            if position == 9:
                os._exit(11)
            return add(position, file)

        network.add = counted  # pyright: ignore[reportAttributeAccessIssue]
    return network


def dying_all(artifact: Artifact, number: int) -> GpuPipeline:
    os._exit(3)


def missing(artifact: Artifact, number: int) -> GpuPipeline:
    raise DeviceError(f"no GPU number {number}")


@pytest.mark.parametrize("opening", [on_cpu, dying])
def test_several_gpus_label_as_one_does(mixed_songs: list[str], artifact: Artifact, opening: Any) -> None:
    many = mixed_songs * 20
    wanted = by_reference(mixed_songs, artifact) * 20
    with GpuProcesses(2, "onnxruntime", 2, opening) as processes:
        found = list(processes.label_files(many, artifact, WindowOptions(SPEC.audio)))
    assert_close(found, wanted)


def test_several_gpus_that_fail(mixed_songs: list[str], artifact: Artifact) -> None:
    for opening, why in ((dying_all, "last process that had a GPU died"), (missing, "no GPU number")):
        with GpuProcesses(2, "tensorrt", 2, opening) as processes, pytest.raises(DeviceError, match=why):
            list(processes.label_files(mixed_songs * 20, artifact, WindowOptions(SPEC.audio)))


def test_several_gpus_stop(mixed_songs: list[str], artifact: Artifact) -> None:
    stop, rows = threading.Event(), []
    with GpuProcesses(2, "onnxruntime", 2, on_cpu) as processes:
        for row in processes.label_files(mixed_songs * 100, artifact, WindowOptions(SPEC.audio), stop):
            rows.append(row)
            stop.set()
    assert 1 <= len(rows) < 400
    assert [row.path for row in rows] == (mixed_songs * 100)[: len(rows)]
