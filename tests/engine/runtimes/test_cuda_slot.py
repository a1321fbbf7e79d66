"""A slot's buffers; on_stub/ uses them on the stub driver."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from merkit.engine.runtimes.cuda_slot import NetworkBuffers, Slot


class Memory:
    """A buffer that is counted while it is taken."""

    taken = 0

    def __init__(self) -> None:
        Memory.taken += 1

    def free(self) -> None:
        Memory.taken -= 1

    def __int__(self) -> int:
        return id(self)


def fake_cuda(fail_at: int | None = None) -> Any:
    """What a slot uses of PyCUDA; call number ``fail_at`` raises MemoryError."""
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == fail_at:
            raise MemoryError

    def allocate(size: int) -> Memory:
        count()
        return Memory()

    def pinned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        count()
        array = np.zeros(shape, dtype).view(Pinned)
        array.owner = Memory()
        return array

    def event(flags: int) -> object:
        count()
        return object()

    flags = SimpleNamespace(DISABLE_TIMING=1, BLOCKING_SYNC=2)
    return SimpleNamespace(
        mem_alloc=allocate, pagelocked_empty=pinned, Event=event, event_flags=flags, Error=RuntimeError
    )


class Pinned(np.ndarray):
    """PyCUDA's pinned arrays have their memory as ``base``."""

    owner: Memory

    @property
    def base(self) -> Any:
        return self.owner


def test_all_buffers_are_taken_and_given_back() -> None:
    slot = Slot(fake_cuda(), (2, 1, 3, 4), {"logits": (2, 5), "evidence": (2, 2)})
    assert Memory.taken == 4
    assert slot.log_mels_host.shape == (2, 1, 3, 4)
    assert {name: host.shape for name, host in slot.outputs_host.items()} == {
        "logits": (2, 5),
        "evidence": (2, 2),
    }
    slot.close()
    slot.close()
    assert Memory.taken == 0


def test_the_networks_buffers_are_taken_and_given_back() -> None:
    network = NetworkBuffers(fake_cuda(), (2, 1, 3, 4), {"logits": (2, 5), "evidence": (2, 2)})
    assert Memory.taken == len({network.log_mels, *network.outputs.values()}) == 3
    assert list(network.outputs) == ["logits", "evidence"]
    network.close()
    network.close()
    assert Memory.taken == 0


@pytest.mark.parametrize(
    ("kind", "call"), [*((Slot, i) for i in range(1, 6)), (NetworkBuffers, 1), (NetworkBuffers, 2)]
)
def test_without_room_nothing_is_taken(kind: type[Slot | NetworkBuffers], call: int) -> None:
    with pytest.raises(MemoryError):
        kind(fake_cuda(fail_at=call), (2, 1, 3, 4), {"logits": (2, 5)})
    assert Memory.taken == 0
