"""Songs behind URLs, copied to be decoded."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import Mock
from urllib.parse import unquote

import merkit
import pytest
from audio_files import noise, write_audio
from http_folder import Answers, answered_by, served
from merkit.engine.audio import remote_copy, web
from merkit.engine.audio.decoder import Limits
from merkit.engine.catalogue.expand import Sources
from merkit.engine.errors import AudioError, MerError, UnreadableError
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.spec import AudioSpec


def copied(url: str, **limits: Any) -> bytes:
    with remote_copy.local_copy(url, Limits(**limits)) as copy:
        return Path(copy).read_bytes()


def test_a_song_behind_a_url(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    write_audio(tmp_path / "b.wav", noise(11, 16_000), 16_000)
    with served(tmp_path) as root:
        with remote_copy.local_copy(f"{root}/b.wav", Limits()) as copy:
            assert Path(copy).read_bytes() == (tmp_path / "b.wav").read_bytes()
        assert not os.path.exists(copy)
        file = log_mels_from_file(f"{root}/b.wav", WindowOptions(AudioSpec()))
        assert file.facts.duration_s == pytest.approx(11)
        with pytest.raises(AudioError, match="no such file"):
            log_mels_from_file(f"{root}/gone.wav", WindowOptions(AudioSpec()))


def test_an_object_that_is_too_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_copy, "_MAX_BYTES", 10)
    (tmp_path / "a.wav").write_bytes(bytes(11))
    with served(tmp_path) as root:
        assert refused(f"{root}/a.wav") == "is larger than 0 GB"


def test_a_copy_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    with served(tmp_path) as root, answered_by(Answers) as silent:
        monkeypatch.setattr(remote_copy, "time", SimpleNamespace(monotonic=iter((0.0, 0.0, 9.0)).__next__))
        assert refused(f"{root}/a.wav", seconds=8) == "copying took longer than 8 s"
        monkeypatch.undo()
        assert refused(f"{silent}/silent", seconds=0.5) == (
            "cannot be fetched: the server does not answer in time"
        )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("status/401", "cannot be fetched: HTTP 401: it asks for a password or a token"),
        ("status/403", "cannot be fetched: HTTP 403: access is denied"),
        ("status/404", "no such file"),
        ("status/410", "cannot be fetched: HTTP 410: Gone"),
        ("status/500", "cannot be fetched: HTTP 500: the server fails, another day it may not"),
        ("status/503", "cannot be fetched: HTTP 503: the server fails, another day it may not"),
        ("to//to//status/404", "no such file"),
        (
            "to/http://127.1.2.3/a.mp3",
            "cannot be fetched: 127.1.2.3 is an address of this machine or",
        ),
        ("to/http://169.254.169.254/latest", "cannot be fetched: 169.254.169.254 is an address of this"),
        ("to/http://2130706433/", "cannot be fetched: "),  # aiohttp 3.14 takes no such number
        (
            "to/http://0x7f.1/",
            "cannot be fetched: 0x7f.1 leads to 127.0.0.1, which is an address of",
        ),
        ("to/http://[::1]:80/", "cannot be fetched: ::1 is an address of this machine or network"),
        (
            "to/http://[::ffff:127.0.0.1]/",
            "cannot be fetched: ::ffff:7f00:1 is an address of this machine",
        ),
        ("to/http://localhost/", "cannot be fetched: localhost leads to "),
        ("to/http://a%2540b@localhost/%2541", "cannot be fetched: localhost leads to "),
        (
            "to/file:///etc/passwd",
            "cannot be fetched: the server redirects to what is no URL of http or https: file:///etc/passwd",
        ),
    ],
)
def test_what_goes_wrong_is_told_apart(path: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_copy, "_PAUSES_S", (0.0, 0.0))
    with answered_by(Answers) as root:
        assert refused(f"{root}/{path}").startswith(reason)


class Busy(Answers):
    """Answers /N/STATUS/RETRY-AFTER with a song when it is asked for the Nth time; STATUS 0 breaks off."""

    asked: list[float]  # when, for each time
    agents: set[str | None]

    def do_GET(self) -> None:
        self.asked.append(time.monotonic())
        self.agents.add(self.headers["User-Agent"])
        good, status, *after = unquote(self.path).split("/")[1:]
        if len(self.asked) >= int(good):
            self._answer(200, b"\0sound")
        elif int(status):
            self._answer(int(status), b"busy", **({"Retry-After": after[0]} if after else {}))
        else:
            self.send_response(200)
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(b"half")


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(remote_copy, "_PAUSES_S", (0.1, 0.1))
    Busy.asked, Busy.agents = [], set()
    with answered_by(Busy) as root:
        yield root


@pytest.mark.parametrize(
    "why", ["3/429", "2/502", "3/503/0", "2/504/soon", "3/0", "2/503/Mon, 01 Jan 2001 00:00:00 GMT"]
)
def test_a_server_that_is_busy_is_asked_again(why: str, busy: str) -> None:
    assert copied(f"{busy}/{why}") == b"\0sound"
    assert len(Busy.asked) == int(why[0])
    assert Busy.agents == {f"merkit/{merkit.__version__}"}


def test_it_is_asked_when_it_says(busy: str) -> None:
    with remote_copy.local_copy(f"{busy}/2/429/1", Limits()):
        assert Busy.asked[1] - Busy.asked[0] >= 1


@pytest.mark.parametrize(
    ("why", "times", "reason"),
    [
        ("9/429", 3, "HTTP 429: too many requests: try again later"),
        ("9/0", 3, "the server ended the connection before all was sent"),
        ("9/500", 1, "HTTP 500: the server fails, another day it may not"),
        ("9/403/0", 1, "HTTP 403: access is denied"),
        ("9/503/8", 1, "HTTP 503: the server fails, another day it may not"),
        (f"9/503/{'9' * 5_000}", 1, "HTTP 503: the server fails, another day it may not"),
        ("9/503/Fri, 31 Dec 9999 23:59:59 GMT", 1, "HTTP 503: the server fails, another day it may not"),
    ],
)
def test_it_is_asked_three_times_and_within_the_limit(why: str, times: int, reason: str, busy: str) -> None:
    assert refused(f"{busy}/{why}", seconds=5) == f"cannot be fetched: {reason}"
    assert len(Busy.asked) == times


@pytest.mark.parametrize(
    ("status", "kind", "body", "reason"),
    [
        (200, "text/html", b"<html>log in", "the server sent a web page (text/html), no song"),
        (200, "Text/HTML; charset=utf-8", b"\xe0\xa4\x97", "the server sent a web page (text/html), no song"),
        (200, "application/xhtml+xml", b"\n<?xml ", "the server sent a web page (application/xhtml+xml), no"),
        (203, "text/html", b"<p>" * 9_000, "the server sent a web page (text/html), no song"),
        (200, "application/json", b'{"error": 429}', "the server sent a text (application/json), no song"),
        (200, "application/problem+json", b"{}", "the server sent a text (application/problem+json), no"),
        (200, "application/xml", b"<Error/>", "the server sent a text (application/xml), no song"),
        (200, "text/xml", b"<Error/>", "the server sent a text (text/xml), no song"),
        (200, "text/plain; charset=utf-8", b"slow down", "the server sent a text (text/plain), no song"),
        (200, "audio/mpeg", b"", "the server sent nothing"),
        (204, "audio/mpeg", b"", "HTTP 204: the server sent no song"),
        (206, "audio/mpeg", b"half", "HTTP 206: the server sent no song"),
        (300, "text/html", b"<p>", "HTTP 300: the server sent no song"),
        (304, "audio/mpeg", b"", "HTTP 304: the server sent no song"),
    ],
)  # fmt: skip
def test_an_answer_without_a_song_is_no_bad_song(status: int, kind: str, body: bytes, reason: str) -> None:
    """The next run asks again: a login or a page of maintenance stood there, or a proxy's."""

    class Page(Answers):
        def do_GET(self) -> None:
            self._answer(status, body, **{"Content-Type": kind})

    with answered_by(Page) as root:
        with pytest.raises(UnreadableError) as error:
            log_mels_from_file(f"{root}/a.mp3", WindowOptions(AudioSpec()))
        assert str(error.value).startswith(f"cannot be fetched: {reason}")


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (200, "a.wav", "text/html"),
        (203, "a.wav", "text/html"),
        (200, "a.mp3", "text/html"),
        (200, "a.mp3", "text/plain"),
        (200, "a.flac", "application/json"),
    ],
)
def test_a_song_that_is_called_a_text(status: int, name: str, kind: str, tmp_path: Path) -> None:
    write_audio(tmp_path / name, noise(11, 16_000), 16_000)

    class Song(Answers):
        def do_GET(self) -> None:
            self._answer(status, (tmp_path / name).read_bytes(), **{"Content-Type": kind})

    with answered_by(Song) as root:
        file = log_mels_from_file(f"{root}/{name}", WindowOptions(AudioSpec()))
        assert file.facts.duration_s == pytest.approx(11, abs=0.1)


