"""Which addresses are those of the internet."""

from __future__ import annotations

import pytest
from merkit.engine.audio.web import host_of, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1",
        "169.254.169.254", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1",
        "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    ],
)  # fmt: skip
def test_addresses_of_this_machine_or_network(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet(address: str) -> None:
    assert is_public(address)


def test_hosts() -> None:
    assert host_of("http://user:word@LocalHost:8000/a") == "localhost"
    assert host_of("https://[::1]/a") == "::1"
    assert host_of("http://[::1/a") == host_of("song.mp3") == ""
