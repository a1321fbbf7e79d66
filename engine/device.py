"""Samples straight into a network on a GPU: DALI makes the images there, and TensorRT takes them there."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from .artifact import Artifact
from .dali import IN_FLIGHT, DaliImages
from .decoders import Float32
from .errors import DeviceError, DeviceMemoryError, UsageError
from .runtimes import Runtime, open_runtime

if TYPE_CHECKING:
    from .gpus import GpuProcesses

_RUNNING = 2  # batches that the network has, at most: one computes while another's logits are fetched
_BATCH = 32  # windows, where the runtime sets no limit
_log = logging.getLogger(__name__)


class DeviceNetwork:
    """Takes files' samples, gives their logits, in batches that cross files; a context manager.

    While the network has a batch, DALI makes the images of the next, and the caller decodes. Every image
    is made by itself and every row of logits depends on its image alone, up to the rounding of kernels
    chosen by a batch's size.

    Args:
        runtime: closed with it. With ``submit`` and ``stream`` images stay on the GPU.
        make: gives what makes images in batches of a size.
    """

    def __init__(self, runtime: Runtime, make: Callable[[int], DaliImages]) -> None:
        self.name = runtime.name
        self._runtime, self._make = runtime, make
        self.batch: int = getattr(runtime, "batch", _BATCH)
        self._images: DaliImages | None = None
        self._waiting: deque[tuple[int, Float32]] = deque()
        self._making: deque[list[tuple[int, Float32]]] = deque()
        self._running: deque[tuple[Any, list[tuple[int, int]]]] = deque()
        self._missing: dict[int, int] = {}
        self._parts: dict[int, list[Float32]] = {}

    def add(self, position: int, samples: Float32) -> Iterator[tuple[int, Float32]]:
        """Takes a file's windows, float32 ``[windows, window_samples]``, and yields whole files' logits.

        Raises:
            DeviceError: the GPU fails, or has no room for one window.
        """
        self._waiting.append((position, samples))
        self._missing[position], self._parts[position] = len(samples), []
        while sum(len(each) for _, each in self._waiting) >= self.batch:
            yield from self._begin()

    def flush(self) -> Iterator[tuple[int, Float32]]:
        """Yields the logits of all that was added, however small the last batch is."""
        while self._waiting or self._making:
            if self._waiting:
                yield from self._begin()
            else:
                self._run()
        while self._running:
            yield from self._collect()

    def close(self) -> None:
        """Ends DALI's pipeline and the runtime."""
        if self._images is not None:
            self._images.close()
            self._images = None
        self._running.clear()
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> Iterator[tuple[int, Float32]]:
        """Gives DALI a batch, then the network the images of the one before."""
        parts = self._cut()
        self._making.append(parts)
        try:
            if self._images is None:
                self._images = self._make(self.batch)
            self._images.put(np.concatenate([samples for _, samples in parts]))
        except DeviceMemoryError as error:
            self._halve(error)
            return
        if len(self._making) >= IN_FLIGHT:
            self._run()
        while len(self._running) > _RUNNING:
            yield from self._collect()

    def _cut(self) -> list[tuple[int, Float32]]:
        """Takes at most ``batch`` windows from those that wait."""
        parts, room = [], self.batch
        while room and self._waiting:
            position, samples = self._waiting.popleft()
            parts.append((position, samples[:room]))
            if len(samples) > room:
                self._waiting.appendleft((position, samples[room:]))
            room -= len(parts[-1][1])
        return parts

    def _run(self) -> None:
        """The oldest images from DALI to the network."""
        assert self._images is not None
        try:
            images = self._images.take(getattr(self._runtime, "stream", None))
        except DeviceMemoryError as error:
            self._halve(error)
            return
        owners = [(position, len(samples)) for position, samples in self._making.popleft()]
        submit = getattr(self._runtime, "submit", None)
        self._running.append((submit(images) if submit else _Done(self._runtime.infer(images)), owners))

    def _collect(self) -> Iterator[tuple[int, Float32]]:
        pending, owners = self._running.popleft()
        logits = pending.result()
        at = 0
        for position, count in owners:
            self._parts[position].append(logits[at : at + count])
            self._missing[position] -= count
            at += count
            if not self._missing[position]:
                del self._missing[position]
                yield position, np.concatenate(self._parts.pop(position))

    def _halve(self, error: DeviceMemoryError) -> None:
        """After DALI ran out of memory: smaller batches, with the windows of those that were lost."""
        if self.batch == 1:
            raise error
        self.batch //= 2
        _log.warning("%s: batches of %d windows from here on", error, self.batch)
        if self._images is not None:
            self._images.close()
            self._images = None
        while self._making:
            self._waiting.extendleft(reversed(self._making.pop()))