def test_an_answer_that_is_not_packed_as_it_says_is_asked_for_once() -> None:
    """The same would come again. One that is packed, though that was not asked for, is unpacked."""

    class Packed(Answers):
        def do_GET(self) -> None:
            asked.append(self.headers["Accept-Encoding"])
            body = b"\0sound" if self.path == "/lie" else gzip.compress(b"\0sound")
            self._answer(200, body, **{"Content-Encoding": "gzip"})

    asked: list[str] = []
    with answered_by(Packed) as root:
        assert copied(f"{root}/packed") == b"\0sound"
        assert refused(f"{root}/lie") == (
            "cannot be fetched: the server does not speak HTTP as it should: "
            "what it sent is not encoded as its Content-Encoding says"
        )
    assert asked == ["identity", "identity"]


def test_a_part_that_is_the_whole_song() -> None:
    """Some servers answer with a part though none was asked for."""

    class Part(Answers):
        def do_GET(self) -> None:
            self._answer(206, b"\0sound", **{"Content-Range": f"bytes 0-5/{self.path[1:]}"})

    with answered_by(Part) as root:
        assert copied(f"{root}/6") == b"\0sound"
        for size in ("7", "*"):
            assert refused(f"{root}/{size}") == "cannot be fetched: HTTP 206: the server sent no song"


