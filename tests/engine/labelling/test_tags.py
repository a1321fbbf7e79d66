"""Tags without the sound."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from merkit.engine.labelling import tags
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.tags import read_tags
from merkit.engine.labelling.worker_pool import Failure
from merkit.engine.spec import AudioSpec


def test_tags_in_the_order_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags, "_AT_ONCE", 3)
    paths = [str(tmp_path / f"{i}.flac") for i in range(8)]
    for i, path in enumerate(paths):
        with soundfile.SoundFile(path, "w", 16_000, 1) as file:
            file.title = f"Song {i}"
            file.write(np.zeros(100, np.float32))  # silence, too short for a window
    Path(paths[2]).write_bytes(b"no song")
    Path(paths[5]).unlink()
    read = list(read_tags(paths, WindowOptions(AudioSpec())))
    failures = [(i, row.unreadable) for i, row in enumerate(read) if isinstance(row, Failure)]
    assert failures == [(2, False), (5, True)]
    titles = [row["title"] for row in read if not isinstance(row, Failure)]
    assert titles == [f"Song {i}" for i in range(8) if i not in (2, 5)]


def test_no_files_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(tags, "WorkerPool", fail)
    nothing: Iterator[str] = iter(())
    assert list(read_tags(nothing, WindowOptions(AudioSpec()))) == []


def _slow(path: str, _: object) -> dict[str, str]:
    time.sleep(0.05)
    return {"title": path}


def test_a_stop_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a share that answers slowly, a thousand files would keep Ctrl-C waiting for half a minute."""
    monkeypatch.setattr(tags, "tags_from_file", _slow)
    monkeypatch.setattr(tags, "usable_cores", lambda: 2)
    stop, paths = threading.Event(), [f"{i}" for i in range(600)]
    threading.Timer(1.0, stop.set).start()
    read = list(read_tags(paths, WindowOptions(AudioSpec()), stop))
    assert read == [{"title": path} for path in paths[: len(read)]]
    assert len(read) < 300
