"""Joining a cluster: what goes wrong is one line, of the library and of the command."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from merkit.engine.errors import MerError
from merkit.engine.labelling.ray_session import join_cluster, last_line, leave_cluster

MER_LABEL = [sys.executable, "-m", "merkit.engine.cli"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere", "give local, auto or HOST:PORT"),
        ("127.0.0.1:{port}", "no Ray cluster answers at 127."),
    ],
)
def test_errors_are_one_line(tiny_model: Path, tmp_path: Path, address: str, message: str) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(port=free.getsockname()[1])
        done = subprocess.run(
            [*MER_LABEL, str(tmp_path), "--model", str(tiny_model), "--ray", address],
            capture_output=True, text=True,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_ray(tiny_model: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['ray'] = None; from merkit.engine.cli.label import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "--model", str(tiny_model), "--ray", "local"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'merkit[ray]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("10.0.0.1", "'10.0.0.1' names no Ray cluster: give local, auto or HOST:PORT"),
        ("host:port", "'host:port' names no Ray cluster"),
        ("127.0.0.1:99999", "no Ray cluster answers at 127.0.0.1:99999"),
        ("a..b:6379", "no Ray cluster answers at a..b:6379"),
        ("ray://[::1]:1", "no Ray cluster answers at ray://[::1]:1"),
    ],
)
def test_addresses_that_are_none(address: str, message: str) -> None:
    pytest.importorskip("ray")
    began = time.monotonic()
    with pytest.raises(MerError) as caught:
        join_cluster(address)
    assert str(caught.value).startswith(message)
    assert "--" not in str(caught.value)
    assert time.monotonic() - began < 30


def test_ray_is_shut_down_after_the_threads_of_its_data() -> None:
    """One that asked Ray for something after that would end the process with exit code 1."""
    at_work, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        at_work.set()
        let_go.wait(60)
        ended.set()

    thread = threading.Thread(target=work, name="iter_threaded", daemon=True)
    thread.start()
    at_work.wait(60)
    threading.Timer(0.2, let_go.set).start()
    was_ended: list[bool] = []
    leave_cluster(SimpleNamespace(shutdown=lambda: was_ended.append(ended.is_set())))
    assert was_ended == [True]


def test_the_last_line_of_pages() -> None:
    assert last_line(RuntimeError("first\n  second  \n\n")) == "second"
    assert last_line(RuntimeError("x" * 10_000)) == "x" * 300
    assert last_line(KeyboardInterrupt()) == "KeyboardInterrupt"