def test_a_redirect_within_the_host_or_to_one_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    with served(tmp_path) as root, answered_by(Answers) as other:
        url = f"{other}/to/{root}/a.wav"
        elsewhere = f"{other}/to/{root.replace('127.0.0.1', 'localhost')}/a.wav"
        for hosts in (None, frozenset(["127.0.0.1"])):
            assert copied(url, private_hosts=hosts) == b"sound"
            with pytest.raises(UnreadableError):
                copied(elsewhere, private_hosts=hosts)
        assert copied(elsewhere, allow_private=True) == b"sound"


SIGNED = "/a%27b%28c%29.wav?name=%22x%2Fy.wav%22%3B&Signature=ab%2Bcd%2F%3D~"


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        (SIGNED, SIGNED),
        ("/caf%c3%a9.wav?s=%2f#%2f", "/caf%c3%a9.wav?s=%2f"),
        ("/a b+c.wav?d=e f+g", "/a%20b+c.wav?d=e+f+g"),
        ("/100%.wav?s=%2F", "/100%25.wav?s=/"),
        ("/\u0917\u0940\u0924 %41.wav", "/%E0%A4%97%E0%A5%80%E0%A4%A4%20A.wav"),
        ("/a[1].wav#b", "/a%5B1%5D.wav"),
    ],
)  # fmt: skip
def test_a_url_that_is_encoded_is_sent_as_it_is(url: str, sent: str) -> None:
    """Where a server redirects to it too: a signature is of each character."""

    class Asked(Answers):
        def do_GET(self) -> None:
            if self.path.startswith("/to/"):
                self._answer(302, Location=url.encode().decode("latin-1"))
            else:
                asked.append(self.path)
                self._answer(200, b"\0sound")

    asked: list[str] = []
    with answered_by(Asked) as root:
        for there in (root + url, f"{root}/to/"):
            assert copied(there) == b"\0sound"
    assert asked == [sent, sent]


