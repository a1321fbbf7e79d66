"""A labeler in a process that is forked from the one that opened it, and at the end of both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from audio_files import chirp, noise, write_audio
from merkit import labeler as api

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on Windows")

# From 3.12 on Python warns of every fork of a process with threads.
QUIETLY = ("-W", "ignore:This process:DeprecationWarning")

BEGIN = """
import json, multiprocessing, os, sys
import merkit
import merkit.engine.labelling.local as local

local.usable_cores = lambda: 8  # a network of one thread survives a fork
paths = [f"{number}.wav" for number in range(4)]
labeler = merkit.Labeler("tiny.onnx", runtime="onnxruntime", workers=1)

def rows(songs):
    return [(song.path, song.error, song.probabilities) for song in songs]

def ended_well(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    """``tiny.onnx``, and ``0.wav`` to ``3.wav``, of which no two have the same label."""
    for number in range(4):
        samples = chirp(3, 16_000) if number == 3 else noise(3, 16_000, number) * 0.5**number
        write_audio(tmp_path / f"{number}.wav", samples, 16_000)
    return tmp_path


def python(folder: Path, code: str) -> str:
    """What a script prints that ends well and says nothing on stderr."""
    body = "\n".join(f"    {line}" for line in code.strip().splitlines())
    (folder / "script.py").write_text(f'{BEGIN}\nif __name__ == "__main__":\n{body}\n')
    command = [sys.executable, *QUIETLY, "script.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "labeler.close()"])
def test_parent_and_child_get_the_labels_of_their_own_files(folder: Path, end: str) -> None:
    code = f"""
expected = rows(labeler.label_files(paths))
assert len(set(expected)) == 4
worker = labeler._backend._idle._children[0].process.pid
child = os.fork()
part = slice(2) if child else slice(2, 4)
for _ in range(3):
    assert rows(labeler.label_files(paths[part] * 3)) == expected[part] * 3
if not child:
    {end}
else:
    assert ended_well(child)
    assert rows(labeler.label_files(paths)) == expected
    assert labeler._backend._idle._children[0].process.pid == worker
    print("done")
"""
    assert python(folder, code) == "done\n"


@pytest.mark.parametrize("use", ["pass", "labeler.label(paths[1])"])
def test_a_child_ends_whatever_threads_its_parents_network_has(folder: Path, use: str) -> None:
    code = f"""
song = labeler.label(paths[0])
child = os.fork()
if not child:
    {use}
    sys.exit(0)
assert ended_well(child)
assert labeler.label(paths[0]) == song
"""
    python(folder, code)


def test_a_fork_while_another_thread_closes_renews_the_lock(tiny_model: Path) -> None:
    """Whatever takes it, a forked child must know of the labeler by then."""
    labeler = api.Labeler(tiny_model)
    known: list[bool] = []

    class Lock:
        def __enter__(self) -> None:
            known.append(labeler in api._opened)

        def __exit__(self, *_: object) -> None: ...

    labeler._lock = Lock()  # pyright: ignore[reportAttributeAccessIssue]
    labeler.close()
    assert known == [True]


def test_processes_of_pools(folder: Path) -> None:
    """Those of multiprocessing.Pool may have no children."""
    code = """
from concurrent.futures import ProcessPoolExecutor
expected = rows(labeler.label_files(paths))
fork = multiprocessing.get_context("fork")
with ProcessPoolExecutor(1, fork) as pool:
    assert pool.submit(labels_of_files, paths).result() == expected
with fork.Pool(2) as pool:
    assert rows(pool.map(labeler_label, paths)) == expected
    print(pool.apply(labels_of_files, [paths]))
assert rows(labeler.label_files(paths)) == expected
"""
    functions = """
def labels_of_files(paths):
    try:
        with merkit.Labeler("tiny.onnx", runtime="onnxruntime", workers=1) as other:
            return rows(other.label_files(paths))
    except merkit.MerError as error:
        return str(error)
def labeler_label(path):
    return labeler.label(path)
"""
    (line,) = python(folder, functions + code).splitlines()
    assert line.startswith("a daemonic process, such as one of multiprocessing.Pool, may start no worker")
    assert "by label(), or use concurrent.futures.ProcessPoolExecutor" in line
    assert line.endswith("(Celery: -P threads or -P solo; Dask: distributed.worker.daemon: false)")


@pytest.mark.parametrize("end", ["sys.exit(0)", "del half, new\n    os._exit(0)"])
def test_labels_that_the_parent_asked_for_are_refused_to_a_child(folder: Path, end: str) -> None:
    code = f"""
expected = rows(labeler.label_files(paths))
half, new = labeler.label_files(paths * 9), labeler.label_files(paths)
got = rows([next(half)])
child = os.fork()
if not child:
    for labels in (half, new):
        try:
            print(rows(labels))
        except merkit.MerError as error:
            print(error, flush=True)
    assert rows(labeler.label_files(paths)) == expected
    {end}
got += rows(half)
assert ended_well(child)
assert got == expected * 9
assert rows(new) == expected
"""
    refusal = "another process began these labels: call label_files in this one\n"
    assert python(folder, code) == 2 * refusal


def test_labels_that_are_left_end_with_python_in_silence(folder: Path) -> None:
    code = """
first, second = labeler.label_files(paths * 9), labeler.label_files(paths * 9)
next(first), next(second)
json.kept, os.kept = first, second  # until modules of ours are gone
"""
    assert python(folder, code) == ""
