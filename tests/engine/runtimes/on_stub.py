"""The TensorRT runtime with real PyCUDA on the stub driver; test_tensorrt.py runs it in its own process.

Streams run in a shuffled but legal order, each seed another: what is right in all of them is right by its
events and not by luck. The mutants show that what is wrong is found out.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import merkit.engine.runtimes.tensorrt as real
import numpy as np
import onnxruntime
import pytest
from engine_files import VERSION, engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from merkit.benchmarks.experiments.gpu import measure, write_report
from merkit.engine.artifact import Artifact
from merkit.engine.errors import ArtifactError, DeviceError, DeviceMemoryError
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.runtimes.cuda_gpu import open_gpu
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.engine.spectrogram.dali import DaliLogMel
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from onnx_files import tiny_onnx
from stub_cuda import fake_tensorrt
from stub_cuda.stub import INVALID_HANDLE, LAUNCH_FAILED, NO_DEVICE, OUT_OF_MEMORY, Stub, loaded

cuda: Any = importlib.import_module("pycuda.driver")
AUDIO = AudioSpec(window_samples=16_000, frames=32, n_mels=16, n_fft=512)
SPEC = ModelSpec("tiny", ("happy", "tense", "sad", "calm"), AUDIO)
CONTENT = tiny_onnx(SPEC).SerializeToString()


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    found = loaded()
    found.reset()
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, fake_tensorrt.module(VERSION))
    yield found
    assert found.violations() == (0, "")
    assert found.pushed == 0
    left = found.live()
    assert {name: count for name, count in left.items() if count and name != "contexts"} == {}
    found.reset()


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return engine(tmp_path, SPEC, CONTENT)


def images(count: int, seed: int = 0) -> np.ndarray:
    shape = (count, 1, AUDIO.n_mels, AUDIO.frames)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def wanted(batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(CONTENT, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"images": batch})[0])


class OnGpu:
    """Images in device memory, as DALI gives them; copied there on a stream, or at once."""

    def __init__(self, batch: np.ndarray, copier: Any, offset: int = 0, **interface: Any) -> None:
        self.host = cuda.pagelocked_empty(batch.shape, np.float32)
        self.host[:] = batch
        self.memory = cuda.mem_alloc(batch.nbytes + offset)
        cuda.memcpy_htod_async(int(self.memory) + offset, self.host, copier)
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": batch.shape,
            "typestr": "<f4",
            "data": (int(self.memory) + offset, False),
            "strides": None,
            **interface,
        }

    def free(self) -> None:
        self.memory.free()
        self.host.base.free()


def exercise(module: Any, artifact: Artifact, seed: int, rounds: int = 6) -> None:
    """NumPy's and the GPU's images, many sizes, several in flight, collected in another order."""
    loaded().reset(seed)
    rng = np.random.default_rng(seed)
    with module.open_runtime(artifact, 0) as runtime:
        begun = []
        for turn in range(rounds):
            batch = images(int(rng.choice([1, 2, 5, 31, 32, 33, 70])), turn)
            given: Any = batch
            if turn % 2:
                with open_gpu(0).current():
                    stream = runtime._computes
                    given = OnGpu(batch, stream, offset=128 * int(rng.integers(2)))
            begun.append((batch, given, runtime.submit(given)))
            if not turn % 2:
                given[:] = np.nan  # they were copied already
                batch = images(len(batch), turn)
                begun[-1] = (batch, given, begun[-1][2])
        for at in rng.permutation(len(begun)):
            batch, given, pending = begun[at]
            np.testing.assert_allclose(pending.result(), wanted(batch), atol=1e-5)
        with open_gpu(0).current():
            cuda.Context.synchronize()
            for _, given, _ in begun:
                if isinstance(given, OnGpu):
                    given.free()
        runtime.submit(images(40))  # and is closed before anyone asks for it


@given(st.integers(1, 1 << 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_right_in_every_legal_order(artifact: Artifact, seed: int) -> None:
    exercise(real, artifact, seed)
    assert loaded().violations() == (0, "")


def test_right_in_the_order_of_the_calls(artifact: Artifact) -> None:
    with real.open_runtime(artifact, 0) as runtime:
        assert runtime.name == "tensorrt"
        assert runtime.batch == 32
        for count in (1, 2, 31, 32, 33, 64, 100):
            np.testing.assert_allclose(runtime.infer(images(count)), wanted(images(count)), atol=1e-5)


MUTANTS = {
    "no wait for the copy": ("        self._computes.wait_for_event(slot.copied)\n", ""),
    "the copy is not recorded": ("        slot.copied.record(self._copies)\n", ""),
    "recorded on the wrong stream": (
        "slot.copied.record(self._copies)",
        "slot.copied.record(self._computes)",
    ),
    "no wait for the logits": ("        slot.done.synchronize()\n", ""),
    "the end is recorded too early": (
        """        cuda.memcpy_dtoh_async(slot.logits_host[:count], slot.logits, self._computes)
        slot.done.record(self._computes)
