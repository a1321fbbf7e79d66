"""Albums in one file, which a cue sheet divides into tracks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from merkit.engine.catalogue.cue_sheets import album_of_cue
from merkit.engine.catalogue.expand import Sources


def sheet(*names: str, tracks: int = 2) -> str:
    """A cue sheet in which each of these files has so many tracks."""
    lines = ['REM GENRE Filmi\nPERFORMER "Lata"\n']
    for name in names:
        lines.append(f'FILE "{name}" WAVE\n')
        for i in range(tracks):
            start = f"{4 * i:02}"
            lines.append(
                f"  TRACK {i + 1:02} AUDIO\n    INDEX 00 {start}:00:00\n    INDEX 01 {start}:02:00\n"
            )
    return "".join(lines)


# Without gaps between tracks a file each, as EAC writes it: the second track begins in the first file.
GAPS = (
    'FILE "Album.wav" WAVE\n TRACK 01 AUDIO\n  INDEX 01 00:00:00\n TRACK 02 AUDIO\n  INDEX 00 04:00:00\n'
    'FILE "b.wav" WAVE\n  INDEX 01 00:00:00\n'
)


@pytest.mark.parametrize(
    ("song", "content", "is_album"),
    [
        ("Album.flac", sheet("Album.flac").encode(), True),
        (
            "Album.flac",
            sheet("Album.wav", tracks=12).encode(),
            True,
        ),  # as it was called before it was encoded
        ("a b.ape", b"\xef\xbb\xbf" + sheet("D:\\rips\\a b.ape").replace("\n", "\r").encode(), True),
        ("Album.wav", sheet("Alben.wav").encode("utf-16"), True),  # by the name of the sheet
        ("Album.wav", sheet("Männer.wav").encode("cp1252"), True),
        ("Album.wav", b"file CDImage.wav WAVE\nindex 1 0:0:0\nindex 1 4:0:0\n", True),
        ("Album.flac", sheet("Album.flac", tracks=1).encode(), False),
        ("Album.wav", sheet("Album.wav", "b.wav", tracks=1).encode(), False),
        ("Album.wav", GAPS.encode(), False),
        ("other.flac", sheet("Album.flac").encode(), False),
        ("Album.bin", sheet("Album.bin").encode(), False),
        ("Album.flac", b"", False),
        ("Album.flac", bytes(range(256)) * 20, False),
        ("Album.flac", sheet("\0").encode() + sheet("a" * 5_000).encode(), True),
    ],
)
def test_the_album_beside_a_sheet(tmp_path: Path, song: str, content: bytes, is_album: bool) -> None:
    (tmp_path / song).touch()
    (tmp_path / "Album.cue").write_bytes(content)
    assert album_of_cue(str(tmp_path / "Album.cue")) == (str(tmp_path / song) if is_album else None)


def test_a_sheet_is_read_only_so_far_and_only_where_it_is_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.cue")
    (tmp_path / "Album.flac").touch()
    for content in ("\n" * 9_000_000 + sheet("Album.flac"), "FILE " * 2_000_000, "  " * 4_000_000):
        (tmp_path / "Album.cue").write_text(content)
        begin = time.process_time()
        assert album_of_cue(str(tmp_path / "Album.cue")) is None
        assert time.process_time() - begin < 1
    assert album_of_cue(str(tmp_path / "pipe.cue")) is album_of_cue(str(tmp_path / "none.cue")) is None


def test_searches_count_the_albums_in_one_file(tmp_path: Path) -> None:
    for name in ("a/Album.flac", "b/Album.flac", "b/single.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("a/Album.cue", "a/Album.flac.CUE", "b/Album.cue"):  # two of one file
        (tmp_path / name).write_text(sheet("Album.wav"))
    (tmp_path / "b/single.cue").write_text(sheet("single.flac", tracks=1))
    sources = Sources([tmp_path])
    for _ in range(2):
        assert len([*sources]) == 3
        assert (sources.albums, sources.skipped) == (2, 4)
    sources = Sources([tmp_path / "a/*.flac", tmp_path / "a/Album.cue"])
    assert len([*sources]) == 2  # the sheet has a row, which says what helps
    assert sources.albums == 0
