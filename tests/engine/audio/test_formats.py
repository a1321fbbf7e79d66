"""What counts as audio, and what may be opened."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from audio_files import SUFFIXES
from merkit.engine.audio.containers.part import part_of_file
from merkit.engine.audio.formats import (
    AUDIO_SUFFIXES,
    id3v2_length,
    is_remote,
    open_regular_file,
    path_in_url,
    reason_from_head,
    start_behind_tags,
)
from merkit.engine.errors import AudioError

INPUTS = (Path(__file__).parents[3] / "docs" / "INPUTS.md").read_text(encoding="utf-8")


def test_every_format_of_the_tests_counts() -> None:
    assert set(SUFFIXES) <= AUDIO_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in AUDIO_SUFFIXES)
    assert not {".txt", ".jpg", ".m3u", ".csv", ""} & AUDIO_SUFFIXES


def test_formats_that_are_not_opened_are_found_in_folders() -> None:
    """A song that is left out must have a row that says so; what may be text or code is no song."""
    sound = (
        ".wv .ape .tta .tak .mpc .mp+ .dsf .dff .dsd .ac3 .eac3 .ec3 .dts .mlp .thd .truehd .amr .awb .gsm "
        ".shn .ofr .ra .rm .aax .oma .mid .midi .kar .xm .s3m"
    )
    video = ".avi .divx .flv .mpg .mpe .m1v .m2v .m2ts .vob .ogm"
    assert {*sound.split(), *video.split()} <= AUDIO_SUFFIXES
    others = re.findall(
        r"`(\.\w+)`", INPUTS.partition("**Ambiguous suffixes are not taken**")[2].partition("\n- ")[0]
    )
    assert {".ts", ".mts", ".la", ".mod", ".it", ".dat", ".aa", ".mpp"} <= {*others}
    assert not {*others} & AUDIO_SUFFIXES


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("s3://bucket/a.mp3", True),
        ("https://host/a.mp3?token=1", True),
        ("hdfs+http://host/a.mp3", True),
        ("/music/a.mp3", False),
        ("a://", True),
        ("://a.mp3", False),
        ("music/a: b://c.mp3", False),
        ("C:\\music\\a.mp3", False),
        ("", False),
    ],
)
def test_urls(path: str, remote: bool) -> None:
    assert is_remote(path) is remote


def test_a_regular_file_is_opened_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"sound")
    (tmp_path / "link.mp3").symlink_to(tmp_path / "a.mp3")
    for name in ("a.mp3", "link.mp3"):
        descriptor = open_regular_file(tmp_path / name)
        assert os.read(descriptor, 9) == b"sound"
        os.close(descriptor)


def test_urls_of_this_machine() -> None:
    for url in ("file:///a%20b", "file:/a%20b", "file://localhost/a%20b", "FILE:///a%20b"):
        assert path_in_url(url) == "/a%20b"
    for text in ("file://nas/a", "file:////nas/a", "http://localhost/a", "file.wav", "file:a"):
        assert path_in_url(text) is None


def test_others_are_refused_and_closed(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "loop.mp3").symlink_to("loop.mp3")
    os.mknod(tmp_path / "socket.mp3", stat.S_IFSOCK | 0o600)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
    for path, reason in {
        tmp_path / "none.mp3": "no such file",
        tmp_path
        / "??? ?.mp3": "no such file; where a list has ? in place of letters it was saved without them: "
        "save it as CSV UTF-8",
        tmp_path / "empty.mp3": "the file is empty",
        tmp_path: "not a regular file",
        tmp_path / "pipe.mp3": "not a regular file",
        tmp_path / "socket.mp3": "not a regular file",
        Path("/dev/null"): "not a regular file",
        Path("/dev/stdin"): "a pipe cannot be sought: save what it gives in a file",
        Path("/dev/fd/9999"): "a pipe cannot be sought: save what it gives in a file",
        tmp_path / "loop.mp3": "cannot be opened: Too many levels of symbolic links",
        Path("a\0b.mp3"): "cannot be opened: embedded null byte",
    }.items():
        with pytest.raises(AudioError) as error:
            open_regular_file(path)
        assert str(error.value) == reason
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (b"\0\0\1\xba\x44", "MPEG program stream"),
        ((b"\x47" + bytes(187)) * 4, "MPEG transport stream"),
        (bytes(4) + (b"\x47" + bytes(191)) * 4, "MPEG transport stream"),
        (b"FLV\1\5", "FLV"),
        (b"\x0b\x77\x12\x34\x14\x40", "AC-3"),
        (b"\x0b\x77\x12\x34\x14\x80", "E-AC-3"),
        (b"TTA1", "True Audio (TTA)"),
        (b"\x56\xe0\x03abc\x56\xe0\x03abc", "AAC (LOAS)"),
        (b"MAC \x96\x0f", "Monkey's Audio (APE)"),
        (b"wvpk", "WavPack"),
        (b"MPCKSH", "Musepack"),
        (b"MP+\x17", "Musepack"),
        (b"DSD \x1c", "DSD (DSF)"),
        (b"FRM8", "DSD (DSDIFF)"),
        (b".RMF", "RealMedia"),
        (b"#!AMR-WB\n", "AMR"),
        (b"\x7f\xfe\x80\x01", "DTS"),
        (b"\xff\x1f\0\xe8", "DTS"),
        (b"ADIF", "AAC (ADIF)"),
        (b"tBaK", "TAK"),
        (b"OFR ", "OptimFROG"),
        (b"MThd", "MIDI"),
        (b"Extended Module: song", "a module (XM)"),
        (bytes(44) + b"SCRM", "a module (S3M)"),
        (b"song".ljust(1_080, b"\1") + b"M.K.", "a module (MOD)"),
        (b"\0\0\1\0\x57\x90\x75\x36", "Audible (AA)"),
        (b"ea3\3\0\0", "ATRAC (OMA)"),
        (b"RIFF\x24\0\0\0CDDAfmt ", "a track of a CD (CDA)"),
        (b"#EXTM3U\nsong.mp3\n", "a playlist"),
        (b"\xef\xbb\xbf#EXTM3U\n", "a playlist"),
        (b"\xef\xbb\xbf[playlist]\n", "a playlist"),
        ("\ufeff[Playlist]\n".encode("utf-16-le"), "a playlist"),
        ("\ufeff<ASX>\n".encode("utf-16-be"), "a playlist"),
        (b"[playlist]\n", "a playlist"),
        (b'REM GENRE Filmi\nFILE "album.flac" WAVE\n', "a cue sheet"),
        (b'\xef\xbb\xbfPERFORMER "Lata"\n', "a cue sheet"),
        (b'<?xml version="1.0"?><playlist/>', "a playlist"),
        (b'<?xml version="1.0"?>\n<!-- <html> -->\n<Error><Code>AccessDenied', "a server's answer (XML)"),
        (b'<?xml version="1.0"?><plist>', "an XML file"),
        (b"<?xml version='1.0'?><!DOCTYPE html PUBLIC>", "a web page"),
        (b"<!doctype html>\n<title>404</title>\n", "a web page"),
        (b"\r\n <HTML><head>", "a web page"),
        (b'{"path": "a \\" {.mp3", "status": "ok", "error": null', "a file of mer-label's rows"),
        (b'{"path": "/", "status": 404}', "a server's answer (JSON)"),
        (b'{"error": "quota"}', "a server's answer (JSON)"),
        (b'\n[\n  {"error": 1}]\n', "a server's answer (JSON)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a git-lfs pointer"),
        (b"/annex/objects/MD5E-s1--a.mp3\n", "a git-annex pointer"),
        (b"[InternetShortcut]\r\nURL=http://x\r\n", "a shortcut"),
        (b"[{000214A0-0000}]\r\nProp3=19,2\r\n[InternetShortcut]\r\n", "a shortcut"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a picture (JPEG)"),
        (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "a picture (WebP)"),
        (b"%PDF-1.4\n", "a PDF"),
        (b"MZ\x90\0\3", "a program"),
        (b"PK\3\4", "an archive (ZIP)"),
        (b"Rar!\x1a\7\1", "an archive (RAR)"),
        (b"7z\xbc\xaf\x27\x1c", "an archive (7z)"),
        (b"\x1f\x8b\x08\0", "an archive (gzip)"),
    ],
)
def test_what_is_not_opened_is_named(tmp_path: Path, head: bytes, name: str) -> None:
    song = tmp_path / "song"
    for tags in (b"", b"ID3\4\0\0\0\0\x20\0" + bytes(4_096), 2 * (b"ID3\3\0\0\0\0\0\5" + bytes(5))):
        song.write_bytes(tags + head)
        assert reason_from_head(song).startswith(f"{name}, which ")
        assert "\n" not in reason_from_head(song)


@pytest.mark.parametrize(
    "head",
    [
        b"x",
        b"ID3",
        b"ID3\4\0\0\x7f\x7f\x7f\x7f",  # a tag longer than the file
        b"\x47" + bytes(600),
        b"\x56\xe0\x03" + bytes(99),
        b"\x0b\x77",
        b"a text about AVI",
        b"a text about AVI \n\1",
        b"<song>\n",
        b"a text that names no file\n",
        b"[2001] a text\n",
        b"<!---->" * 5_000,  # takes no time either
    ],
)
def test_what_is_not_known_is_not_named(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "song").write_bytes(head)
    assert reason_from_head(tmp_path / "song") == "not an audio file that libsndfile or FFmpeg can open"


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("list.txt", "a text about AVI \n"),
        ("list.TXT", "path\ta\r\n"),
        ("list.mp3", "song.mp3\nMänner.mp3\n" * 1_000),
        ("list", "\n[2001] Album/song.FLAC \r\nfolder/\r\n"),
    ],
)
def test_a_text_may_be_meant_as_a_list(tmp_path: Path, name: str, head: str) -> None:
    (tmp_path / name).write_bytes(head.encode())
    assert reason_from_head(tmp_path / name) == (
        "not an audio file that libsndfile or FFmpeg can open, but a text: "
        "lists of files end in .m3u, .m3u8, .csv, .tsv or .parquet"
    )


@pytest.mark.parametrize("name", ["in.m3u", "in.M3U8", "in.csv"])
def test_a_list_inside_a_list_is_said_to_be_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("path\nsong.mp3\n")
    assert reason_from_head(tmp_path / name) == (
        "not an audio file that libsndfile or FFmpeg can open, but a list: "
        "name it as PATH itself; lists inside lists are not read"
    )


@pytest.mark.parametrize("size", [200, 65_525])
def test_the_bytes_behind_tags(tmp_path: Path, size: int) -> None:
    """RealJukebox wrote plain sizes."""
    tag = b"ID3\3\0\0" + size.to_bytes(4, "big") + b"GEOB" + bytes(size - 4)
    (tmp_path / "song").write_bytes(tag + b"\xff\xfb\x90\0")
    with (tmp_path / "song").open("rb") as file:
        assert start_behind_tags(file.fileno()) == len(tag)


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"ID3\4\0\x10\0\0\1\0", 148),  # a footer
        (b"ID3\3\0\x10\0\0\1\0", 138),  # which is of 2.4
        (b"ID3\3\0\0\0\0\xff\0", 0),
        (b"ID3\5\0\0\0\0\1\0", 0),
        (b"ID3 is no", 0),
    ],
)
def test_sound_and_tags_have_one_rule_for_where_a_tag_ends(tmp_path: Path, head: bytes, length: int) -> None:
    (tmp_path / "song").write_bytes(head + bytes(500))
    with (tmp_path / "song").open("rb") as file:
        assert start_behind_tags(file.fileno()) == length
        assert id3v2_length(part_of_file(file.fileno()).read) == length


@pytest.mark.parametrize("head", ["not found\n", "Error 500. Try again later.\n"])
def test_a_text_with_the_suffix_of_a_song_is_no_list(tmp_path: Path, head: str) -> None:
    (tmp_path / "song.mp3").write_text(head)
    assert reason_from_head(tmp_path / "song.mp3") == "not an audio file that libsndfile or FFmpeg can open"


def test_a_file_that_cannot_be_read_has_a_reason(tmp_path: Path) -> None:
    assert reason_from_head(tmp_path / "none").startswith("not an audio file")
