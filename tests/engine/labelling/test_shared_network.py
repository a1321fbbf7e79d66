"""A network that threads share closes when the last one has left it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from merkit.engine.errors import AudioError
from merkit.engine.labelling.shared_network import SharedNetwork


class Network:
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_it_closes_once_nobody_uses_it() -> None:
    network: Any = Network()
    shared = SharedNetwork(network)
    with suppress(AudioError), shared.used() as used:
        assert used is network
        raise AudioError("of a song")
    assert not network.closed
    with shared.used():
        shared.close()
        assert not network.closed
    assert network.closed == 1


def test_it_closes_at_once_where_nobody_does() -> None:
    network: Any = Network()
    SharedNetwork(network).close()
    assert network.closed == 1
