"""A folder served over HTTP on this machine."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The URL of the folder, without a slash at the end."""
    with answered_by(partial(_Quiet, directory=str(folder))) as url:
        yield url


class Answers(_Quiet):
    """Its paths say what it answers: /status/500, /to/URL (redirects), /circle, /endless/, /page, /silent."""

    protocol_version = "HTTP/1.0"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        _, what, *rest = self.path.partition("?")[0].split("/", 2)
        if what == "status":
            self._answer(int(rest[0].partition("/")[0].partition(".")[0]))
        elif what == "to":
            self._answer(302, Location=unquote(rest[0]))
        elif what == "circle":
            self._answer(302, Location="/circle")
        elif what == "endless":
            self._answer(200, b'<a href="again/">again</a> <a href="song.mp3">song</a>')
        elif what == "page":
            self._answer(200, b"<p>" * 100)
        else:
            threading.Event().wait(30)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/html", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def answered_by(handler: Any, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """The URL of a server whose requests a class of http.server handles, without a slash at the end.

    With a certificate and its key it speaks TLS.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda request, client_address: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