""",
        """        slot.done.record(self._computes)
        cuda.memcpy_dtoh_async(slot.logits_host[:count], slot.logits, self._computes)
""",
    ),
    "logits come by the other stream": (
        "slot.logits_host[:count], slot.logits, self._computes)",
        "slot.logits_host[:count], slot.logits, self._copies)",
    ),
    "a slot is not emptied": (
        "                self._collect(slot)\n                if address",
        "                if address",
    ),
    "two buffers swapped": (
        '(("images", source), ("logits", slot.logits))',
        '(("logits", source), ("images", slot.logits))',
    ),
    "logits of the other slot": (
        '("logits", slot.logits))',
        '("logits", self._slots[self._turn % _SLOTS].logits))',
    ),
    "the first part again": ("np.asarray(images)[at : at + part]", "np.asarray(images)[:part]"),
    "half the stride": ("address + at * stride", "address + at * stride // 2"),
    "a wrong place in the result": ("pending._logits[at : at + count]", "pending._logits[:count]"),
    "the shape of the batch before": (
        "        self._shape(max(count, self._least))\n        for",
        "        for",
    ),
    "copies too few": (
        "slot.images_host[:count], self._copies",
        "slot.images_host[: count - 1], self._copies",
    ),
    "unaligned addresses": ("address % _ALIGNED == 0", "address % 1 == 0"),
    "no memory for the activations": ("self._context.set_device_memory(int(self._memory), size)", "pass"),
    "buffers freed in use": (
        "                cuda.Context.synchronize()\n                for slot",
        "                for slot",
    ),
}  # fmt: skip


def mutated(old: str, new: str) -> ModuleType:
    path = Path(real.__file__)
    source = path.read_text(encoding="utf-8")
    assert source.count(old) == 1, "the mutant no longer fits the runtime"
    spec = importlib.util.spec_from_loader("merkit.engine.runtimes.mutant", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    exec(compile(source.replace(old, new), str(path), "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_runtime_is_found_out(name: str, artifact: Artifact, stub: Stub) -> None:
    assert noticed(mutated(*MUTANTS[name]), artifact)
    gc.collect()  # what the failure left, before the fixture looks
    stub.reset()


def noticed(module: ModuleType, artifact: Artifact) -> bool:
    """Whether any of many orders gives wrong logits, an error or a violation."""
    for seed in range(1, 41):
        try:
            exercise(module, artifact, seed)
        except (AssertionError, DeviceError):
            return True
        if loaded().violations()[0]:
            return True
    return False


def test_images_of_the_gpu_are_not_copied(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def spy(self: Any, name: str, memory: int) -> bool:
        if name == "images":
            taken.append(memory)
        return original(self, name, memory)

    original = fake_tensorrt.IExecutionContext.set_tensor_address
    monkeypatch.setattr(fake_tensorrt.IExecutionContext, "set_tensor_address", spy)
    with real.open_runtime(artifact, 0) as runtime:
        with open_gpu(0).current():
            given = OnGpu(images(40), runtime._computes)
            crooked = OnGpu(images(3), runtime._computes, offset=4)
            foreign = OnGpu(images(3), cuda.Stream(), stream=2)  # a stream that we did not make
        address = int(given.memory)
        runtime.infer(given)
        assert taken == [address, address + 32 * 4 * AUDIO.n_mels * AUDIO.frames]
        np.testing.assert_allclose(runtime.infer(crooked), wanted(images(3)), atol=1e-5)
        np.testing.assert_allclose(runtime.infer(foreign), wanted(images(3)), atol=1e-5)
        assert taken[2] != int(crooked.memory) + 4
        with open_gpu(0).current():
            for each in (given, crooked, foreign):
                each.free()


def test_what_it_does_not_take(artifact: Artifact) -> None:
    with real.open_runtime(artifact, 0) as runtime:
        good = images(2)
        for bad in (good[:0], good[0], good.astype(np.float64), good.transpose(0, 1, 3, 2), good[:, :, :-1]):
            with pytest.raises(ValueError, match="float32"):
                runtime.infer(bad)
        np.testing.assert_allclose(runtime.infer(images(4)[::2]), wanted(images(4)[::2].copy()), atol=1e-5)
        with open_gpu(0).current():
            given = OnGpu(good, runtime._computes)
        interface = given.__cuda_array_interface__
        row = 4 * AUDIO.frames
        gapless = (AUDIO.n_mels * row, AUDIO.n_mels * row, row, 4)
        interface["strides"] = gapless
        np.testing.assert_allclose(runtime.infer(given), wanted(good), atol=1e-5)
        for changed in ({"strides": (gapless[0], gapless[1], 4, row)}, {"typestr": "<f2"}, {"shape": (2, 1)}):
            given.__cuda_array_interface__ = {**interface, **changed}
            with pytest.raises(ValueError, match="float32"):
                runtime.infer(given)
        with open_gpu(0).current():
            given.free()


def test_images_are_held_until_their_logits_are_there(artifact: Artifact) -> None:
    loaded().reset(7)
    with real.open_runtime(artifact, 0) as runtime:
        with open_gpu(0).current():
            given = OnGpu(images(3), runtime._computes)
        alive = weakref.ref(given)
        memory, host = given.memory, given.host
        pending = runtime.submit(given)
        del given
        gc.collect()
        assert alive() is not None
        np.testing.assert_allclose(pending.result(), wanted(images(3)), atol=1e-5)
        gc.collect()
        assert alive() is None
        with open_gpu(0).current():
            memory.free()
            host.base.free()


def test_several_threads(artifact: Artifact) -> None:
    loaded().reset(3)
    wrong: list[Any] = []

    def work(number: int) -> None:
        try:
            for turn in range(12):
                batch = images(1 + (number + turn) % 40, 100 * number + turn)
                np.testing.assert_allclose(runtime.infer(batch), wanted(batch), atol=1e-5)
            assert loaded().pushed == 0
        except BaseException as error:
            wrong.append(error)

    with real.open_runtime(artifact, 0) as runtime:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_opened_here_and_closed_there(artifact: Artifact) -> None:
    runtime = real.open_runtime(artifact, 0)
    thread = threading.Thread(target=runtime.close)
    thread.start()
    thread.join()
    with pytest.raises(ValueError, match="closed"):
        runtime.infer(images(1))


def test_nothing_is_left_after_10_000_opens(artifact: Artifact, stub: Stub) -> None:
    real.open_runtime(artifact, 0).close()
    before = stub.live()
    for _ in range(10_000):
        real.open_runtime(artifact, 0).close()
    assert stub.live() == before
    assert before["contexts"] == 1
    assert stub.pushed == 0


def memory_of(batch: int) -> int:
    """Bytes on the GPU that a runtime with such batches takes; the fake wants 1,000 a window."""
    return batch * (1_000 + 2 * (4 * AUDIO.n_mels * AUDIO.frames + 16))


@pytest.mark.parametrize(("room", "batch"), [(32, 32), (31, 16), (16, 16), (9, 8), (1, 1)])
def test_out_of_memory_halves_the_batch(
    artifact: Artifact, stub: Stub, caplog: pytest.LogCaptureFixture, room: int, batch: int
) -> None:
    stub.device(free_bytes=memory_of(room))
    with real.open_runtime(artifact, 0) as runtime:
        assert runtime.batch == batch
        np.testing.assert_allclose(runtime.infer(images(70)), wanted(images(70)), atol=1e-5)
    said = [record.getMessage() for record in caplog.records]
    assert said == ([] if batch == 32 else [f"stub 0 has memory for batches of {batch} windows, not 32"])


def test_no_memory_at_all(artifact: Artifact, stub: Stub) -> None:
    stub.device(free_bytes=memory_of(1) - 1)
    with pytest.raises(DeviceMemoryError, match="no memory left for a batch of 1"):
        real.open_runtime(artifact, 0)
    stub.reset()
    for function in ("cuMemAlloc_v2", "cuMemHostAlloc", "cuEventCreate", "cuStreamCreate"):
        for after in range(4):
            stub.reset()
            stub.inject(function, OUT_OF_MEMORY, after)
            with suppress(DeviceMemoryError):
                real.open_runtime(artifact, 0).close()
            assert {**stub.live(), "contexts": 0} == dict.fromkeys(stub.live(), 0)


FAILING = [
    ("cuMemcpyHtoDAsync_v2", INVALID_HANDLE),
    ("cuMemcpyDtoHAsync_v2", LAUNCH_FAILED),
    ("cuStreamWaitEvent", INVALID_HANDLE),
    ("cuEventRecord", INVALID_HANDLE),
    ("cuEventSynchronize", LAUNCH_FAILED),
    ("cuLaunchHostFunc", LAUNCH_FAILED),
    ("cuMemcpyHtoDAsync_v2", OUT_OF_MEMORY),
]


@pytest.mark.parametrize(("function", "code"), FAILING)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_cudas_errors_are_errors(
    artifact: Artifact, stub: Stub, function: str, code: int, after: int
) -> None:
    with real.open_runtime(artifact, 0) as runtime:
        stub.inject(function, code, after)
        with pytest.raises(DeviceError, match=r"stub 0|cannot run"):
            runtime.infer(images(100))
        # The GPU of the stub recovers; no logits of the failed call must come out as another's.
        np.testing.assert_allclose(runtime.infer(images(33)), wanted(images(33)), atol=1e-5)


def test_closed_with_work_in_flight(artifact: Artifact) -> None:
    loaded().reset(11)
    runtime = real.open_runtime(artifact, 0)
    pending = runtime.submit(images(40))
    runtime.close()
    runtime.close()
    with pytest.raises(DeviceError, match="lost"):
        pending.result()


def test_an_engine_that_tensorrt_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="cannot load it: magic tag does not match"):
        real.open_runtime(engine(tmp_path, SPEC, b"no engine"), 0)
    other = ModelSpec("tiny", ("a", "b"), AUDIO)
    with pytest.raises(ArtifactError, match="as its ModelSpec says"):
        real.open_runtime(engine(tmp_path, SPEC, tiny_onnx(other).SerializeToString()), 0)
    artifact = engine(tmp_path, SPEC, CONTENT)
    monkeypatch.setattr(fake_tensorrt.IExecutionContext, "fails", True)
    with real.open_runtime(artifact, 0) as runtime, pytest.raises(DeviceError, match="cannot run 2 windows"):
        runtime.infer(images(2))
    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "create_execution_context", lambda *_: None)
    with pytest.raises(DeviceError, match="no execution context"):
        real.open_runtime(artifact, 0)


def test_a_profile_with_a_least_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = [1, AUDIO.n_mels, AUDIO.frames]
    profile = {"images": {"min": [4, *image], "opt": [8, *image], "max": [8, *image]}}
    original = fake_tensorrt.IExecutionContext.set_input_shape
    monkeypatch.setattr(
        fake_tensorrt.IExecutionContext,
        "set_input_shape",
        lambda self, name, shape: 4 <= shape[0] <= 8 and original(self, name, shape),
    )
    with real.open_runtime(engine(tmp_path, SPEC, CONTENT, profiles=profile), 0) as runtime:
        for count in (1, 3, 4, 9, 19):
            np.testing.assert_allclose(runtime.infer(images(count)), wanted(images(count)), atol=1e-5)
        with open_gpu(0).current():
            given = OnGpu(images(9), runtime._computes)
        np.testing.assert_allclose(runtime.infer(given), wanted(images(9)), atol=1e-5)
        with open_gpu(0).current():
            given.free()


def test_rtx_keeps_what_it_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    facts = {"builder": "tensorrt_rtx", "compute_capability": {"target": "portable", "capabilities": []}}
    artifact = engine(tmp_path, SPEC, CONTENT, **facts)
    cache = tmp_path / "tiny.engine.cache"
    with real.open_runtime(artifact, 0) as runtime:
        assert runtime.name == "tensorrt_rtx"
        np.testing.assert_allclose(runtime.infer(images(5)), wanted(images(5)), atol=1e-5)
        assert not cache.exists()
    assert cache.read_bytes() == b"compiled kernels"
    cache.write_bytes(b"of an earlier run")
    real.open_runtime(artifact, 0).close()
    assert cache.read_bytes() == b"of an earlier run"
    monkeypatch.setattr(fake_tensorrt.IRuntimeCache, "compatible", False)  # another driver's: made anew
    real.open_runtime(artifact, 0).close()
    assert cache.read_bytes() == b"compiled kernels"
    assert sorted(path.name for path in tmp_path.iterdir() if "tiny" in path.name) == [
        "tiny.engine",
        "tiny.engine.cache",
        "tiny.json",
    ]
    cache.unlink()
    cache.mkdir()
    real.open_runtime(artifact, 0).close()
    assert "compiles again" in caplog.text


def test_a_machine_that_does_not_fit(artifact: Artifact, stub: Stub, tmp_path: Path) -> None:
    def opened(**device: Any) -> None:
        open_gpu.cache_clear()
        stub.device(**device)
        with pytest.raises(DeviceError) as caught:
            real.open_runtime(artifact, 0)
        said.append(str(caught.value))

    said: list[str] = []
    try:
        opened(capability=86)
        opened(driver=12_040)
        opened(count=0)
        stub.reset()
        open_gpu.cache_clear()
        stub.inject("cuInit", NO_DEVICE)
        with pytest.raises(DeviceError, match="no GPU can be used"):
            real.open_runtime(artifact, 0)
        with pytest.raises(DeviceError, match="no GPU number 3: this machine has 1"):
            real.open_runtime(artifact, 0, gpu=3)
    finally:
        open_gpu.cache_clear()
    assert "was compiled for 8.9, and stub 0 has 8.6; rebuild it: mer-export -m tiny.onnx --fp16" in said[0]
    assert "knows CUDA 12.4, and tensorrt needs CUDA 13: update the NVIDIA driver" in said[1]
    assert "no GPU" in said[2]


def test_the_process_ends_quietly(artifact: Artifact) -> None:
    """PyCUDA's own end of a primary context would complain on stderr."""
    code = "from merkit.engine.runtimes.cuda_gpu import open_gpu\n"
    code += "with open_gpu(0).current() as cuda: cuda.Stream(1)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


class CpuDaliOnGpu(DaliLogMel):
    """DALI's images as a GPU would give them: in device memory, ready for one stream only."""

    copies: Any = None
    pool: list[tuple[Any, Any]]

    def take(self, stream: int | None = None) -> Any:
        found = super().take()
        assert stream == self.copies.handle
        with open_gpu(0).current():
            given = OnGpu(found, self.copies)
        weakref.finalize(given, self.take_back, given.memory, given.host)
        return given

    def take_back(self, memory: Any, host: Any) -> None:
        """What nobody holds any more is overwritten at once, as by DALI's next batch."""
        ctypes.memset(int(memory), 0xFF, host.nbytes)
        self.pool.append((memory, host))


@pytest.mark.parametrize("seed", [None, 5, 6, 7])
def test_dali_into_tensorrt(artifact: Artifact, stub: Stub, seed: int | None) -> None:
    """The labeler's way through both, with files whose windows are spread over batches."""
    rng = np.random.default_rng(1)
    files = [
        np.asarray(rng.standard_normal((count, AUDIO.window_samples)) / 9, np.float32)
        for count in (3, 1, 40, 7, 33, 2, 64, 5)
    ]
    stub.reset(seed)
    runtime = real.open_runtime(artifact, 0)

    pool: list[tuple[Any, Any]] = []

    def make(batch: int) -> DaliLogMel:
        dali = CpuDaliOnGpu(AUDIO, batch, "cpu")
        dali.copies, dali.pool = runtime._computes, pool
        return dali

    found: dict[int, np.ndarray] = {}
    with GpuPipeline(runtime, make) as network:
        assert network.batch == 32
        for position, samples in enumerate(files):
            found.update(network.add(position, samples))
        found.update(network.flush())
    assert len(pool) == 5
    with open_gpu(0).current():
        for memory, host in pool:
            memory.free()
            host.base.free()
    assert sorted(found) == list(range(len(files)))
    for position, samples in enumerate(files):
        np.testing.assert_allclose(found[position], wanted(log_mel_from_audio(samples, AUDIO)), atol=1e-3)


def test_what_mer_bench_gpu_does(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(CONTENT)
    artifact = engine(tmp_path, SPEC, CONTENT, onnx={"file": "tiny.onnx"})
    found = measure(artifact, 0.01, "cpu")
    write_report([found], tmp_path / "gpu.json")
    said = json.loads((tmp_path / "gpu.json").read_text())["engines"][0]
    assert said["engine_against_onnx"]["max_error"] < 1e-5
    assert said["dali_against_reference_db"] <= 0.01
    assert said["machine"]["gpu"] == "stub 0"
    assert {"overlap", "transfer_ms_a_batch"} <= set(said)
    assert len(said["images_per_s"]) == 4
    evil = engine(tmp_path, SPEC, CONTENT, onnx={"file": "../tiny.onnx"})
    assert not measure(evil, 0.01, "cpu")["engine_against_onnx"]["checked"]
