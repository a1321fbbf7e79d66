"""What the container says of the song."""

from __future__ import annotations

import os
import struct
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from audio_files import noise
from ffmpeg_files import copied, decoder, write
from merkit.engine.audio.containers.file_view import FileView
from merkit.engine.audio.ffmpeg.container import is_cut, open_container, tracks_of
from merkit.engine.errors import AudioError

SOUND = noise(2, 44_100)


@pytest.mark.parametrize("kind", ["matroska", "ipod", "ogg"])
def test_the_name_of_a_track_is_no_title(tmp_path: Path, kind: str) -> None:
    song = write(tmp_path / "a", kind, {"ipod": "alac"}.get(kind, "flac"), SOUND)
    named = copied(song, tmp_path / "b", kind, of_track={"title": "Stereo 2.0"})
    with closing(decoder(named)) as read:  # Ogg has no other place for the tags of a song
        assert read.tags().get("title") == ("Stereo 2.0" if kind == "ogg" else None)


def test_bytes_of_a_tag_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    song = write(tmp_path / "a.m4a", "ipod", "alac", SOUND)
    tagged = copied(song, tmp_path / "b.m4a", "ipod", of_file={"title": "BeyoncX at home"})
    data = tagged.read_bytes()
    assert data.count(b"BeyoncX at home") == 1
    tagged.write_bytes(data.replace(b"BeyoncX", b"Beyonc\xe9"))
    with closing(decoder(tagged)) as read:
        assert read.tags()["title"] == "Beyonc at home"


def test_tags_with_names_of_quicktimes_own(tmp_path: Path) -> None:
    song = write(tmp_path / "a.mov", "mov", "alac", SOUND)
    own = {"com.apple.quicktime.title": "Long", "com.apple.quicktime.artist": "Artist", "title": "Plain"}
    options = {"movflags": "use_metadata_tags"}
    tagged = copied(song, tmp_path / "b.mov", "mov", of_file=own, options=options)
    with closing(decoder(tagged)) as read:
        tags = read.tags()
    assert (tags["title"], tags["artist"]) == ("Plain", "Artist")


def test_a_track_of_clicks_gives_way_too(tmp_path: Path) -> None:
    clicks, short = np.zeros((2, 200_000), np.float32)
    clicks[100_000:100_050] = 0.5
    short[:20_000] = noise(1, 44_100)[:20_000]
    for tracks in ((clicks, noise(5, 44_100)), (clicks, short), (short, clicks)):
        path = write(tmp_path / "song", "matroska", "alac", *tracks, dispositions=(1, 0))
        heard = max(tracks, key=np.count_nonzero)
        np.testing.assert_allclose(decoder(path).read(9_000, 44_100), heard[9_000:53_100], atol=1 / 16_000)


def test_a_hole_in_opus_is_silent(tmp_path: Path) -> None:
    samples = noise(10, 48_000)
    path = write(tmp_path / "song", "mp4", "libopus", samples, rate=48_000, options={"movflags": "faststart"})
    data = path.read_bytes()
    whole = decoder(path).read(0, len(samples))
    third = len(data) // 3
    path.write_bytes(data[:third] + bytes(third) + data[2 * third :])
    read = decoder(path).read(0, len(samples))
    assert len(read) == len(whole)
    assert not read[4 * 48_000 : 6 * 48_000].any()
    np.testing.assert_allclose(read[-2 * 48_000 :], whole[-2 * 48_000 :], atol=0.01)
    path.write_bytes(data[: 2 * third] + bytes(len(data) - 2 * third))
    assert not decoder(path).read(7 * 48_000, 48_000).any()


@pytest.mark.parametrize("channels", [1, 2])
def test_aac_without_settings_in_an_mp4_of_double_the_rate(tmp_path: Path, channels: int) -> None:
    """As a muxer writes HE-AAC before it has a packet of it; FFmpeg does not encode that."""
    sound = noise(12, 22_050)
    samples = sound if channels == 1 else np.stack([sound, sound], axis=1)
    path = write(tmp_path / "song.m4a", "ipod", "aac", samples, rate=22_050)
    data = bytearray(path.read_bytes())
    data[data.index(b"\x05\x80\x80\x80\x05")] = 0x7F  # a descriptor of no known kind
    rate = data.index(b"mp4a", data.index(b"stsd")) + 28
    data[rate : rate + 2] = struct.pack(">H", 44_100)
    path.write_bytes(data)
    with closing(decoder(path)) as song:
        assert (song.sample_rate, song.length) == (22_050, pytest.approx(len(sound), abs=1_100))
        for start in (100_000, 0, 200_000):
            part = song.read(start, 22_050)
            assert np.corrcoef(part, sound[start : start + 22_050])[0, 1] > 0.9


@pytest.mark.parametrize(
    ("settings", "name"),
    [("f94643622c", "xHE-AAC (USAC)"), ("f8ec41b740", "AAC-ELD with SBR")],
)
def test_aac_that_ffmpeg_does_not_decode_is_named(tmp_path: Path, settings: str, name: str) -> None:
    """FFmpeg encodes none of it: these are the settings of real files in the place of those of AAC-LC."""
    path = write(tmp_path / "song.m4a", "ipod", "aac", noise(2, 48_000), rate=48_000)
    data = bytearray(path.read_bytes())
    place = data.index(b"\x05\x80\x80\x80\x05") + 5
    data[place : place + 5] = bytes.fromhex(settings)
    path.write_bytes(data)
    with pytest.raises(AudioError) as error:
        decoder(path)
    assert str(error.value).startswith(f"holds {name}, which mer does not decode: convert it")
    heard = write(tmp_path / "both", "matroska", "aac", SOUND, SOUND, dispositions=(1, 0))
    data = bytearray(heard.read_bytes())
    place = data.index(b"\x63\xa2") + 3
    assert len(bytes.fromhex(settings)) == data[place - 1] & 0x7F
    data[place : place + 5] = bytes.fromhex(settings)
    heard.write_bytes(data)
    with closing(decoder(heard)) as other:
        assert other.read(0, 44_100).any()


def test_aac_eld_without_sbr_is_left_to_ffmpeg(tmp_path: Path) -> None:
    """Its frames are not made up here: those of AAC-LC under such settings crash FFmpeg 9."""
    path = write(tmp_path / "song.m4a", "ipod", "aac", noise(2, 48_000), rate=48_000)
    data = bytearray(path.read_bytes())
    place = data.index(b"\x05\x80\x80\x80\x05") + 5
    data[place : place + 5] = bytes.fromhex("f8ec40b740")
    path.write_bytes(data)
    with av.open(path) as container:
        assert tracks_of(container) == [0]


@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\x08\0" + bytes(1_024)])
def test_an_index_that_leads_beyond_the_end_of_the_file(tmp_path: Path, tag: bytes) -> None:
    options = {"movflags": "faststart"}
    song = copied(write(tmp_path / "a", "ipod", "alac", SOUND), tmp_path / "b", "ipod", options=options)
    song.write_bytes(tag + song.read_bytes())
    for cut in (False, True):
        os.truncate(song, song.stat().st_size - cut)
        with song.open("rb") as file:
            source = FileView(file.fileno(), len(tag), song.stat().st_size) if tag else song
            with closing(open_container(source, 10)) as container:
                assert is_cut(container.streams.audio[0]) == cut
