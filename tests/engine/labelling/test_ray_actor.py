"""One machine's part, in this process: blocks of paths in, tables of labels out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from gpu_on_cpu import SPEC
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.local import LocalBackend
from merkit.engine.labelling.ray_actor import FAILED, LabelActor, block_from_paths
from merkit.engine.labelling.song_label import label_from_json
from reading import labels_of


@pytest.fixture
def actor(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabelActor]:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda model: model))
    actor = LabelActor(artifact, "onnxruntime", WindowOptions(SPEC.audio), 2)
    yield actor
    actor._backend.close()  # on a cluster its process ends


def test_blocks_of_paths_become_tables_of_labels(
    actor: LabelActor, artifact: Artifact, mixed_songs: list[str]
) -> None:
    expected = labels_of(mixed_songs, artifact)
    for first in (0, 100):
        rows = actor(block_from_paths(dict(enumerate(mixed_songs, first)))).to_pylist()
        assert [row["position"] for row in rows] == list(range(first, first + len(mixed_songs)))
        labels = [label_from_json(row["label"], path) for row, path in zip(rows, mixed_songs, strict=True)]
        assert labels == expected
        seconds = [json.loads(row["stages"]) for row in rows]
        assert seconds[0]["decode"] > 0
        assert seconds[1:] == [{}] * (len(rows) - 1)


def test_paths_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {5: "a.mp3", 7: "https://host/b.mp3", 8: "", 9: "\udcff.mp3"}
    block = block_from_paths(paths)
    assert block.num_rows == 1
    assert block["positions"][0].as_py() == [5, 7, 8, 9]
    assert [os.fsdecode(path) for path in block["paths"][0].as_py()] == [
        str(tmp_path / "a.mp3"),
        "https://host/b.mp3",
        "",
        f"{tmp_path}/\udcff.mp3",
    ]


def test_a_path_through_a_link_and_up_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As text, without ``..``, it would name another file."""
    (tmp_path / "far" / "album").mkdir(parents=True)
    (tmp_path / "far" / "a.mp3").write_text("far")
    (tmp_path / "a.mp3").write_text("near")
    (tmp_path / "link").symlink_to("far/album")
    monkeypatch.chdir(tmp_path)
    block = block_from_paths({0: "link/../a.mp3"})
    monkeypatch.chdir("/")
    (path,) = block["paths"][0].as_py()
    assert Path(os.fsdecode(path)).read_text() == "far"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no folder that a process is in")
def test_an_absolute_path_needs_no_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert block_from_paths({0: "/songs/a.mp3"})["paths"][0].as_py() == [b"/songs/a.mp3"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(DeviceError("the GPU is gone"), "the GPU is gone"), (KeyError("x"), "internal error: KeyError: 'x'")],
)
def test_an_actor_that_fails_says_why(
    actor: LabelActor, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(LocalBackend, "label_files", fail)
    assert actor(block_from_paths({3: "a.mp3"})).to_pylist() == [
        {"position": FAILED, "label": reason, "stages": "{}"}
    ]
