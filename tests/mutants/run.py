"""Whether the tests of the GPU path notice each fault of faults.toml: ``python tests/mutants/run.py``.

Every fault is one that none would see before the first GPU: each test named with it passes without and must
fail with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "helpers")]

from one_mutant import faults  # noqa: E402
from stub_cuda.stub import PACKAGES, build, why_not_here  # noqa: E402


def main() -> int:
    """Prints a line a fault; 1 if one is not noticed."""
    package = next((name for name in reversed(PACKAGES) if not why_not_here(name)), None)
    if package is None:
        print(f"these tests cannot run here: {why_not_here(PACKAGES[-1])}")
        return 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        every = sorted({test for fault in faults() for test in fault["tests"]})
        sound = _run(every, None, package, folder)
        if sound.returncode:
            print(sound.stdout[-6_000:], "the tests fail without a fault", sep="\n")
            return 1
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            runs = [
                pool.submit(_run, fault["tests"], number, package, folder)
                for number, fault in enumerate(faults())
            ]
        missed = 0
        for fault, run in zip(faults(), runs, strict=True):
            done = run.result()
            noticed = done.returncode == 1 and " failed" in done.stdout
            missed += not noticed
            print(f"{'noticed' if noticed else 'MISSED '}  {fault['name']}", flush=True)
            if done.returncode not in (0, 1):
                print(done.stdout[-2_000:], done.stderr[-2_000:], sep="\n")
    print(f"{len(runs) - missed} of {len(runs)} faults noticed in {time.monotonic() - began:.0f} s")
    return int(missed > 0)


def _run(tests: list[str], mutant: int | None, package: str, folder: str) -> subprocess.CompletedProcess[str]:
    """Some tests, on the stub driver, with a fault or without."""
    environment = {**os.environ, "STUB_CUDA": package}
    environment["LD_LIBRARY_PATH"] = os.pathsep.join([folder, os.environ.get("LD_LIBRARY_PATH", "")])
    paths = [str(HERE), str(ROOT / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    if mutant is not None:
        environment["MER_MUTANT"] = str(mutant)
    options = ["-q", "-x", "-n", "0", "-p", "one_mutant", "-p", "no:cacheprovider", "-p", "no:randomly"]
    options += ["-o", "python_files=on_*.py test_*.py"]
    return subprocess.run(
        [sys.executable, "-B", "-m", "pytest", *options, *tests],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )


if __name__ == "__main__":
    sys.exit(main())
