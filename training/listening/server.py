"""The page on this machine alone: who asks knows the token, names this machine, and is this page."""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from ...engine.errors import AudioError, MerError
from ...engine.strict_json import json_from_text
from ...engine.text.escape import for_terminal
from .session import KEYS, Session, StaleError
from .sound import NotItsTurnError, Sounds

_HOST = "127.0.0.1"
_CHUNK = 1 << 16
_MOST_BODY = 4_096  # bytes
_PAGES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class _RefusedError(Exception):
    """An answer without a body of ours; ``status`` is its number."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class ListeningServer(ThreadingHTTPServer):
    """Serves one session; a context manager. ``url`` is what a browser on this machine opens.

    Args:
        port: of 127.0.0.1; 0 is any that is free.

    Raises:
        MerError: the port is taken, or not allowed.
    """

    daemon_threads = True  # a browser keeps connections open

    def __init__(self, session: Session, sounds: Sounds, port: int = 0) -> None:
        self.session, self.sounds = session, sounds
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((_HOST, port), _Handler)
        except OSError as error:
            raise MerError(f"port {port} cannot be used: {error.strerror}") from None
        self.url = f"http://{_HOST}:{self.server_port}/{self.token}/"

    def server_bind(self) -> None:
        """As the base class does, but for its question to the name service."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that ends a connection is no error; a bug keeps its traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ListeningServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a connection may be idle

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, method: Any) -> None:
        try:
            self._check_asker()
            method(self._place())
        except _RefusedError as error:
            self.close_connection = True
            self._send(error.status, "text/plain; charset=utf-8", error.status.phrase.encode())

    def _check_asker(self) -> None:
        """Refuses other pages of the browser, and names of other machines that lead here (DNS rebinding)."""
        hosts = self.headers.get_all("Host", [])
        if hosts not in ([f"{name}:{self.server.server_port}"] for name in (_HOST, "localhost")):
            raise _RefusedError(HTTPStatus.FORBIDDEN)
        origins = self.headers.get_all("Origin", [])
        if origins != [f"http://{hosts[0]}"] and (origins or self.command == "POST"):
            raise _RefusedError(HTTPStatus.FORBIDDEN)
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise _RefusedError(HTTPStatus.FORBIDDEN)

    def _place(self) -> str:
        """What is asked for, behind the token."""
        _, _, rest = self.path.partition("/")
        token, slash, place = rest.partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise _RefusedError(HTTPStatus.NOT_FOUND)
        return place

    def _get(self, place: str) -> None:
        if place in _PAGES:
            name, kind = _PAGES[place]
            self._send(HTTPStatus.OK, kind, files(f"{__package__}").joinpath(name).read_bytes())
        elif place == "state":
            self._send_state(self.server.session.state)
        elif match := re.fullmatch(r"audio/(\d{1,9})(\?decoded)?", place, re.ASCII):
            self._send_audio(int(match[1]), bool(match[2]))
        else:
            raise _RefusedError(HTTPStatus.NOT_FOUND)

    def _post(self, place: str) -> None:
        body, session = self._body(), self.server.session
        if place == "label":
            number, label = _song(body), str(body.get("label"))
            self._send_state(lambda: session.label(number, label))
        elif place == "skip":
            number = _song(body)
            self._send_state(lambda: session.skip(number))
        elif place == "undo":
            self._send_state(session.undo)
        elif place == "finish":
            self._send_json(HTTPStatus.OK, {"finished": True})
            threading.Thread(target=self.server.shutdown, daemon=True).start()
        else:
            raise _RefusedError(HTTPStatus.NOT_FOUND)

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        if not length.isdecimal() or int(length) > _MOST_BODY or "Transfer-Encoding" in self.headers:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if kind != "application/json":  # the one that other pages cannot send without being asked for
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        try:
            body = json_from_text(self.rfile.read(int(length)))
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise _RefusedError(HTTPStatus.BAD_REQUEST)
        return body

    def _send_state(self, act: Any) -> None:
        try:
            state = act()
        except MerError as error:
            status = HTTPStatus.CONFLICT if isinstance(error, StaleError) else HTTPStatus.UNPROCESSABLE_ENTITY
            self._send_json(status, {"error": for_terminal(str(error))})
            return
        self._send_json(HTTPStatus.OK, {"labels": self.server.session.labels, "keys": KEYS, **state})

    def _send_audio(self, number: int, decoded: bool) -> None:
        if number >= len(self.server.session.songs):
            raise _RefusedError(HTTPStatus.NOT_FOUND)
        try:
            sound = self.server.sounds.open(number, decoded)
        except AudioError as error:
            waits = isinstance(error, NotItsTurnError)
            status = HTTPStatus.CONFLICT if waits else HTTPStatus.UNPROCESSABLE_ENTITY
            self._send_json(status, {"error": for_terminal(str(error))})
            return
        try:
            part = _range(self.headers.get("Range", ""), sound.size)
            first, last = part or (0, sound.size - 1)
            headers = {"Accept-Ranges": "bytes", "Content-Length": str(last - first + 1)}
            if part:
                headers["Content-Range"] = f"bytes {first}-{last}/{sound.size}"
            self._begin(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK, sound.kind, headers)
            while first <= last and (
                chunk := os.pread(sound.descriptor, min(_CHUNK, last + 1 - first), first)
            ):
                self.wfile.write(chunk)
                first += len(chunk)
            self.close_connection |= first <= last  # the file has become shorter meanwhile
        finally:
            os.close(sound.descriptor)

    def _send_json(self, status: HTTPStatus, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self._begin(status, kind, {"Content-Length": str(len(content))})
        self.wfile.write(content)

    def _begin(self, status: HTTPStatus, kind: str, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Type": kind, **headers, **_HEADERS}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses (a request that is none, another method), without its page."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(status, "text/plain; charset=utf-8", status.phrase.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed: the token stands in every line."""


def _song(body: dict[str, Any]) -> int:
    number = body.get("song")
    if not isinstance(number, int) or isinstance(number, bool):
        raise _RefusedError(HTTPStatus.BAD_REQUEST)
    return number


def _range(header: str, size: int) -> tuple[int, int] | None:
    """The first and the last byte of a header ``Range``; None, the whole, for what HTTP has us ignore.

    Raises:
        _RefusedError: it lies behind the end.
    """
    match = re.fullmatch(r"bytes=(\d{0,19})-(\d{0,19})", header.strip(), re.ASCII)
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(size - 1, int(match[2] or size))
        if match[2] and int(match[2]) < first:
            return None
    if first >= size:
        raise _RefusedError(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return first, last
