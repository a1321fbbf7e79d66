"""Programs that are no file, and those that are, start child processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from audio_files import noise, write_audio
from child_processes import is_running
from merkit.engine.errors import MerError
from merkit.engine.labelling import pool_child
from merkit.engine.labelling.child_process import runs_main_again, start_process

GUARDED = """
from merkit.engine.labelling.worker_pool import WorkerPool

if __name__ == "__main__":
    with WorkerPool(max, 5, 1) as pool:
        print([result for _, result in pool.map([3, 7])])
    print("__file__" in globals())
"""
UNGUARDED = GUARDED.replace('if __name__ == "__main__":', "if True:")
ADVICE = 'a script that labels needs: if __name__ == "__main__":'


def run(arguments: list[str], program: str = "", folder: Path | None = None) -> tuple[str, str]:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, input=program, text=True, capture_output=True, timeout=60, cwd=folder)
    return done.stdout, done.stderr


@pytest.mark.parametrize("program", [GUARDED, UNGUARDED], ids=["guarded", "unguarded"])
def test_a_script_on_stdin(program: str) -> None:
    out, errors = run(["-"], program)
    assert (out, errors) == ("[5, 7]\nTrue\n", "")  # __file__, "<stdin>", is back


@pytest.mark.parametrize("program", [GUARDED, UNGUARDED], ids=["guarded", "unguarded"])
def test_a_program_without_a_file(program: str) -> None:
    """As in a notebook, whose kernel has no ``__main__.__file__`` either."""
    assert run(["-c", program]) == ("[5, 7]\nFalse\n", "")


def test_a_script_from_a_pipe() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} <(cat)"],
        input=UNGUARDED,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == "[5, 7]\nTrue\n", done.stderr


def test_a_script_that_deletes_itself(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text("import os\nos.remove(__file__)\n" + UNGUARDED)
    assert run([str(path)]) == ("[5, 7]\nTrue\n", "")


def test_a_script_in_a_file_needs_a_guard_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "guarded.py").write_text(GUARDED)
    (tmp_path / "bare.py").write_text(UNGUARDED)
    assert run(["guarded.py"], folder=tmp_path) == ("[5, 7]\nTrue\n", "")
    for arguments in (["bare.py"], ["-m", "bare"]):
        out, errors = run(arguments, folder=tmp_path)
        assert out == ""
        assert errors.strip().endswith(f"a worker process cannot start (exit code 1); {ADVICE}")


def test_where_the_guard_is_not_at_fault_nobody_advises_it() -> None:
    lost = "def double(item, options): return item\n" + GUARDED.replace("(max", "(double")
    out, errors = run(["-"], lost)
    assert out == ""
    line = errors.strip().splitlines()[-1]  # Python 3.12 has another name for the module
    reason = "(exit code 1: AttributeError: Can't get attribute 'double' on <module '__main__' "
    assert line.startswith(f"merkit.engine.errors.MerError: a worker process cannot start {reason}")


IN_A_FORK = """
import os, sys
from merkit.engine.labelling.worker_pool import WorkerPool

