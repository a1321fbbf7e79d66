"""What tests ask about processes that they started."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen


def is_running(process: int) -> bool:
    """Not where nobody has taken the exit code of a process that has ended, as in many containers."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def rest_of_output(process: Popen[str]) -> tuple[str, str]:
    """The rest of stdout and stderr, after ``readline``; the process has ended then.

    ``communicate`` loses the lines that ``readline`` has read ahead.
    """
    assert process.stdout
    assert process.stderr
    with ThreadPoolExecutor(2) as pool:
        out, errors = pool.map(lambda file: file.read(), (process.stdout, process.stderr))
    process.wait()
    return out, errors
