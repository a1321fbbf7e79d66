"""The blocks of FLAC beside its comments keep their bytes: those, too, that mutagen would write otherwise."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from audio_files import noise, write_audio
from label_folders import row_of, write_labels
from merkit.engine.outputs.tagging import tag_run
from merkit.engine.outputs.tagging.moods import read_moods, write_moods
from merkit.engine.outputs.tagging.others import other_blocks
from merkit.engine.outputs.tagging.sound import sound_digest
from merkit.engine.outputs.tagging.tag_run import Outcome, TagOptions, tag_songs

pytest.importorskip("mutagen")

COVER = b"\xff\xd8\xff" + bytes(50)


def picture(mime: bytes, about: bytes) -> tuple[int, bytes]:
    texts = b"".join(struct.pack(">I", len(text)) + text for text in (mime, about))
    return 6, struct.pack(">I", 3) + texts + struct.pack(">IIIII", 1, 2, 3, 4, len(COVER)) + COVER


OTHERS = [
    picture(b"image/jpeg", b"caf\xe9"),
    picture(b"image/jp\xe9", b"text"),
    (3, struct.pack(">QQH", 0, 0, 4_096) + b"cut"),  # an index
    (2, b"abcd" + bytes(20)),
    (100, b"reserved"),
]
COMMENTS = 4, struct.pack("<I3sI", 3, b"ven", 1) + struct.pack("<I7s", 7, b"title=T")


@pytest.mark.parametrize("has_comments", [True, False])
@pytest.mark.parametrize("number", range(len(OTHERS) + 1))
def test_other_blocks_keep_their_bytes(tmp_path: Path, number: int, has_comments: bool) -> None:
    path = write_audio(tmp_path / "a.flac", noise(0.5, 16_000), 16_000)
    others = OTHERS if number == len(OTHERS) else [OTHERS[number]]
    with_blocks(path, [*others, (1, bytes(50)), *([COMMENTS] if has_comments else []), (1, bytes(90))])
    first, sound = other_blocks(path), sound_digest(path)
    assert [code for code, _ in first] == [0, *(code for code, _ in others)]
    for values in ({"MOOD": "sad"}, {"MOOD": "calm", "MER_CALM": "0.9"}, {}):
        write_moods(path, values)
        assert read_moods(path) == values
        assert (other_blocks(path), sound_digest(path)) == (first, sound)


def test_a_block_that_would_change_stops_the_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mutagen.flac import FLAC

    path = write_audio(tmp_path / "a.flac", noise(0.5, 16_000), 16_000)
    with_blocks(path, [picture(b"image/jpeg", b"cover"), COMMENTS])
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    before, write = path.read_bytes(), tag_run.write_moods

    def spoil(copy: Path, values: dict[str, str]) -> list[bytes]:
        added = write(copy, values)
        file = FLAC(copy)
        file.pictures[0].desc = "changed"
        file.save()
        return added

    monkeypatch.setattr(tag_run, "write_moods", spoil)
    (said,) = tag_songs(labels, TagOptions(write=True))
    reason = "its other tags would not stay as they are: save them anew with a tag editor first"
    assert (said.outcome, said.reason) == (Outcome.FAILED, reason)
    assert path.read_bytes() == before


def with_blocks(path: Path, blocks: list[tuple[int, bytes]]) -> None:
    """Puts blocks behind the first one, of what FLAC needs, in the place of those that are there."""
    data = path.read_bytes()
    head, place, is_last = data[8:42], 4, False
    while not is_last:
        is_last = bool(data[place] & 0x80)
        place += 4 + int.from_bytes(data[place + 1 : place + 4], "big")
    blocks = [(0, head), *blocks]
    ends = [128 * (number == len(blocks)) for number in range(1, len(blocks) + 1)]
    parts = (
        bytes([code | end]) + len(content).to_bytes(3, "big") + content
        for (code, content), end in zip(blocks, ends, strict=True)
    )
    path.write_bytes(b"fLaC" + b"".join(parts) + data[place:])
