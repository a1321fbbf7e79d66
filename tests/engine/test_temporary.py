"""Temporary files go with their process, and those of killed processes at the next start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from merkit.engine import files
from merkit.engine.temporary import chosen_folder, new_folder, socket_folder, temporary_files_in

START = "from merkit.engine.temporary import process_folder, socket_folder\n"


def python(code: str, place: Path | str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(place)}
    command = [sys.executable, "-c", START + code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **options)


def test_a_process_has_one_folder_which_goes_with_it(tmp_path: Path) -> None:
    done = python("(process_folder() / 'a').touch()\nprint(process_folder() == process_folder())", tmp_path)
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_forked_process_leaves_the_folder_alone(tmp_path: Path) -> None:
    fork = (
        "process_folder()\nimport os, sys\nchild = os.fork()\nif not child: sys.exit()\nos.waitpid(child, 0)"
    )
    assert python(fork + "\nprint(process_folder().is_dir())", tmp_path).stdout == "True\n"


def test_a_folder_that_somebody_deleted_begins_anew(tmp_path: Path) -> None:
    """As who cleans /tmp does, below a process that lives for weeks."""
    code = (
        "import shutil\nfirst = process_folder()\nshutil.rmtree(first)\nsecond = process_folder()\n"
        "print(second.is_dir(), second == process_folder() != first, second.parent == first.parent)"
    )
    done = python(code, tmp_path)
    assert (done.stdout, done.stderr) == ("True True True\n", "")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path: Path) -> None:
    killed = "import os\n(process_folder() / 'a').touch()\nos.kill(os.getpid(), 9)"
    assert python(killed, tmp_path).returncode == -9
    (left,) = tmp_path.iterdir()
    (tmp_path / "mer-run-of-somebody").mkdir()  # nothing in it says that it is ours
    assert python("print(process_folder())", tmp_path).returncode == 0
    assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mer-run-of-somebody"]


def test_what_a_living_process_has_stays(tmp_path: Path) -> None:
    folder, remove = new_folder(tmp_path, "mer-run-")
    assert python("print(process_folder())", tmp_path).returncode == 0
    assert folder.is_dir()
    remove()
    assert list(tmp_path.iterdir()) == []


def test_a_long_path_gets_a_second_folder_for_sockets(tmp_path: Path) -> None:
    place = tmp_path / ("long" * 35)
    place.mkdir()
    lines = python("print(process_folder())\nprint(socket_folder(40))", place).stdout.splitlines()
    assert lines[0].startswith(str(place))
    assert len(lines[1]) + 40 <= 107
    assert not Path(lines[1]).exists()


@pytest.mark.parametrize("place", ["missing", "a file"])
def test_where_nothing_can_be_written_it_says_so(tmp_path: Path, place: str) -> None:
    """Python falls back to other folders; a process whose folder goes meanwhile has none."""
    (tmp_path / "a file").touch()
    code = f"import tempfile\ntempfile.tempdir = {str(tmp_path / place)!r}\nprocess_folder()"
    last = python(code, tmp_path).stderr.splitlines()[-1]
    assert last.startswith("merkit.engine.errors.MerError: temporary files cannot be written (No")
    assert last.endswith(f": {tmp_path / place}): set TMPDIR to a folder with room for them")


def test_the_folder_of_temporary_files_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, str(tmp_path)):
        if before is None:
            monkeypatch.delenv("TMPDIR", raising=False)
        else:
            monkeypatch.setenv("TMPDIR", before)
        chosen = tempfile.tempdir
        with temporary_files_in(tmp_path / "own"):
            assert tempfile.gettempdir() == os.environ["TMPDIR"] == chosen_folder() == str(tmp_path / "own")
        assert (os.environ.get("TMPDIR"), tempfile.tempdir) == (before, chosen)


def test_messages_name_the_folder_that_the_user_chose(tmp_path: Path) -> None:
    code = (
        f"import tempfile\ntempfile.tempdir = {str(tmp_path)!r}\n"
        "from merkit.engine.temporary import chosen_folder, temporary_files_in\n"
        "for folder in (process_folder(), process_folder() / 'worker-1'):\n"
        "    with temporary_files_in(folder):\n        print(chosen_folder())"
    )
    assert python(code, tmp_path).stdout.splitlines()[-2:] == [str(tmp_path)] * 2


def test_sockets_fit_where_the_path_is_short() -> None:
    assert len(str(socket_folder(45))) + 45 <= 107


def test_part_files_of_killed_writers_go_when_the_file_is_written_again(tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    code = (
        "import os\nfrom pathlib import Path\nfrom merkit.engine.files import whole_file\n"
        f"with whole_file(Path({str(target)!r})) as file:\n    file.write(b'half')\n    file.flush()\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert python(code, tmp_path).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.read_bytes() == b"half"
    with files.whole_file(target) as one:
        assert not (
            left.exists() and left.read_bytes()
        )  # the killed writer's is gone; the name may be reused
        with files.whole_file(target) as other:  # and a living writer's stays
            other.write(b"other")
        one.write(b"one")
    assert target.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [target]


def test_a_name_that_is_another_files_by_now_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that ends while somebody looks at its temporary file, and the next one begins."""
    from merkit.engine import temporary

    part = tmp_path / ".a.0.part"
    part.write_bytes(b"ended")
    lock = temporary.fcntl.flock  # pyright: ignore[reportOptionalMemberAccess]

    def slow(handle: int, how: int) -> None:
        lock(handle, how)
        part.rename(tmp_path / "a")
        part.write_bytes(b"next")

    monkeypatch.setattr(temporary.fcntl, "flock", slow)
    temporary.remove_file_if_abandoned(part)
    assert part.read_bytes() == b"next"
    assert (tmp_path / "a").read_bytes() == b"ended"


def test_a_staging_folder_of_a_killed_export_goes_with_the_next(tmp_path: Path) -> None:
    code = (
        "import os\nfrom pathlib import Path\nfrom merkit.engine.files import staging\n"
        f"with staging(Path({str(tmp_path)!r})) as folder:\n    (folder / 'a').touch()\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert python(code, tmp_path).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    with files.staging(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []
