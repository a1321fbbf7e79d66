"""Streams run in a shuffled but legal order, another one for each seed.

Code that is right in all of them is right by its events, not by luck. The mutants show that wrong code is
noticed: each is a copy of the runtime with one fault.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError
from merkit.engine.runtimes import cuda_slot, tensorrt, tensorrt_engine
from merkit.engine.runtimes.cuda_gpu import open_gpu
from stub_cuda.arrays import OnGpu, assert_right, cuda, log_mels
from stub_cuda.stub import Stub, loaded

PARTS = (cuda_slot, tensorrt_engine, tensorrt)  # the runtime's files, each after those that it imports


def exercise(module: Any, artifact: Artifact, seed: int, rounds: int = 6) -> None:
    """NumPy's and the GPU's log-mels, many sizes, several in flight, collected in another order."""
    loaded().reset(seed)
    rng = np.random.default_rng(seed)
    with module.open_runtime(artifact, 0) as runtime:
        begun = []
        for turn in range(rounds):
            batch = log_mels(int(rng.choice([1, 2, 5, 31, 32, 33, 70])), turn)
            source: Any = batch
            if turn % 2:
                with open_gpu(0).current():
                    source = OnGpu(batch, runtime._computes, offset=128 * int(rng.integers(2)))
            begun.append((batch, source, runtime.submit(source)))
            if not turn % 2:
                source[:] = np.nan  # they were copied already
                batch = log_mels(len(batch), turn)
                begun[-1] = (batch, source, begun[-1][2])
        for index in rng.permutation(len(begun)):
            batch, _, pending = begun[index]
            assert_right(pending.result(), batch)
        with open_gpu(0).current():
            cuda.Context.synchronize()
            for _, source, _ in begun:
                if isinstance(source, OnGpu):
                    source.free()
        runtime.submit(log_mels(40))  # and is closed before anyone asks for it


@given(st.integers(1, 1 << 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_right_in_every_legal_order(artifact: Artifact, seed: int) -> None:
    exercise(tensorrt, artifact, seed)
    assert loaded().violations() == (0, "")


MUTANTS = {
    "no wait for the copy": ("        self._computes.wait_for_event(slot.copied)\n", ""),
    "the copy is not recorded": ("        slot.copied.record(self._copies)\n", ""),
    "recorded on the wrong stream": (
        "slot.copied.record(self._copies)",
        "slot.copied.record(self._computes)",
    ),
    "no wait for the logits": ("        slot.done.synchronize()\n", ""),
    "the end is recorded too early": (
        """        for name, host in slot.outputs_host.items():
            cuda.memcpy_dtoh_async(host[:count], network.outputs[name], self._computes)
        slot.done.record(self._computes)
""",
        """        slot.done.record(self._computes)
        for name, host in slot.outputs_host.items():
            cuda.memcpy_dtoh_async(host[:count], network.outputs[name], self._computes)
""",
    ),
    "logits come by the other stream": (
        "host[:count], network.outputs[name], self._computes)",
        "host[:count], network.outputs[name], self._copies)",
    ),
    "a slot is not emptied": (
        "                self._collect(slot)\n                self._compute",
        "                self._compute",
    ),
    "two buffers swapped": (
        '(("images", log_mels), *outputs.items())',
        '(*zip(("images", *outputs), (*outputs.values(), log_mels)),)',
    ),
    "log-mels are moved by the other stream": (
        "count * self._window_bytes, self._computes)",
        "count * self._window_bytes, self._copies)",
    ),
    "log-mels are moved in part": ("source, count * self", "source, (count - 1) * self"),
    "the first part again": ("log_mels[start : start + count]", "log_mels[:count]"),
    "half the stride": ("address + start * self._window_bytes", "address + start * self._window_bytes // 2"),
    "a wrong place in the result": ("pending._logits[start : start + count]", "pending._logits[:count]"),
    "a window less": (
        "        self._set_shape(batch)\n        for",
        "        self._set_shape(max(1, batch - 1))\n        for",
    ),
    "copies too few": (
        "slot.log_mels_host[:count], self._copies",
        "slot.log_mels_host[: count - 1], self._copies",
    ),
    "no memory for the activations": ("self._context.set_device_memory(address, size)", "pass"),
    "buffers freed in use": (
        """                    with suppress(cuda.Error):  # then nothing runs any longer
                        cuda.Context.synchronize()
""",
        "",
    ),
    "half the memory": ("4 * int(np.prod(shape))", "2 * int(np.prod(shape))"),
}  # fmt: skip


def mutated(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A copy of the runtime in which this text, which one of its files has once, is another."""
    sources = {part: Path(str(part.__file__)).read_text(encoding="utf-8") for part in PARTS}
    assert [text.count(old) for text in sources.values() if old in text] == [1], (
        "the mutant no longer fits the runtime"
    )
    for part, text in sources.items():
        spec = importlib.util.spec_from_loader(part.__name__, loader=None)
        assert spec is not None
        copy = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, part.__name__, copy)  # those after it import the copy
        exec(compile(text.replace(old, new), str(part.__file__), "exec"), copy.__dict__)
    return sys.modules[tensorrt.__name__]


def test_the_copy_without_a_fault_is_right(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = mutated("_SLOTS = 2", "_SLOTS = 2", monkeypatch)
    assert copy is not tensorrt
    assert copy.LoadedEngine is not tensorrt_engine.LoadedEngine
    assert copy.Slot is not cuda_slot.Slot
    assert not noticed(copy, artifact)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_runtime_is_found_out(
    name: str, artifact: Artifact, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert noticed(mutated(*MUTANTS[name], monkeypatch), artifact)
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