class _Done:
    def __init__(self, logits: Float32) -> None:
        self._logits = logits

    def result(self) -> Float32:
        return self._logits


def open_device(artifact: Artifact, gpu: int = 0) -> DeviceNetwork:
    """DALI and TensorRT on a GPU.

    Raises:
        DeviceError: driver, DALI, TensorRT or PyCUDA is missing, or the engine does not fit.
    """
    if find_spec("nvidia") is None or find_spec("nvidia.dali") is None:
        raise DeviceError('DALI is not installed: pip install "mer[gpu]" (on Linux)')
    audio = artifact.spec.audio
    return DeviceNetwork(
        open_runtime(artifact, "tensorrt", gpu=gpu),
        lambda batch: DaliImages(audio, batch, "gpu", device_id=gpu),
    )


def open_for_device(
    artifact: Artifact,
    runtime: str | None,
    device: Literal["auto", "cpu", "cuda"],
    threads: int = 0,
    gpus: int = 1,
    workers: int = 0,
) -> tuple[Runtime | DeviceNetwork | GpuProcesses, str]:
    """What labels on a device, and a line that says which it is and why not the other.

    "auto" takes the GPU for an engine where driver, TensorRT and DALI are there; without DALI only the
    network runs on it. An .onnx file runs on the CPU. For several ``gpus`` processes are started, which
    share the ``workers``. ``threads`` are for a network on the CPU.

    Raises:
        UsageError: an .onnx file for the GPU, or an engine for the CPU.
        DeviceError: an engine, and no GPU that it can run on.
    """
    is_engine = bool(artifact.facts)
    file = artifact.path.name
    if runtime not in (None, "tensorrt") or not is_engine:
        if device == "cuda":
            raise UsageError(
                f"--device cuda runs engines by TensorRT, and this is {runtime or file}: make one by "
                f"mer-export -m {artifact.name} --fp16 -o FOLDER/"
            )
        if gpus > 1:
            raise UsageError("--gpus goes with --device cuda")
        why = (
            f"{runtime} was asked for" if runtime else f"{file} is no engine; mer-export makes one for a GPU"
        )
        return open_runtime(artifact, runtime, threads), f"device: cpu ({why})"
    if device == "cpu":
        raise UsageError(f"{file} runs on a GPU only: for --device cpu give the .onnx that it was made of")
    try:
        network = open_device(artifact)
    except DeviceError as error:
        if device == "cuda":
            raise
        if "DALI" not in str(error):
            raise DeviceError(
                f"no device for {file}: not cuda, since {error}; not cpu, for it is an engine"
            ) from None
        return open_runtime(artifact), f"device: cuda for the network, cpu for the images ({error})"
    if gpus > 1:
        from .gpus import GpuProcesses

        name = network.name
        network.close()  # it has shown that the first GPU can be used
        return GpuProcesses(gpus, name, workers), f"device: cuda, {gpus} GPUs (DALI and {name})"
    return network, f"device: cuda (DALI and {network.name}; not cpu, for {file} is an engine)"
