"""Each text of docs/TROUBLESHOOTING.md is one that the program prints."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import av
import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from click.testing import CliRunner
from http_folder import Answers, answered_by, served
from label_folders import row_of, write_labels
from merkit.engine.audio.decoder import Limits
from merkit.engine.catalogue.folder_lock import FolderLock
from merkit.engine.cli.label import main
from merkit.engine.errors import MerError
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.labelling.pool_child import Child, held_of
from merkit.engine.labelling.worker_pool import WorkerPool
from merkit.engine.spec import AudioSpec

PAGE = Path(__file__).parents[2] / "docs" / "TROUBLESHOOTING.md"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> str:
    return CliRunner().invoke(main, arguments).output


def row(name: str, limits: Limits | None = None) -> str:
    """Why a file gets no label."""
    options = WindowOptions(AudioSpec(), limits=limits or Limits())
    try:
        log_mels_from_file(name, options)
    except MerError as error:
        return str(error)
    return "it gets one"


def file(name: str, content: bytes = b"") -> str:
    Path(name).write_bytes(content)
    return name


def sound(name: str, seconds: float = 1) -> str:
    return str(write_audio(Path(name), noise(seconds, 16_000), 16_000))


def labels(*rows: dict) -> str:
    return str(write_labels(Path("labels"), rows or [row_of("gone.mp3")]))


def video_without_sound() -> str:
    with av.open("film.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return "film.mp4"


def half_mp4() -> str:
    whole = Path(write_audio(Path("whole.m4a"), noise(2, 16_000), 16_000)).read_bytes()
    return file("half.m4a", whole[: len(whole) // 2])


def not_finite() -> str:
    soundfile.write("x.wav", np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    return "x.wav"


def other_options() -> str:
    return run(sound("a.wav"), "--model", "audioset", "--windows", "2", "--out", labels())


def in_use() -> str:
    lock = FolderLock(Path(labels()))
    try:
        return run(sound("a.wav"), "--model", "audioset", "--out", "labels")
    finally:
        lock.release()


def closed_lock() -> str:
    file(".lock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
        with pytest.raises(MerError) as error:
            FolderLock(Path())
    return str(error.value)


def other_files() -> str:
    Path("letters").mkdir()
    return run(file("letters/a.txt") and sound("a.wav"), "--out", "letters/")


def no_audio() -> str:
    Path("letters").mkdir()
    return run(file("letters/a.txt") and file("letters/b.txt") and "letters")


def without(package: str, *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, package, None)  # pyright: ignore[reportArgumentType]
        return run(*arguments)


def picture() -> str:
    from merkit.engine.artifact import open_artifact
    from merkit.engine.labelling.song_label import SongLabel
    from merkit.engine.outputs.plot import plot_song

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)  # pyright: ignore[reportArgumentType]
        with pytest.raises(MerError) as error:
            plot_song(SongLabel("a.wav"), open_artifact("audiocnn").spec, Limits(), Path("a.png"))
    return str(error.value)


def to_tag(change: bool = False) -> str:
    pytest.importorskip("mutagen")
    folder = labels(row_of(sound("a.flac")))
    if change:
        sound("a.flac", 2)
    return run("tag", folder)


def changed_rows(column: str, cell: str) -> str:
    """Rows in a file in which another program wrote one cell of each."""
    run("--from", labels(), "--out", "rows.csv")
    header, *rows = csv.reader(io.StringIO(Path("rows.csv").read_text()))
    for cells in rows:
        cells[header.index(column)] = cell
    with open("rows.csv", "w", newline="") as table:
        csv.writer(table).writerows([header, *rows])
    return run("--from", "rows.csv", "--out", "copy/")


def hung() -> str:
    with WorkerPool(eval, {}, 1, seconds=-4.9) as pool:
        ((_, failure),) = pool.map(["__import__('time').sleep(60)"])
    return failure.reason


def dead_share() -> str:
    with pytest.raises(MerError) as error:
        held_of([SimpleNamespace(exitcode=None)] * 8)
    return str(error.value)


def full() -> str:
    with pytest.MonkeyPatch.context() as patch:
        no_room = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr("tempfile.NamedTemporaryFile", Mock(side_effect=no_room))
        return row("https://example.org/a.mp3")


def web_page() -> str:
    with answered_by(Answers) as root:
        return row(f"{root}/page")


def web_text() -> str:
    with served(Path(file("error.txt", b"slow down")).parent) as root:
        return row(f"{root}/error.txt")


def unlisted() -> str:
    Path("songs").mkdir()
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if path == "songs":
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.scandir", scandir)
        return run("songs", "--out", "rows.csv").replace("1 failed: ", "")


def killed() -> Child:
    process = SimpleNamespace(exitcode=-9)
    return Child(process, None, Path(), None)  # pyright: ignore[reportArgumentType]


PRINTED: dict[str, Callable[[], str]] = {
    "no such file": lambda: row("gone.mp3"),
    "not an audio file that libsndfile": lambda: row(file("a.mp3", b"half of something")),
    "..., which holds no sound: fetch": lambda: row(file("a.mp3", b"<!doctype html><title>404</title>")),
    "begins with zeros": lambda: row(file("a.mp3", bytes(5_000))),
    "a git-lfs pointer": lambda: row(file("a.mp3", b"version https://git-lfs.github.com/spec/v1\n")),
    "the file is empty": lambda: row(file("a.mp3")),
    "not a regular file": lambda: Path("a.mp3").mkdir() or row("a.mp3"),
    "cannot be listed": unlisted,
    "a pipe cannot be sought": lambda: row("/dev/fd/9999"),
    "too short": lambda: row(sound("a.wav", 0.1)),
    "breaks off before its index (moov): ...": lambda: row(half_mp4()),
    "holds no audio stream": lambda: row(video_without_sound()),
    "holds samples that are not finite": lambda: row(not_finite()),
    "decodes to more than": lambda: row(sound("a.wav", 12), Limits(decoded_samples=8_000)),
    "decoding took longer than": lambda: row(sound("a.wav"), Limits(seconds=0)),
    "took longer than": hung,
    "the process that read it was killed": lambda: killed().failure().reason,
    "cannot be fetched: only": lambda: row("ftp://example.org/a.mp3"),
    "cannot be fetched: the server sent a web page": web_page,
    "cannot be fetched: the server sent a text": web_text,
    "an archive": lambda: row(file("a.mp3", b"PK\3\4")),
    "cannot be copied": full,
    "... was begun with other options": other_options,
    "... was begun with a model called": lambda: run(sound("a.wav"), "--out", labels()),
    "... is in use by another run": in_use,
    "... is another user's and cannot be locked": closed_lock,
    "... holds other files and no labels": other_files,
    "...: the name of a file of rows must end in": lambda: run(sound("a.wav"), "--out", "rows.xml"),
    "... is there and holds no rows": lambda: run(
        sound("a.wav"), "--out", file("labels.csv", b"path,label\na.wav,sad\n")
    ),
    "no audio in": no_audio,
    "no such file: ...; no row was written": lambda: run("gone", "--out", "new/"),
    "unknown model": lambda: run(sound("a.wav"), "--model", "my_net.onnx"),
    "a GPU runs engines by TensorRT": lambda: run(sound("a.wav"), "--device", "cuda"),
    "a worker process cannot start (SIGKILL)": lambda: killed().why_no_start(),
    "a disk or share does not answer": dead_share,
    "...: needs more packages": lambda: without("s3fs", "s3://bucket/songs", "--out", "-"),
    "--hop goes with --windows all": lambda: run("a.wav", "--hop", "5"),
    "... is no folder of labels": lambda: Path("letters").mkdir() or run("tag", "letters"),
    "mtime_ns was rounded by another program": lambda: changed_rows("mtime_ns", "1.79595E+18"),
    "... cannot be read: row ...: ... is ...: a decimal comma": lambda: changed_rows("confidence", "0,75"),
    "tags are read and written by mutagen": lambda: without("mutagen", "tag", labels()),
    "a picture needs matplotlib": picture,
    "... to tag": to_tag,
    "... changed after labelling": lambda: to_tag(change=True),
}
"""How the beginning of each text on the page is brought about."""

TEXTS = re.findall(r"^\| `(.+?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_and_this_file_have_the_same_texts() -> None:
    found = {text: [begin for begin in PRINTED if text.startswith(begin)] for text in TEXTS}
    assert all(found.values()), found
    assert {begin for begins in found.values() for begin in begins} == set(PRINTED)


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_printed(text: str) -> None:
    said = PRINTED[max((begin for begin in PRINTED if text.startswith(begin)), key=len)]()
    pattern = ".+".join(map(re.escape, text.split("...")))
    assert re.search(f"(?m)(?:^|Error: ){pattern}$", said), said
