"""What the page gets, and what nobody else gets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from listening import Page
from merkit.engine.errors import MerError
from merkit.training.listening.server import ListeningServer

Serve = Callable[..., Page]


def test_a_key_is_a_row_before_the_answer(serve: Serve):
    page = serve("a.wav", "b.wav")
    assert page.ask("state").json["song"]["number"] == 0
    answer = page.ask("label", {"song": 0, "label": "sad"})
    assert (answer.status, answer.json["song"]["number"], answer.json["labels"]) == (200, 1, ["calm", "sad"])
    assert page.rows() == ["a.wav,sad,artist"]
    assert page.ask("undo", {}).json["song"]["number"] == 0
    assert page.rows() == []


def test_the_tab_that_is_behind_is_told_so(serve: Serve):
    page = serve("a.wav", "b.wav")
    page.ask("label", {"song": 0, "label": "sad"})
    assert page.ask("label", {"song": 0, "label": "calm"}).status == 409
    assert page.ask("skip", {"song": 0}).status == 409
    assert page.rows() == ["a.wav,sad,artist"]


def test_the_page_takes_everything_from_here(serve: Serve):
    page = serve("a.wav")
    for place, kind in (("", "text/html"), ("page.js", "text/javascript"), ("page.css", "text/css")):
        answer = page.ask(place)
        assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (200, kind)
        assert b"http:" not in answer.body
        assert b"https:" not in answer.body
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


_STRANGERS = [
    {"Host": "evil.example:{port}"},  # a name that was made to lead here
    {"Host": "127.0.0.1"},
    {"Host": "127.0.0.1:1"},
    {"Host": None},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1:{port}"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},  # another port of this machine
]


@pytest.mark.parametrize("headers", _STRANGERS, ids=str)
def test_other_pages_and_other_names_get_nothing(serve: Serve, headers: dict[str, str | None]):
    page = serve("a.wav")
    written = {name: value and value.format(port=page.port) for name, value in headers.items()}
    for place, body in (
        ("", None),
        ("state", None),
        ("audio/0", None),
        ("label", {"song": 0, "label": "sad"}),
    ):
        answer = page.ask(place, body, **written)
        assert (answer.status, answer.body) == (403, b"Forbidden")
    assert page.rows() == []


def test_what_changes_something_must_say_where_it_comes_from(serve: Serve):
    page = serve("a.wav")
    label = {"song": 0, "label": "sad"}
    assert page.ask("label", label, Origin=None).status == 403
    assert page.ask("label", label, Content_Type="text/plain").status == 415
    assert page.ask("label", label, Content_Type=None).status == 415
    assert page.rows() == []


def test_by_the_name_localhost_too(serve: Serve):
    page = serve("a.wav")
    host = f"localhost:{page.port}"
    assert page.ask("label", {"song": 0, "label": "sad"}, Host=host, Origin=f"http://{host}").status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "", "/state", "/{token}", "/{token}x/state", "/x/{token}/state", "//{token}x/state",
     "/{wrong}/state",
     "/{token}/none", "/{token}/audio/1", "/{token}/audio/-1", "/{token}/audio/a", "/{token}/audio/0/x",
     "/{token}/audio/../../../etc/passwd", "/{token}/../labels.csv", "/{token}/%2e%2e/labels.csv",
     "/{token}/audio//etc/passwd", "/{token}/audio/%2Fetc%2Fpasswd", "/{token}/server.py",
     "/{token}/page.js/"],
)  # fmt: skip
def test_there_is_nothing_at_other_places(serve: Serve, path: str):
    page = serve("a.wav")
    token = page.server.token
    wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
    answer = page.ask("", path=path.format(token=token, wrong=wrong) or "*")
    assert (answer.status, answer.body) == (404, b"Not Found")


def test_the_token_is_long_and_new_each_time(serve: Serve, tmp_path: Path):
    first = serve("a.wav").server.token
    assert len(first) >= 32
    with pytest.raises(MerError, match="in use"):  # one process a file
        serve("a.wav")


@pytest.mark.parametrize(
    ("place", "body", "status"),
    [("label", b"{", 400), ("label", b"[]", 400), ("label", {"song": "0", "label": "sad"}, 400),
     ("label", {"song": True, "label": "sad"}, 400), ("label", {"label": "sad"}, 400),
     ("label", {"song": 9, "label": "sad"}, 422), ("label", {"song": 0, "label": "=1+1"}, 422),
     ("label", {"song": 0}, 422), ("undo", {}, 422), ("none", {}, 404), ("state", {}, 404),
     ("label", b" " * 5_000, 413)],
)  # fmt: skip
def test_bodies_that_are_none(serve: Serve, place: str, body: object, status: int):
    page = serve("a.wav")
    assert page.ask(place, body).status == status
    assert page.rows() == []


def test_other_methods_and_no_requests_are_refused(serve: Serve):
    page = serve("a.wav")
    methods = [f"{name} {page.place} HTTP/1.1" for name in ("HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")]
    for line in (
        *methods,
        f"GET {page.place}",
        f"GET {page.place} HTTP/9.9",
        "\x16\x03\x01",
        "GET " + "/" * 70_000,
    ):
        with socket.create_connection(("127.0.0.1", page.port), timeout=10) as connection:
            connection.sendall(f"{line}\r\nHost: x\r\n\r\n".encode())
            answer = connection.recv(1_000)
            assert b"200" not in answer
            assert b"mer: listen" not in answer


def test_it_listens_on_this_machine_alone(serve: Serve):
    page = serve("a.wav")
    assert page.server.socket.getsockname()[0] == "127.0.0.1"
    with pytest.raises(MerError, match=f"port {page.port} cannot be used"):
        ListeningServer(page.server.session, page.server.sounds, page.port)


def test_parts_of_a_file_as_players_ask_for_them(serve: Serve, tmp_path: Path):
    page = serve("a.ogg")
    whole = (tmp_path / "a.ogg").read_bytes()
    size = len(whole)
    answer = page.ask("audio/0")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, whole, "audio/ogg")
    for header, first, last in (
        ("bytes=0-", 0, size - 1), ("bytes=10-19", 10, 19), ("bytes=10-10", 10, 10),
        ("bytes=-7", size - 7, size - 1),
        (f"bytes={size - 3}-99999999", size - 3, size - 1), ("bytes=-99999999", 0, size - 1),
    ):  # fmt: skip
        answer = page.ask("audio/0", Range=header)
        assert (answer.status, answer.body) == (206, whole[first : last + 1]), header
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
    for header in ("bytes=5-2", "bytes=0-1,5-6", "bytes=-", "bytes=a-b", "lines=1-2"):
        assert page.ask("audio/0", Range=header).body == whole, header
    for header in (f"bytes={size}-", "bytes=-0", "bytes=9999999999999999999-"):
        assert page.ask("audio/0", Range=header).status == 416, header


def test_a_file_that_is_gone_is_said(serve: Serve, tmp_path: Path):
    page = serve("a.wav")
    (tmp_path / "a.wav").unlink()
    answer = page.ask("audio/0")
    assert (answer.status, answer.json) == (422, {"error": "no such file"})


def test_a_name_that_steers_a_terminal_is_escaped(serve: Serve):
    page = serve("a\x1b[31m\u202e.wav")
    assert page.ask("state").json["song"]["name"] == r"a\x1b[31m\u202e.wav"


def test_finish_ends_the_server(serve: Serve):
    page = serve("a.wav")
    assert page.ask("finish", {}).json == {"finished": True}
    page.server.shutdown()  # returns at once, for it has ended
