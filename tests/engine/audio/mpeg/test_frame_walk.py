"""The walk over frames, by MP3s that are made of headers and filler."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.mpeg import frame_walk
from merkit.engine.audio.mpeg.mp3_frames import FrameIndex, mp3_from_file
from merkit.engine.errors import AudioError

STEREO = b"\xff\xfb\x90\x00"  # 44.1 kHz, 128 kbit/s: 417 bytes
MONO = b"\xff\xfb\x90\xc0"
AT_48_KHZ = b"\xff\xfb\x94\x00"  # 384 bytes
ID3V1 = b"TAG" + b"x" * 125
APE = b"APETAGEX" + b"x" * 300


def frames(count: int, head: bytes = STEREO) -> bytes:
    size = 384 if head == AT_48_KHZ else 417
    return (head + b"\x55" * (size - 4)) * count


def id3(content: bytes, stated: int | None = None) -> bytes:
    size = len(content) if stated is None else stated
    return b"ID3\x04\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + content


def ape(content: bytes, stated: int | None = None) -> bytes:
    size = (len(content) + 32 if stated is None else stated).to_bytes(4, "little")
    head, foot = (
        b"APETAGEX\xd0\7\0\0" + size + b"\1\0\0\0" + flags.to_bytes(4, "little") + bytes(8)
        for flags in (0xA0000000, 0x80000000)
    )
    return head + content + foot


@pytest.fixture
def parts(tmp_path: Path):
    def parts_of(data: bytes, junk: int = 0, seconds: float = 60) -> list[FrameIndex]:
        path = tmp_path / "a.mp3"
        path.write_bytes(data)
        with path.open("rb") as file:
            return mp3_from_file(file.fileno(), Budget(Limits(seconds=seconds)), junk)

    return parts_of


def counts(indexes: list[FrameIndex]) -> list[int]:
    return [len(index.offsets) for index in indexes]


def test_what_stands_between_frames_costs_none_of_them(parts) -> None:
    for between in (
        ID3V1,
        APE + ID3V1,
        id3(b"\0" * 3_000),
        id3(b"picture" * 400) + id3(b""),
        id3(b"\0" * 900, stated=100),  # the size of a tag is wrong
        id3(b"\0" * 900, stated=1 << 27),
        b"junk" * 5_000,
        b"\xff" * 3_001,
        b"\xff\xfb\x90" * 2,
    ):
        assert counts(parts(frames(20) + between + frames(30) + between)) == [50]
        assert sum(counts(parts(between + frames(30), junk=1 << 16))) == 30


def test_frames_inside_an_ape_tag_are_no_sound(parts) -> None:
    """A tag may hold a file, and a picture any bytes."""
    tag = ape(b"cover\0" + frames(9))
    for after in (b"", ID3V1, tag, ape(b"") + ID3V1):
        assert counts(parts(frames(20) + tag + after)) == [20]
        assert counts(parts(frames(20) + tag + after + frames(30) + tag)) == [50]
    assert counts(parts(frames(20)[:-7] + tag)) in ([19], [20])  # the last frame is cut short
    assert counts(parts(tag + frames(20))) == counts(parts(tag + id3(b"x" * 99) + frames(20))) == [20]
    assert not parts(tag)


def test_an_ape_tag_that_lies_hides_no_frames(parts) -> None:
    lies = [ape(b"x" * 99, stated) for stated in (0, 31, 130, 132, 5_000, 1 << 20, (1 << 32) - 1)]
    for lie in (*lies, ape(b"x" * 99)[:-32], ape(b"x" * 99)[-32:]):
        assert counts(parts(frames(20) + lie + frames(30) + lie)) == [50]
        assert counts(parts(lie + frames(30), junk=1 << 16)) == [30]


def test_junk_before_the_first_frame_is_limited(parts) -> None:
    assert not parts(b"junk" + frames(30))
    assert counts(parts(b"junk" + frames(30), junk=5)) == [30]
    assert not parts(b"j" * 5_000 + frames(30), junk=4_999)
    assert not parts(id3(b"\0" * 900, stated=100) + frames(30))
    assert counts(parts(id3(b"\0" * 900) + frames(30))) == [30]


@pytest.mark.parametrize("byte", range(4))
def test_a_broken_header_costs_its_frame(parts, byte: int) -> None:
    data = bytearray(frames(40))
    data[20 * 417 + byte] ^= 0xF0
    (index,) = parts(bytes(data))
    assert len(index.offsets) >= 39
    assert index.offsets[-1] == 39 * 417


def test_missing_bytes_cost_the_frames_that_they_are_of(parts) -> None:
    data = frames(40)
    (index,) = parts(data[: 20 * 417 + 50] + data[20 * 417 + 150 :])
    assert index.offsets.tolist() == [*range(0, 21 * 417, 417), *range(21 * 417 - 100, 40 * 417 - 100, 417)]


def test_the_last_frame_may_be_cut_short(parts) -> None:
    assert counts(parts(frames(40)[:-1])) == [39]
    assert counts(parts(frames(40)[: 39 * 417 + 3])) == [39]


def test_a_part_begins_with_each_change(parts) -> None:
    data = frames(10) + frames(20, MONO) + id3(b"x" * 50) + frames(30, AT_48_KHZ) + b"junk" + frames(9)
    indexes = parts(data)
    assert counts(indexes) == [10, 20, 30, 9]
    assert [(index.sample_rate, index.channels) for index in indexes] == [
        (44_100, 2),
        (44_100, 1),
        (48_000, 2),
        (44_100, 2),
    ]
    assert counts(parts(frames(10) + frames(2, MONO) + frames(10))) == [20]  # two are no part


def test_a_tag_begins_a_part_and_holds_no_sound(parts) -> None:
    info = (STEREO + bytes(32) + b"Info" + bytes(8)).ljust(417, b"\0")
    vbri = (STEREO + bytes(32) + b"VBRI" + bytes(8)).ljust(417, b"\0")
    protected = (b"\xff\xfa" + STEREO[2:] + b"\x55\x55" + bytes(32) + b"Xing" + bytes(8)).ljust(417, b"\0")
    assert counts(parts(info + frames(10) + vbri + frames(20) + protected + frames(5))) == [10, 20, 5]


def test_pieces_and_blocks_change_nothing(parts, monkeypatch: pytest.MonkeyPatch) -> None:
    info = (STEREO + bytes(32) + b"Info" + bytes(8)).ljust(417, b"\0")
    data = (frames(100) + b"\xff\xfb" * 999 + frames(77) + info + frames(50, MONO) + ID3V1) * 5
    expected = [index.offsets.tolist() for index in parts(data)]
    for piece, block in ((1, 1), (5_000, 3), (8_192, 64), (1_000, 10_000)):
        monkeypatch.setattr(frame_walk, "_PIECE", piece)
        monkeypatch.setattr(frame_walk, "_FIRST_PIECE", piece)
        monkeypatch.setattr(frame_walk, "_BLOCK", block)
        assert [index.offsets.tolist() for index in parts(data)] == expected


@given(st.lists(st.tuples(st.integers(4, 40), st.binary(max_size=90)), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_no_junk_costs_more_than_the_frames_around_it(
    tmp_path_factory, pieces: list[tuple[int, bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.mp3"
    path.write_bytes(b"".join(frames(count) + junk for count, junk in pieces))
    with path.open("rb") as file:
        indexes = mp3_from_file(file.fileno(), Budget(Limits()))
    total = sum(count for count, _ in pieces)
    assert total - len(pieces) <= sum(counts(indexes)) <= total + len(pieces)


@pytest.mark.parametrize(
    "data",
    [
        (frames(3) + b"\0") * 2_000,
        (frames(3) + frames(3, MONO)) * 1_000,
        (frames(3) + id3(b"") * 20) * 1_000,
        (frames(3) + b"\0\0\x90\0" * 300) * 800,
        frames(3) + b"\xff\xfb" * 10**6,
        frames(3) + id3(b"") * 10**5,
    ],
    ids=["gaps", "parts", "tags", "false sizes", "syncs", "many tags"],
)
def test_the_work_grows_with_the_file(parts, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *a: read.append(len(part := pread(*a))) or part)
    parts(data)
    assert sum(read) < 4 * len(data) + 10**6


def test_parts_are_limited(parts, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (frames(3) + frames(3, MONO)) * 100
    monkeypatch.setattr(frame_walk, "_MAX_PARTS", 40)
    assert len(parts(data)) == 40


@pytest.mark.parametrize("data", [frames(3_000), (frames(3) + frames(3, MONO)) * 500, frames(3_000) + ID3V1])
def test_a_file_of_more_frames_than_are_kept_is_refused(
    parts, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its length would be a lie, and what lies behind them never heard."""
    monkeypatch.setattr(frame_walk, "_MAX_FRAMES", 3_000)
    assert sum(counts(parts(data))) == 3_000
    monkeypatch.setattr(frame_walk, "_MAX_FRAMES", 1_500)
    with pytest.raises(AudioError, match="more than 1,500 frames"):
        parts(data)


def test_the_time_is_limited(parts) -> None:
    with pytest.raises(AudioError, match="longer than 0 s"):
        parts(frames(30), seconds=0)


def test_offsets_are_numbers_of_64_bits(parts) -> None:
    (index,) = parts(frames(30))
    assert index.offsets.dtype == np.int64
