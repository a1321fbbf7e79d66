"""Pages and packets of Ogg, made here byte by byte."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merkit.engine.audio.containers.ogg_stream import IrregularError, OggStream
from ogg_files import with_checksum

HEADS = [b"head", b"comments" * 100]


def page(number: int, flags: int, granule: int, lacing: Sequence[int], body: bytes, stream: int = 5) -> bytes:
    head = (
        b"OggS\0" + struct.pack("<BqIII", flags, granule, stream, number, 0) + bytes([len(lacing), *lacing])
    )
    return with_checksum(head + body)


def sound(packets: Sequence[bytes], segments: int, first: int = 0) -> tuple[list[bytes], list[int]]:
    """Pages of so many segments each, and their granule positions; each packet is 10 samples long."""
    lacing = [
        (size, i)
        for i, packet in enumerate(packets)
        for size in [*[255] * (len(packet) // 255), len(packet) % 255]
    ]
    body, pages, granules, used, ended = b"".join(packets), [], [], 0, 0
    for start in range(0, len(lacing), segments):
        part = lacing[start : start + segments]
        sizes = [size for size, _ in part]
        ends = sum(size < 255 for size in sizes)
        ended += ends
        granules.append(first + 10 * ended if ends else -1)
        flags = (start > 0 and lacing[start - 1][0] == 255) | 4 * (start + segments >= len(lacing))
        pages.append(page(2 + len(pages), flags, granules[-1], sizes, body[used : used + sum(sizes)]))
        used += sum(sizes)
    return pages, granules


def heads() -> list[bytes]:
    return [page(0, 2, 0, [4], HEADS[0]), page(1, 0, 0, [255, 255, 255, 35], HEADS[1])]


@contextmanager
def opened(pages: Sequence[bytes]) -> Iterator[OggStream]:
    with tempfile.TemporaryFile() as file:
        file.write(b"".join(pages))
        file.flush()
        yield OggStream(file.fileno(), 2)


SIZES = st.lists(st.sampled_from([0, 1, 100, 254, 255, 256, 510, 1_500]), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(
    sizes=SIZES, segments=st.sampled_from([1, 2, 3, 7]), wanted=st.integers(0, 300), slack=st.integers(0, 100)
)
def test_from_any_place_the_same_packets(sizes: list[int], segments: int, wanted: int, slack: int) -> None:
    packets = [bytes([i]) * size for i, size in enumerate(sizes)]
    pages, granules = sound(packets, segments)
    with opened([*heads(), *pages]) as stream:
        assert stream.heads == HEADS
        assert stream.end == 10 * len(packets)
        whole = list(stream.pages(0, 0))
        assert whole[0] == (0, [], False)
        assert [granule for granule, _, _ in whole[1:]] == granules
        assert [packet for _, page, _ in whole for packet in page] == packets
        assert [is_last for _, _, is_last in whole] == [False] * len(pages) + [True]
        found = list(stream.pages(min(wanted, stream.end), slack))
    assert 0 <= found[0][0] <= wanted
    after = [packet for _, page, _ in found[1:] for packet in page]
    assert after == packets[len(packets) - len(after) :]
    if found[0][0] > 0:
        assert found[1:] == whole[len(whole) - len(found) + 1 :]


def test_a_long_file_is_searched_with_few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    pages, _ = sound([bytes([i % 251]) * (50 + i % 200) for i in range(4_000)], 8)
    looks = []
    pread = os.pread
    with opened([*heads(), *pages]) as stream:
        monkeypatch.setattr(os, "pread", lambda *place: looks.append(place) or pread(*place))
        for wanted in range(0, 40_000, 1_999):
            looks.clear()
            first = next(stream.pages(wanted, 500))
            assert max(0, wanted - 500) <= first[0] <= wanted
            assert len(looks) < 30


@pytest.mark.parametrize("what", ["byte", "missing", "stream", "begins", "uncontinued"])
def test_what_is_not_plain_is_not_guessed(what: str) -> None:
    packets = [bytes([i]) * 600 for i in range(40)]
    pages, granules = sound(packets, 2)
    at = len(pages) // 2
    if what == "byte":
        pages[at] = pages[at][:-1] + b"?"
    elif what == "missing":
        del pages[at]
    else:
        flags, stream = {"stream": (1, 6), "begins": (3, 5), "uncontinued": (0, 5)}[what]
        at = next(i for i, (one, two) in enumerate(pairwise(granules)) if one < 0 < i) + 1
        lacing, body = pages[at][27:29], pages[at][29:]
        pages[at] = page(2 + at, flags, granules[at], lacing, body, stream)
    with opened([*heads(), *pages]) as stream, pytest.raises(IrregularError):
        list(stream.pages(0, 0))


@pytest.mark.parametrize("tail", [b"rest", page(9, 4, 100, [1], b"x", stream=6)[:-1]])
def test_the_file_must_end_with_the_stream(tail: bytes) -> None:
    pages, _ = sound([b"a" * 10] * 10, 5)
    with pytest.raises(IrregularError), opened([*heads(), *pages, tail]):
        pass


@given(data=st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_plain_or_irregular(data: bytes) -> None:
    try:
        with opened([*heads(), data]) as stream:
            list(stream.pages(1_000, 10))
    except IrregularError:
        pass
