import errno
import http.server
import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audio_files import noise, write_audio
from merkit.engine.audio import remote_copy
from merkit.engine.audio.decoder import Limits
from merkit.engine.catalogue.expand import Sources, inputs_from_paths
from merkit.engine.catalogue.input_store import InputStore
from merkit.engine.catalogue.source import Source
from merkit.engine.errors import AudioError, MerError, UsageError
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.spec import AudioSpec


def test_folders_files_and_what_is_skipped(tmp_path: Path) -> None:
    for name in (
        "b.MP3",
        "a.wav",
        "notes.txt",
        "list.m3u8",
        "sub/c.Opus",
        "sub/clip.mp4",
        "गीत.flac",
        "cover.jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    odd = tmp_path / "notes.txt"
    found = inputs_from_paths([odd, tmp_path, "missing.mp3"])
    names = [Path(path).name for path in found.paths]
    assert names == ["notes.txt", "a.wav", "b.MP3", "गीत.flac", "c.Opus", "clip.mp4", "missing.mp3"]
    assert found.skipped == 3


def test_loops_of_links_end(tmp_path: Path) -> None:
    inner = tmp_path / "albums" / "one"
    inner.mkdir(parents=True)
    (inner / "a.mp3").touch()
    (inner / "up").symlink_to(tmp_path / "albums")
    (tmp_path / "albums" / "again").symlink_to(inner)
    (tmp_path / "albums" / "dangling.mp3").symlink_to(tmp_path / "nowhere")
    found = inputs_from_paths([tmp_path])
    assert sorted(Path(path).name for path in found.paths) == ["a.mp3", "dangling.mp3"]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    for name in ("b.mp3", "a.mp3", "sub/c.ogg", "sub/deep/d.flac", "cover.jpg", "odd [1].mp3"):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return tmp_path / "music"


def names(sources: Sources) -> list[str]:
    return [Path(source.path).name for source in sources]


def test_patterns(music: Path) -> None:
    assert names(Sources([music / "*.mp3"])) == ["a.mp3", "b.mp3", "odd [1].mp3"]
    assert names(Sources([music / "**" / "*.*"])) == ["a.mp3", "b.mp3", "odd [1].mp3", "c.ogg", "d.flac"]
    assert names(Sources([music / "s*"])) == ["c.ogg", "d.flac"]  # a folder that matches is searched
    assert names(Sources([music / "odd [1].mp3"])) == ["odd [1].mp3"]  # a name that stands is no pattern
    with pytest.raises(MerError, match="nothing matches"):
        names(Sources([music / "*.wma"]))


def test_size_and_time_tell_a_changed_file(music: Path) -> None:
    (source,) = Sources([music / "a.mp3"])
    status = (music / "a.mp3").stat()
    assert (source.size_bytes, source.mtime_ns) == (5, status.st_mtime_ns)
    assert next(iter(Sources(["missing.mp3"]))) == Source("missing.mp3")


def test_playlists(music: Path) -> None:
    lines = [
        "#EXTM3U",
        "#EXTINF:3,Song",
        "a.mp3",
        "sub\\c.ogg",
        f"file://{music}/odd%20%5B1%5D.mp3",
        "",
        "gone.mp3",
    ]
    lines += ["http://radio.example/live.mp3", "file://elsewhere/x.mp3", str(music / "b.mp3")]
    (music / "list.m3u").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    sources = Sources([music / "list.m3u"])
    assert names(sources) == ["a.mp3", "c.ogg", "odd [1].mp3", "gone.mp3", "b.mp3"]
    assert sources.skipped == 2
    (music / "latin.m3u").write_bytes(b"caf\xe9.mp3\n")
    (source,) = Sources([music / "latin.m3u"])
    assert source.path.endswith("caf\udce9.mp3")


def test_manifests(music: Path, tmp_path: Path) -> None:
    (music / "list.csv").write_text(
        "\ufeffisrc,file\nIN-1,a.mp3\nIN-2,sub/c.ogg\nIN-3,\nIN-4\n", encoding="utf-8"
    )
    sources = Sources([music / "list.csv"], "file")
    found = list(sources)
    assert sources.columns == {"isrc": "string"}
    assert [(Path(s.path).name, s.columns["isrc"]) for s in found] == [
        ("a.mp3", "IN-1"), ("c.ogg", "IN-2"), ("", "IN-3"), ("", "IN-4"),
    ]  # fmt: skip
    table = pa.table(
        {"path": ["a.mp3", "b.mp3"], "year": [1975, None], "plays": [1.5, 2.0], "tags": [["x"], []]}
    )
    pq.write_table(table, music / "list.parquet")
    sources = Sources([music / "list.parquet"])
    assert sources.columns == {"year": "int64", "plays": "float64", "tags": "string"}
    assert [dict(source.columns) for source in sources] == [
        {"year": 1975, "plays": 1.5, "tags": "['x']"},
        {"year": None, "plays": 2.0, "tags": "[]"},
    ]
    with pytest.raises(UsageError, match=r"has no column 'path' \(it has isrc, file\); name the column that holds the paths"):
        Sources([music / "list.csv"])
    (music / "more.csv").write_text("path\na.mp3\n")
    (music / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UsageError, match="other columns"):
        Sources([music / "list.parquet", music / "more.csv"])
    with pytest.raises(MerError, match="cannot be read"):
        Sources([music / "broken.parquet"])


def test_a_spool_gives_back_what_it_took(music: Path) -> None:
    (music / "list.csv").write_text("path,isrc\na.mp3,IN-1\nb.mp3,IN-2\n")
    sources = Sources([music / "list.csv", music / "sub", music / "a.mp3"])
    with InputStore(sources) as spool:
        assert spool.find_repeats() == 1
        items = list(spool.pending())
        assert [item.source for item in items] == list(sources)
        assert [(item.same_as, item.repeated) for item in items] == [
            (None, True), (None, False), (None, False), (None, False), (0, False),
        ]  # fmt: skip
    with InputStore(Sources([music])) as spool:
        assert spool.find_repeats(by_content=True) == 4


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_urls(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    (tmp_path / "sub").mkdir()
    for name in ("b.wav", "sub/a.wav"):
        write_audio(tmp_path / name, noise(11, 16_000), 16_000)
    (tmp_path / "notes.txt").write_text("x")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}"
    try:
        sources = Sources([f"{root}/"])
        assert [source.path for source in sources] == [f"{root}/b.wav", f"{root}/sub/a.wav"]
        assert sources.skipped == 1
        file = log_mels_from_file(f"{root}/b.wav", WindowOptions(AudioSpec()))
        assert file.facts.duration_s == pytest.approx(11)
        with pytest.raises(AudioError, match="no such file"):
            log_mels_from_file(f"{root}/gone.wav", WindowOptions(AudioSpec()))
    finally:
        server.shutdown()


def test_a_closed_folder_is_an_input_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.mp3", "b/2.mp3"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    real = os.scandir

    def scandir(path: Any) -> Any:
        if os.path.basename(path) == "a":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [source.path for source in Sources([tmp_path])] == [f"{tmp_path}/b/2.mp3", f"{tmp_path}/a"]


@pytest.mark.parametrize("closed", ["/music", "/music/b"])
def test_a_url_that_cannot_be_listed_ends_the_run(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out in silence, its songs would be missing from a catalogue that looks whole."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("a/1.mp3", "a/x.txt", "b/2.mp3", "3.mp3"):
        memory.pipe(f"/music/{name}", b"sound")
    listed, real = Sources(["memory://music"]), type(memory).ls
    assert [source.path for source in listed] == [
        f"memory:///music/{n}" for n in ("3.mp3", "a/1.mp3", "b/2.mp3")
    ]
    assert listed.skipped == 1

    def ls(self: Any, path: str, **options: Any) -> Any:
        if path.rstrip("/") == closed:
            raise PermissionError("access denied")
        return real(self, path, **options)

    monkeypatch.setattr(type(memory), "ls", ls)
    with pytest.raises(MerError, match=r"memory://music cannot be listed: access denied"):
        list(Sources(["memory://music"]))


def test_an_object_that_is_too_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setattr(remote_copy, "_MAX_BYTES", 10)
    (tmp_path / "a.wav").write_bytes(bytes(11))
    with (
        pytest.raises(AudioError, match="larger than"),
        remote_copy.local_copy(f"file://{tmp_path}/a.wav", Limits()),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "package", "said"),
    [
        ("s3://bucket/songs", "s3fs", "pip install 'merkit[s3]'"),
        ("gs://bucket/songs", "gcsfs", "pip install 'merkit[gcs]'"),
        ("az://bucket/songs", "adlfs", "Install adlfs"),
        ("nothing://bucket/songs", "nothing", "Protocol not known: nothing"),
    ],
)
def test_what_a_url_needs_is_said(url: str, package: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MerError) as caught:
        list(Sources([url]))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
