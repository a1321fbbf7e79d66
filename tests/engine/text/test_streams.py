"""Standard streams that cannot encode, are full, are closed, or lose their reader."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "2曲 💔\u202e.ogg"


def run(code: str, shell: str = "", reader: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in a shell, with redirections; what it prints is read as UTF-8."""
    begin = "from merkit.engine.text.streams import *\nmake_streams_safe()\n"
    command = ["sh", "-c", f'("$0" -c "$1" {shell}) {reader}', sys.executable, begin + code]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "2曲 💔\\u202e.ogg"),
        ("cp1252", "2\\u66f2 \\U0001f494\\u202e.ogg"),
        ("ascii", "2\\u66f2 \\U0001f494\\u202e.ogg"),
    ],
)
def test_a_stream_that_cannot_encode_shows_escapes(encoding: str, shown: str) -> None:
    code = f"print_err({NAME!a}); print_out({NAME.replace(chr(0x202E), '')!a})"
    done = run(code, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"{shown}\n"
    assert done.stdout == f"{shown}\n".replace("\\u202e", "")


def test_the_reader_goes() -> None:
    code = "import sys\ntry:\n  while True: print_out('line')\nexcept ReaderGoneError: sys.exit(141)"
    done = run(code, "; echo $? >&2", reader="| head -1")
    assert (done.stdout, done.stderr) == ("line\n", "141\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device is Linux's")
def test_a_full_disk() -> None:
    code = "try: print_out('x')\nexcept MerError as error: print_err(str(error))"
    done = run(f"{code}\nprint_out('vanishes')", ">/dev/full")
    assert (done.returncode, done.stderr) == (
        0,
        "standard output cannot be written: No space left on device\n",
    )
    assert run("print_err('x'); print_err('y'); print_out('z')", "2>/dev/full").stdout == "z\n"


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-", "<&-"])
def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path, closed: str) -> None:
    code = (
        "import os, subprocess\n"
        f"with open({str(tmp_path / 'rows')!r}, 'wb') as file:\n"
        "    assert file.fileno() > 2\n"
        "    file.write(b'rows'); file.flush()\n"
        "    print_out('out'); print_err('err')\n"
        "    os.write(1, b'a library prints\\n'); os.write(2, b'so does another\\n')\n"
        "    subprocess.run(['sh', '-c', 'echo child; echo child >&2'])\n"
    )
    done = run(code, closed)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rows").read_bytes() == b"rows"
    assert ("out\n" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    assert ("err\n" in done.stderr) == ("2>&-" not in closed)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_was_printed_before_comes_first(unbuffered: str) -> None:
    code = (
        "import sys\n"
        "from merkit.engine.text.streams import *\n"
        "sys.stdout.write('1 '); sys.stderr.write('2 ')\n"
        "make_streams_safe()\n"
        "print_out('3'); print_err('4')\n"
    )
    shown, mine = pty.openpty()
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    subprocess.run([sys.executable, "-c", code], stdout=mine, stderr=mine, env=environment, check=True)
    text = os.read(shown, 1_000)
    os.close(mine)
    os.close(shown)
    assert text.split() == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("at_first", [True, False])
def test_a_terminal_that_is_closed(tmp_path: Path, at_first: bool, unbuffered: str) -> None:
    """Before the program begins to print, or meanwhile. In a background job no signal comes."""
    code = (
        "import sys, click\n"
        "from merkit.engine.text.streams import *\n"
        "from rich.console import Console\n"
        f"if {at_first}: sys.stdin.read()\n"
        "make_streams_safe()\n"
        "print('ready')\n"
        "sys.stdin.read()\n"
        "print('x'); click.echo('x'); Console().print('x'); Console(stderr=True).print('x'); print_err('x')\n"
        "try: print_out('x')\n"
        f"except ReaderGoneError: open({str(tmp_path / 'told')!r}, 'w')\n"
    )
    shown, mine = pty.openpty()
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=mine, stderr=mine, env=environment
    )
    os.close(mine)
    text = b""
    while not at_first and b"ready" not in text:
        text += os.read(shown, 1_000)
    os.close(shown)
    process.communicate(b"", timeout=60)
    assert (process.returncode, (tmp_path / "told").exists()) == (0, True)