if __name__ == "__main__":
    with WorkerPool(max, 5, 1) as pool:
        before = list(pool.map([3, 7]))
        child = os.fork()
        if not child:
            with WorkerPool(max, 5, 1) as own:
                print([result for _, result in own.map([3, 7])], flush=True)
            sys.exit(0)  # and leaves the block of the first pool
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(list(pool.map([3, 7])) == before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_forked_process_has_children_of_its_own() -> None:
    quietly = ["-W", "ignore:This process:DeprecationWarning"]  # of 3.12: of a fork beside threads
    assert run([*quietly, "-c", IN_A_FORK]) == ("[5, 7]\n0\nTrue\n", "")


def test_the_end_is_quiet_where_somebody_has_emptied_the_folder_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory() as place:  # a path that is short enough for sockets
        monkeypatch.setenv("TMPDIR", place)
        assert run(["-c", GUARDED]) == ("[5, 7]\nFalse\n", "")
        assert os.listdir(place) == []
        empty = f"import shutil\nshutil.rmtree({place!r})\nprint('emptied')"
        assert run(["-c", GUARDED + empty]) == ("[5, 7]\nFalse\nemptied\n", "")
        os.mkdir(place)


def test_a_working_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os\nos.chdir({str(gone)!r})\nos.rmdir({str(gone)!r})\n{GUARDED}"
    out, errors = run(["-c", code])
    assert out == ""
    assert "MerError: a worker process cannot start: is the working folder gone? (No such" in errors


CLOSED = """
import ctypes, os, sys
os.chmod(".", 0)
for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: without them root, too, may not enter it
    ctypes.CDLL(None).prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP, for what is executed from here on
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
@pytest.mark.parametrize("as_copy", [False, True])
def test_a_working_folder_that_is_closed_to_the_user(tmp_path: Path, as_copy: bool) -> None:
    """Where ``sudo -u`` leaves a program. ``mer-label`` starts its children as copies."""
    song = write_audio(tmp_path / "song.wav", noise(12, 22_050), 22_050)
    closed = tmp_path / "closed"
    closed.mkdir()
    write_audio(closed / "inside.wav", noise(12, 22_050), 22_050)
    label = "from merkit import Labeler\nfor song in Labeler().label_files(sys.argv[1:]): print(song.error)"
    start = ["-m", "merkit.engine.cli"] if as_copy else ["-c", "import sys\n" + label]
    try:
        out, errors = run(["-c", CLOSED, *start, str(song), "inside.wav"], folder=closed)
    finally:
        closed.chmod(0o700)
    said = f"{song}\tnot_music\ninside.wav\terror\tcannot be opened: Permission denied\n"
    assert out == (said if as_copy else "None\ncannot be opened: Permission denied\n"), errors


AFTER_A_CLEANING = """
import os, shutil, sys
from pathlib import Path
from merkit.engine.labelling.worker_pool import WorkerPool
from merkit.engine.temporary import process_folder

if __name__ == "__main__":
    for cleaned in ("folder", "socket", None):
        with WorkerPool(max, 5, 1) as pool:
            print([result for _, result in pool.map([3, 7])])
        if cleaned == "folder":
            shutil.rmtree(process_folder())
        elif cleaned:
            next(process_folder().glob("listener-*")).unlink()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork server")
def test_workers_start_again_after_somebody_has_cleaned_the_folder_for_temporary_files() -> None:
    assert run(["-c", AFTER_A_CLEANING]) == ("[5, 7]\n" * 3, "")


IN_A_CLEANED_FOLDER = """
import shutil
from merkit.engine.labelling.worker_pool import WorkerPool
from merkit.engine.temporary import process_folder

if __name__ == "__main__":
    with WorkerPool(eval, {}, 1) as pool:
        for _ in range(2):
            print(list(pool.map(["__import__('tempfile').TemporaryFile() and 1"])))
            shutil.rmtree(process_folder())
"""


def test_workers_that_had_no_work_meanwhile_have_a_folder_again() -> None:
    assert run(["-c", IN_A_CLEANED_FOLDER]) == ("[(0, 1)]\n" * 2, "")


def test_what_is_missing_is_named_where_it_is_not_the_working_folder(tmp_path: Path) -> None:
    """As Python itself, of which another version was installed meanwhile."""
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "gone"))
    with pytest.raises(MerError) as raised, pool_child.refusals():
        raise gone
    assert (
        str(raised.value)
        == f"a worker process cannot start: {tmp_path}/gone is gone (No such file or directory)"
    )


@pytest.mark.parametrize("files", range(8, 20, 3))
def test_too_few_files_are_one_line(files: int) -> None:
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))\n"
    code = (
        limit
        + "from merkit.engine.cli.command import report_errors\nimport merkit.engine.labelling.worker_pool\n"
    )
    body = "".join(f"    {line}\n" for line in GUARDED.strip().splitlines())
    out, errors = run(["-c", f"{code}def label():\n{body}    return 0\nreport_errors(label)()"])
    assert (out, errors.count("\n")) in (("[5, 7]\nFalse\n", 0), ("", 1))
    assert "Error: " in errors or not errors


UNKNOWN_METHOD = """
import multiprocessing.context as context
class Own(context.SpawnContext):
    _name = "own"
context._concrete_contexts["own"] = Own()
context._default_context.set_start_method("own", force=True)
"""


def test_in_a_worker_of_joblib_whose_start_method_no_child_knows() -> None:
    after = "print(__import__('multiprocessing').get_start_method())"
    assert run(["-c", UNKNOWN_METHOD + GUARDED + after]) == ("[5, 7]\nFalse\nown\n", "")


class Process:
    """Looks at the main module when it is started."""

    def start(self) -> None:
        self.had_file = "__file__" in vars(sys.modules["__main__"])