def test_redirects_in_a_circle() -> None:
    with answered_by(Answers) as root:
        assert refused(f"{root}/circle") == "cannot be fetched: too many redirects"


def test_a_certificate_that_nobody_signed(tmp_path: Path) -> None:
    openssl = shutil.which("openssl") or pytest.skip("needs openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with answered_by(Answers, (certificate, key)) as root:
        reason = refused(f"{root.replace('http://', 'https://')}/page")
    assert reason.startswith("cannot be fetched: the certificate of 127.0.0.1 is not valid: ")


def test_who_cannot_be_reached() -> None:
    with answered_by(Answers) as root:
        pass
    port = root.rpartition(":")[2]
    refuses = f"cannot be fetched: 127.0.0.1, port {port}, refuses the connection"
    assert refused(f"{root}/a.mp3") == refuses
    assert "cannot be resolved" in refused("http://there.is.no.such.host.invalid/a.mp3")
    assert refused("http://[::1/a.mp3").startswith("cannot be fetched: ")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + b"\xff\xfb\x90" * 400, "Bad status line"),
        (b"\xff\xfb\x90" * 400, "Bad status line"),
        (b"HTTP/1.1 200 OK\r\nb\x00\xff: c\r\n\r\n", "Invalid header token"),
    ],
    ids=["longer than it said", "only sound", "a bad header"],
)
def test_an_answer_that_is_no_http_is_one_plain_line(answer: bytes, reason: str) -> None:
    """Also where more comes than the length that was said: it is taken for the next answer."""
    said = refused(f"{answered_once(answer)}/a.mp3")
    assert said == f"cannot be fetched: the server does not speak HTTP as it should: {reason}"


def test_what_a_server_says_of_an_error_is_one_short_line() -> None:
    for words, reason in ((b" " + b"x" * 900, f"HTTP 418: {'x' * 100}"), (b"", "HTTP 418")):
        url = answered_once(b"HTTP/1.1 418" + words + b"\r\n\r\n")
        assert refused(f"{url}/a.mp3") == f"cannot be fetched: {reason}"


def test_a_connection_that_ends_without_a_word() -> None:
    """As where https is asked of what does not speak TLS, and hangs up."""
    url = answered_once(b"").replace("http://", "https://")
    said = refused(f"{url}/a.mp3")
    assert re.fullmatch("cannot be fetched: 127.0.0.1 cannot be reached: [Cc]onnection [a-z ]+", said)


def answered_once(answer: bytes) -> str:
    """The URL of a server that sends these bytes once, whatever it is asked, and hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_list_may_not_name_hosts_of_this_network(tmp_path: Path) -> None:
    """Also by a name that leads there: what counts is the address that is connected to."""
    (tmp_path / "a.wav").write_bytes(b"sound")
    with served(tmp_path) as root:
        by_name = root.replace("127.0.0.1", "localhost")
        for url in (f"{root}/a.wav", f"{by_name}/a.wav"):
            hosts = frozenset([web.host_of(url)])
            for named in (None, hosts):
                assert copied(url, private_hosts=named) == b"sound"
            for named in (frozenset(), frozenset(["other.org"])):
                assert "is an address of this machine or network" in refused(url, private_hosts=named)
                assert copied(url, private_hosts=named, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "local:///etc/passwd", "memory://a/b.mp3", "ftp://host/a.mp3", "github://a:b@c/d.mp3",
        "zip://a.mp3::http://host/a.zip", "data://a.mp3", "nothing://bucket/songs", "az://bucket/a.mp3",
        "dir://a.mp3", "blockcache://a.mp3",
    ],
)  # fmt: skip
def test_other_schemes_are_refused(url: str) -> None:
    assert re.fullmatch(
        "cannot be fetched: only http, https, s3 and gs are read, not [a-z]+://", refused(url)
    )


class Bucket:
    """Stands in for s3fs, which knows ``s3://`` in lower case only."""

    def _strip_protocol(self, url: str) -> str:
        assert url.startswith("s3://")
        return url.removeprefix("s3://").rstrip("/")

    def open(self, path: str, mode: str, block_size: int) -> Any:
        if "/" not in path:
            raise ValueError(f"Attempt to open non key-like path: {path}")
        return io.BytesIO(path.encode())


def test_a_bucket_has_one_name_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest.importorskip("fsspec"), "filesystem", {"s3": Bucket()}.get)
    for url in ("s3://bucket/Top.wav", "S3://bucket/Top.wav"):
        assert copied(url) == b"bucket/Top.wav"


def test_a_bucket_that_lists_nothing_is_no_song(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest.importorskip("fsspec"), "filesystem", {"s3": Bucket()}.get)
    for url in ("s3://gone", "s3://gone/"):
        assert refused(url) == "the bucket gone is not there, is empty, or may not be listed"


def test_a_folder_of_which_the_listing_failed_is_no_empty_song(monkeypatch: pytest.MonkeyPatch) -> None:
    """s3fs opens a prefix as an object without a byte."""

    class Prefix(io.BytesIO):
        details = MappingProxyType({"name": "bucket/album", "size": 0, "type": "directory"})

    class Folders(Bucket):
        def open(self, path: str, mode: str, block_size: int) -> Any:
            return Prefix()

    monkeypatch.setattr(pytest.importorskip("fsspec"), "filesystem", {"s3": Folders()}.get)
    with pytest.raises(UnreadableError, match="a folder that could not be listed"):
        log_mels_from_file("s3://bucket/album", WindowOptions(AudioSpec()))


@pytest.mark.parametrize("named", [None, "/no/such/folder"])
def test_where_no_temporary_folder_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    if named is None:
        monkeypatch.delenv("TMPDIR", raising=False)
    else:
        monkeypatch.setenv("TMPDIR", named)
    refusal = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    monkeypatch.setattr(tempfile, "gettempdir", Mock(side_effect=refusal))
    with served(tmp_path) as root:
        assert refused(f"{root}/a.wav") == (
            f"cannot be copied: {named or '/tmp'}, the folder for temporary files, cannot be written (No "
            "usable temporary directory found in ['/tmp']): make room, or let TMPDIR name another"
        )


@pytest.mark.parametrize("when", ["the file is made", "it is written"])
def test_a_full_temporary_folder_is_no_fault_of_the_server(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    made = tempfile.NamedTemporaryFile

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_when_written(**options: Any) -> Any:
        file = made(**options)
        file.write = full
        return file

    broken = full if when == "the file is made" else full_when_written
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", broken)
    with served(tmp_path) as root:
        assert refused(f"{root}/a.wav") == (
            f"cannot be copied: {tempfile.gettempdir()}, the folder for temporary files, is full: "
            "make room, or let TMPDIR name another"
        )


def test_a_proxy_that_is_not_used_is_said_where_a_connection_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = " (the environment names a proxy: proxies are not used)"
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    with answered_by(Answers) as root:
        assert refused(f"{root}/silent", seconds=0.5).endswith(f"does not answer in time{note}")
        assert note not in refused(f"{root}/status/403")
        assert note not in refused(f"{root}/a", private_hosts=frozenset())
    assert refused(f"{root}/a").endswith(f"refuses the connection{note}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert refused(f"{root}/a").endswith("refuses the connection")


def refused(url: str, **limits: Any) -> str:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    with pytest.raises(AudioError) as error:
        copied(url, **limits)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("url", "package", "message"),
    [
        ("s3://bucket/songs", "s3fs", "pip install 'merkit[s3]'"),
        ("gs://bucket/songs", "gcsfs", "pip install 'merkit[gcs]'"),
    ],
)
def test_what_a_url_needs_is_said(
    url: str, package: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MerError) as caught:
        list(Sources([url]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
