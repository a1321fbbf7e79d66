"""The workers' fork server is not the one that a program's own processes come from."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from merkit.engine.cpu import BLAS_THREADS

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="no fork server"
)

PROGRAM = f"""
import multiprocessing, os, sys
from merkit.engine.labelling.worker_pool import WorkerPool

def tell(pipe):
    print("on stderr", file=sys.stderr, flush=True)
    folder = os.path.basename(multiprocessing.util.get_temp_dir())
    modules = {{"json.tool", "merkit.engine.labelling.file_windows"}} & set(sys.modules)
    pipe.send((os.environ.get("{BLAS_THREADS}"), folder[:5], modules))

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["json.tool"])
    if "before" in sys.argv:
        process = context.Process(target=int)
        process.start()
        process.join()
        multiprocessing.set_start_method(None, force=True)  # as before it
    with WorkerPool(max, 5, 1) as pool:
        assert list(pool.map([3, 7])) == [(0, 5), (1, 7)]
        print(multiprocessing.get_start_method(allow_none=True))
        ours, theirs = context.Pipe()
        process = context.Process(target=tell, args=(theirs,))
        process.start()
        print(ours.recv())
        process.join()
        assert list(pool.map([3, 7])) == [(0, 5), (1, 7)]
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_programs_own_processes_are_as_without_workers(tmp_path: Path, when: str) -> None:
    """Whether its fork server is started before the workers' or after it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if name != BLAS_THREADS}
    command = [sys.executable, "program.py", when]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("None\n(None, 'pymp-', {'json.tool'})\n", "on stderr\n")