def test_the_file_is_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.setattr(main, "__file__", "<stdin>", raising=False)
    assert not runs_main_again()
    process = Process()
    start_process(process)
    assert not process.had_file
    assert main.__file__ == "<stdin>"
    with pytest.raises(AttributeError):
        start_process(None)  # has no start
    assert main.__file__ == "<stdin>"
    monkeypatch.setattr(main, "__file__", __file__)
    assert runs_main_again()
    start_process(process)
    assert process.had_file


COPIED = """
import os, threading, time, wave
from merkit.engine.labelling.worker_pool import WorkerPool, start_ahead
if __name__ == "__main__":
    if {thread}:
        threading.Thread(target=time.sleep, args=(3,)).start()
    start_ahead(as_copy=True)
    with WorkerPool(eval, {{}}, 1) as pool:
        items = ["'wave' in __import__('sys').modules", "__import__('os').getppid()"]
        for _, result in pool.map(items):
            print(result, flush=True)
        {then}
"""


@pytest.mark.parametrize("thread", [False, True])
def test_children_of_a_copy_have_what_it_imported(tmp_path: Path, thread: bool) -> None:
    """Where other threads run there is no copy: one of them may hold a lock."""
    (tmp_path / "command.py").write_text(COPIED.format(thread=thread, then="pass"))
    out, errors = run(["command.py"], folder=tmp_path)
    assert errors == ""
    # Without a copy a child runs the script again, as the main module, and imports what that does.
    assert out.splitlines()[0] == "True"
    out, _ = run(["-c", COPIED.format(thread=thread, then="pass")])
    assert out.splitlines()[0] == str(not thread)


def test_a_copy_ends_with_the_process_that_was_killed() -> None:
    command = [sys.executable, "-c", COPIED.format(thread=False, then="time.sleep(60)")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    server = int([process.stdout.readline() for _ in range(2)][1])
    assert is_running(server)
    process.kill()
    process.wait()
    process.stdout.read()  # whoever has it open, so that it does not end, is not gone
    until = time.monotonic() + 20
    while is_running(server) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(server)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies are made by fork")
def test_a_copy_that_outlives_the_process_does_not_keep_its_reader() -> None:
    """cron, ssh and ``| tee`` wait for the end of stdout; a child may wait for a disk that is gone."""
    then = "import signal; os.kill(result, signal.SIGSTOP); os._exit(0)"
    program = COPIED.format(thread=False, then=then)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    server = int([process.stdout.readline() for _ in range(2)][1])
    try:
        assert process.communicate(timeout=20)[0] == ""
        assert is_running(server)
    finally:
        os.kill(server, signal.SIGKILL)


def test_where_multiprocessing_has_other_names_a_new_python_starts() -> None:
    hidden = (
        "import multiprocessing.resource_tracker as r\nkept = r._resource_tracker\ndel r._resource_tracker\n"
    )
    source = hidden + COPIED.format(thread=False, then="pass").replace(
        "    start_ahead(as_copy=True)\n",
        "    start_ahead(as_copy=True)\n    r._resource_tracker = kept\n",
    )
    out, errors = run(["-c", source])
    assert errors == ""
    assert out.splitlines()[0] == "False"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies are made by fork")
def test_a_copy_runs_what_a_new_python_would_run_and_no_argument_of_the_program() -> None:
    """Newer versions of Python put the program's arguments, which may be names of songs, behind that."""
    program = """
import os
from multiprocessing import util
from merkit.engine.labelling.child_process import _copies_as_processes
out, into = os.pipe()
with _copies_as_processes():
    code = f"import os; os.write({into}, b'told')"
    command = [b"python", b"-I", "-c", code, "mer-label", "os.abort()#.mp3"]
    pid = util.spawnv_passfds(b"python", command, [into])
print(os.waitpid(pid, 0)[1], os.read(out, 9))
"""
    assert run(["-c", program]) == ("0 b'told'\n", "")


WITHOUT_A_STREAM = """
import os, sys
from pathlib import Path
from merkit.engine.labelling.child_process import stderr_in

sys.stderr = None  # as programs without a console have it
with stderr_in(Path("led")):
    os.write(2, b"within")
os.write(2, b"after")
"""


def test_stderr_comes_back_where_the_program_has_no_stream(tmp_path: Path) -> None:
    _, errors = run(["-"], WITHOUT_A_STREAM, tmp_path)
    assert (errors, (tmp_path / "led").read_text()) == ("after", "within")
