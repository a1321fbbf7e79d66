"""Several GPUs: a process each, which may die."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import Pipe, active_children
from typing import Any

import numpy as np
import pytest
from gpu_on_cpu import SPEC, assert_close, by_reference, on_cpu
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError, MerError
from merkit.engine.labelling import gpu_process, gpu_processes
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.file_windows import FileSamples, WindowOptions
from merkit.engine.labelling.gpu_jobs import Job
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.labelling.gpu_processes import GpuProcesses
from merkit.engine.labelling.in_order import LabelsInOrder

pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")


def with_fault(artifact: Artifact, number: int, fault: Callable[[], None]) -> GpuPipeline:
    """A network on which something happens when it gets a file behind the thirtieth of a job."""
    network = on_cpu(artifact, number, 4)
    add = network.add

    def counted(key: tuple[Any, int], file: FileSamples) -> Iterator[tuple[Any, np.ndarray]]:
        if key[1] >= 30:
            fault()
        return add(key, file)

    network.add = counted  # pyright: ignore[reportAttributeAccessIssue]
    return network


def raising(error: Exception) -> None:
    raise error


def dying(artifact: Artifact, number: int) -> GpuPipeline:
    """The second GPU's process ends after some batches, as a driver's fault would end it."""
    return with_fault(artifact, number, lambda: os._exit(11)) if number else on_cpu(artifact, number, 4)


def failing(artifact: Artifact, number: int) -> GpuPipeline:
    """The second GPU fails: no call of CUDA works in its process any longer, not even what closes it."""
    if number == 0:
        return on_cpu(artifact, number, 4)
    network = with_fault(artifact, number, lambda: raising(DeviceError("an H100: CUDA failed: ECC")))
    network.close = lambda: raising(RuntimeError("cleanup failed"))  # pyright: ignore[reportAttributeAccessIssue]
    return network


def missing_one(artifact: Artifact, number: int) -> GpuPipeline:
    return missing(artifact, number) if number else on_cpu(artifact, number, 4)


def both_once(artifact: Artifact, number: int) -> GpuPipeline:
    """The first GPU hangs, the second fails; each once, after which a new process works on it."""
    try:
        (artifact.path.parent / f"fault-{number}").touch(exist_ok=False)
    except FileExistsError:
        return on_cpu(artifact, number, 4)
    hang = lambda: time.sleep(3_600)  # noqa: E731
    return with_fault(artifact, number, (lambda: raising(DeviceError("Xid 79"))) if number else hang)


def dying_all(artifact: Artifact, number: int) -> GpuPipeline:
    os._exit(3)


def without_space(artifact: Artifact, number: int) -> GpuPipeline:
    raise OSError(28, "No space left on device")


def missing(artifact: Artifact, number: int) -> GpuPipeline:
    raise DeviceError(f"no GPU number {number}")


@pytest.mark.parametrize(
    ("opening", "said"),
    [
        (on_cpu, []),
        (dying, ["GPU 1: its process died (exit code 11); its files go to the others"]),
        (failing, ["GPU 1: an H100: CUDA failed: ECC; its files go to the others"]),
        (missing_one, ["GPU 1: no GPU number 1; its files go to the others"]),
    ],
)
def test_several_gpus_label_as_one_does(
    mixed_songs: list[str],
    artifact: Artifact,
    caplog: pytest.LogCaptureFixture,
    opening: Any,
    said: list[str],
) -> None:
    many = (mixed_songs * 100)[:200]
    expected = (by_reference(mixed_songs, artifact) * 100)[:200]
    with GpuProcesses(2, "onnxruntime", 2, opening) as processes:
        rows = list(processes.label_files(many, artifact, WindowOptions(SPEC.audio)))
    assert_close(rows, expected)
    assert [record.getMessage() for record in caplog.records] == said


def test_gpus_that_failed_and_hung_work_again_in_a_new_process(
    mixed_songs: list[str],
    artifact: Artifact,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = WindowOptions(SPEC.audio)
    monkeypatch.setattr(gpu_processes, "_PATIENCE_S", 10 - 4 * options.limits.seconds)
    many = (mixed_songs * 100)[:200]
    expected = (by_reference(mixed_songs, artifact) * 100)[:200]
    with GpuProcesses(2, "onnxruntime", 2, both_once) as processes:
        rows = list(processes.label_files(many, artifact, options))
    assert_close(rows, expected)
    said = sorted(record.getMessage() for record in caplog.records)
    assert "GPU 0: it gave nothing for 10 s; its files go to the others" in said
    assert "GPU 1: Xid 79; its files go to the others" in said


def test_each_call_has_its_own_processes(mixed_songs: list[str], artifact: Artifact) -> None:
    before = set(active_children())
    options, expected = WindowOptions(SPEC.audio), by_reference(mixed_songs, artifact)
    stages = StageSeconds()
    with GpuProcesses(2, "onnxruntime", 2, on_cpu) as processes:
        first = processes.label_files(mixed_songs * 100, artifact, options)
        assert_close([next(first)], expected[:1])
        of_first = set(active_children()) - before
        assert len(of_first) == 2
        assert_close(list(processes.label_files(mixed_songs, artifact, options, stages=stages)), expected)
        assert set(active_children()) - before == of_first
        assert_close([next(first)], expected[1:2])
    assert set(active_children()) == before
    assert min(stages.start, stages.decode, stages.network) > 0
    for labels in (first, processes.label_files(mixed_songs, artifact, options)):
        with pytest.raises(ValueError, match="closed"):
            list(labels)


def test_several_gpus_that_fail(mixed_songs: list[str], artifact: Artifact) -> None:
    for opening, kind, why in (
        (dying_all, DeviceError, "last process that had a GPU died"),
        (missing, DeviceError, "no GPU number"),
        (without_space, MerError, r"GPU \d's process failed: .*No space left on device"),
    ):
        with GpuProcesses(2, "tensorrt", 2, opening) as processes, pytest.raises(kind, match=why):
            list(processes.label_files(mixed_songs * 20, artifact, WindowOptions(SPEC.audio)))


def test_a_signal_to_the_whole_group_costs_no_label(
    mixed_songs: list[str], artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    """As systemd and timeout(1) send it; the parent says when to stop. Nor does it end a process."""
    before = set(active_children())
    many, expected = mixed_songs * 20, by_reference(mixed_songs, artifact) * 20
    with GpuProcesses(2, "onnxruntime", 2, on_cpu) as processes:
        rows = processes.label_files(many, artifact, WindowOptions(SPEC.audio))
        labels = [next(rows)]
        for process in set(active_children()) - before:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(process.pid or 0, number)
        assert_close([*labels, *rows], expected)
    assert [record.getMessage() for record in caplog.records] == []


def test_the_next_job_is_there_before_the_last_ends() -> None:
    ours, theirs = Pipe()
    child = gpu_processes._Child(0, None, ours)
    assert child.wants_more
    child.begin(Job(deque([(0, "a"), (1, "b")])))
    assert child.wants_more
    child.begin(Job(deque([(2, "c"), (3, "d"), (4, "e")])))
    assert not child.wants_more
    jobs = [theirs.recv()]
    paths = gpu_process._paths(theirs, jobs)
    assert [next(paths) for _ in range(5)] == ["a", "b", "c", "d", "e"]
    assert child.labelled("a") == 0
    assert not child.wants_more
    assert child.labelled("b") == 1
    assert child.wants_more
    child.begin(Job(deque([(5, "f")])))
    assert list(paths) == ["f"]
    assert len(jobs) == child.jobs == 3


def test_several_gpus_stop(
    mixed_songs: list[str], artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that came of either is lost, though what comes before it may not be there."""
    stop, rows, many, came = threading.Event(), [], mixed_songs * 100, []
    put = LabelsInOrder.__setitem__
    spy = lambda self, at, label: came.append(at) or put(self, at, label)  # noqa: E731
    monkeypatch.setattr(LabelsInOrder, "__setitem__", spy)
    with GpuProcesses(2, "onnxruntime", 2, on_cpu) as processes:
        for row in processes.label_files(many, artifact, WindowOptions(SPEC.audio), stop):
            rows.append(row)
            stop.set()
    assert 1 <= len(rows) < 400
    assert [row.path for row in rows] == [many[at] for at in sorted(came)]
