"""What the container says of the song."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import av
import pytest
from audio_files import noise
from ffmpeg_files import decoder, write

TITLE = b"Beyonc\xe9 at home"


@pytest.mark.parametrize("kind", ["matroska", "ipod", "ogg"])
def test_the_name_of_a_track_is_no_title(tmp_path: Path, kind: str) -> None:
    song = write(tmp_path / "a", kind, {"ipod": "alac"}.get(kind, "flac"), noise(2, 44_100))
    named = tmp_path / "b"
    with av.open(str(song)) as source, av.open(str(named), "w", format=kind) as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        stream.metadata["title"] = "Stereo 2.0"
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with closing(decoder(named)) as read:  # Ogg has no other place for the tags of a song
        assert read.tags().get("title") == ("Stereo 2.0" if kind == "ogg" else None)


def test_bytes_of_a_tag_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    song = write(tmp_path / "a.m4a", "ipod", "alac", noise(2, 44_100))
    tagged = tmp_path / "b.m4a"
    with av.open(str(song)) as source, av.open(str(tagged), "w", format="ipod") as target:
        target.metadata["title"] = "BeyoncX at home"
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = tagged.read_bytes()
    assert data.count(b"BeyoncX at home") == 1
    tagged.write_bytes(data.replace(b"BeyoncX at home", TITLE))
    with closing(decoder(tagged)) as read:
        assert read.tags()["title"] == "Beyonc at home"
