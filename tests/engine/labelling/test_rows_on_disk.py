"""Rows that grow: the same numbers in memory and on disk, and no file that stays."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.errors import AudioError, UnreadableError
from merkit.engine.labelling import rows_on_disk
from merkit.engine.labelling.rows_on_disk import GrowingRows, RowsOnDisk
from merkit.engine.temporary import new_folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker's folder for temporary files."""
    folder = tmp_path / "mer-run-of-the-parent"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def grown(count: int, shape: tuple[int, ...] = (2, 3)) -> tuple[np.ndarray, np.ndarray | RowsOnDisk]:
    expected = np.random.default_rng(count).standard_normal((count, *shape)).astype(np.float32)
    rows = GrowingRows()
    for row in expected:
        rows.add(row)
    return expected, rows.all()


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("in_memory", [0, 24, 100, 1_000_000])
def test_what_was_added_comes_back(count: int, in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_on_disk, "_IN_MEMORY", in_memory)
    expected, rows = grown(count)
    assert isinstance(rows, RowsOnDisk) == (24 * count > in_memory)
    assert (len(rows), rows.nbytes) == (count, expected.nbytes)
    np.testing.assert_array_equal(np.asarray(rows), expected)
    assert np.asarray(rows).dtype == np.float32


@given(st.integers(1, 30), st.lists(st.slices(30), min_size=1, max_size=3))
def test_slices_are_those_of_an_array(count: int, slices: list[slice]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_on_disk, "_IN_MEMORY", 0)
        expected, rows = grown(count, (5,))
    for part in slices:
        step_1 = slice(part.start, part.stop)
        expected, rows = expected[step_1], rows[step_1]
        assert len(rows) == len(expected)
        np.testing.assert_array_equal(np.concatenate([np.asarray(rows)]), expected)


def test_the_file_goes_with_the_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_on_disk, "_IN_MEMORY", 0)
    _, rows = grown(4)
    part = rows[1:3]
    del rows
    gc.collect()
    assert len(list(folder.iterdir())) == 1
    assert np.asarray(part).shape == (2, 2, 3)
    del part
    gc.collect()
    assert not list(folder.iterdir())


def test_of_a_process_that_is_killed_nothing_stays_for_ever(folder: Path) -> None:
    """Its file lies in the folder that the next run clears."""
    code = (
        "import os, signal, numpy as np\n"
        "from merkit.engine.labelling import rows_on_disk\n"
        "rows_on_disk._IN_MEMORY = 0\n"
        "rows = rows_on_disk.GrowingRows()\n"
        "rows.add(np.zeros(3))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    outside = folder.parent / "tmp"
    outside.mkdir()
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(outside)}, check=False)
    assert len(list(outside.glob("mer-run-*/mer-rows-*"))) == 1
    _, remove = new_folder(outside, "mer-run-")
    remove()
    assert not list(outside.iterdir())


def test_another_process_gets_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_on_disk, "_IN_MEMORY", 0)
    expected, rows = grown(6)
    (folder / "pickled").write_bytes(pickle.dumps(rows))
    del rows
    gc.collect()
    code = (
        "import pickle, sys, pathlib, numpy as np\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "rows = pickle.loads(file.read_bytes())\n"
        "file.unlink()\n"
        "assert not list(file.parent.iterdir())\n"
        "sys.stdout.buffer.write(np.asarray(rows[2:]).tobytes())\n"
    )
    read = subprocess.check_output([sys.executable, "-c", code, str(folder / "pickled")])
    np.testing.assert_array_equal(np.frombuffer(read, np.float32).reshape(4, 2, 3), expected[2:])


def test_a_disk_without_room_and_too_many_rows_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_on_disk, "_MOST", 3 * 24)
    with pytest.raises(AudioError, match="more than 3 windows: take longer steps"):
        grown(4)
    monkeypatch.setattr(rows_on_disk, "_IN_MEMORY", 0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rows_on_disk._TemporaryFile, "write", full)
    with pytest.raises(UnreadableError, match=r"needs 0 MB for its windows in .*No space left"):
        grown(2)
    gc.collect()
    assert not list(folder.iterdir())
