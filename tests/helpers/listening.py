"""A served queue of small files, as its page sees it, and as others do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from audio_files import chirp, write_audio
from merkit.training.listening.label_file import LabelFile
from merkit.training.listening.queue_file import QueuedSong
from merkit.training.listening.server import ListeningServer
from merkit.training.listening.session import Session
from merkit.training.listening.sound import Sounds


class Answer(NamedTuple):
    """What a server said; ``json`` is the body where it is JSON."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Page:
    """Asks a server as its own page does, unless headers say otherwise."""

    def __init__(self, server: ListeningServer, file: Path) -> None:
        self.server, self.file, self.port = server, file, server.server_port
        self.place = f"/{server.token}/"

    def ask(self, place: str, body: Any = None, path: str | None = None, **headers: str | None) -> Answer:
        """``path`` is the whole path in place of the token and ``place``; a header None is left out."""
        host = f"127.0.0.1:{self.port}"
        named: dict[str, str | None] = {"Host": host}
        if body is not None:
            named |= {"Origin": f"http://{host}", "Content-Type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=200)
        try:
            connection.putrequest(
                "GET" if data is None else "POST",
                self.place + place if path is None else path,
                skip_host=True,
                skip_accept_encoding=True,
            )
            for name, value in named.items():
                if value is not None:
                    connection.putheader(name, value)
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()

    def rows(self) -> list[str]:
        """The lines of the file of labels, without its header."""
        return self.file.read_text().splitlines()[1:]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Serves files of these names below the test's folder, which it makes where they are not there."""
    open_now: list[tuple[ListeningServer, Sounds, LabelFile]] = []

    def served(*names: str, labels: tuple[str, ...] = ("calm", "sad")) -> Page:
        paths = [tmp_path / name for name in names]
        for number, path in enumerate(paths):
            if not path.exists():
                write_audio(path, chirp(1.0, 22_050, 200.0 + 100 * number), 22_050)
        table = LabelFile(tmp_path / "labels.csv")
        sounds = Sounds([str(path) for path in paths])
        session = Session([QueuedSong(str(path), "artist") for path in paths], labels, table)
        server = ListeningServer(session, sounds)
        open_now.append((server, sounds, table))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return Page(server, table.file)

    yield served
    for server, sounds, table in open_now:
        server.shutdown()
        server.server_close()
        sounds.__exit__()
        table.close()
