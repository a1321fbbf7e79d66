"""The first hour on a machine with a GPU: every check in a process of its own, one JSON file and one page.

It is a plain script too, which needs nothing installed of this project:
``python benchmarks/experiments/first_hour.py``.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

if not __package__:  # the checkout becomes the package, whatever is installed
    sys.path[:] = [
        path for path in sys.path if Path(path or ".").resolve() != Path(__file__).parent.resolve()
    ]
    package = types.ModuleType("merkit")
    package.__path__ = [str(Path(__file__).resolve().parents[2])]
    sys.modules["merkit"] = package
    if __name__ == "__main__":
        from merkit.benchmarks.experiments import first_hour

        sys.exit(first_hour.main())
    __package__ = "merkit.benchmarks.experiments"  # a process that the script's own processes start

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

from ...engine.artifact import DEFAULT_MODEL, known_models, path_from_model
from ...engine.backbone_names import BACKBONES
from ...engine.errors import MerError, UsageError
from ...engine.files import write_whole
from ...engine.outputs.marks import has_keys, has_mark, refuse_foreign
from ...engine.signals import INTERRUPTED, sigterm_interrupts
from ...engine.spectrogram.presets import PRESETS
from ...engine.text.escape import for_terminal
from ..measure.machine import describe_machine, gpu_by_smi
from ..result_paths import check_result_paths
from .gpu_checks.bench import Bench, CheckFailed, CheckSkipped, require_gpu
from .gpu_checks.page import TITLE, page_from_report
from .gpu_checks.plan import CHECKS, Check

_LAST_S = 15.0  # with less left, none is begun
_MAKE_S = 150.0  # for the networks, all at once
_FORMAT = 1
_SMI = (
    "name", "driver_version", "memory.total", "pcie.link.gen.max", "pcie.link.width.max", "compute_mode",
    "mig.mode.current", "power.limit", "clocks.max.sm", "ecc.errors.uncorrected.volatile.total",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run.

    Args:
        minutes: for everything; checks that are not reached are named.
        only: names of checks; empty is all.
        models: names or .onnx files; empty is the bundled networks and the nine CNNs with random weights.
        songs: a folder of real music.
        report: the JSON file; the page lies beside it, with the suffix .md.
    """

    minutes: float = 10.0
    only: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    songs: Path | None = None
    report: Path = Path("first-hour.json")

    @property
    def page(self) -> Path:
        return self.report.with_suffix(".md")


def run_first_hour(options: Options, say: Callable[[str], None]) -> bool:
    """Runs the checks; both files are written anew after each one.

    Returns:
        Whether none failed.

    Raises:
        UsageError: no such check or model, or a file that cannot be written or is another's.
        DeviceError: no driver or GPU.
    """
    check_result_paths([options.report, options.page], [options.songs])
    refuse_foreign(options.report, has_keys("minutes", "checks"))
    refuse_foreign(options.page, has_mark(TITLE.encode()))
    if not 0 < options.minutes < float("inf"):
        raise UsageError(f"the minutes must be a number above 0, not {options.minutes}")
    unknown = set(options.only) - {check.name for check in CHECKS}
    if unknown:
        known = ", ".join(check.name for check in CHECKS)
        raise UsageError(f"no check {', '.join(sorted(unknown))}; there are: {known}")
    models = {path.stem: path for path in map(path_from_model, options.models)}
    if len(models) < len(options.models):
        raise UsageError("two of the models have one name: copy the .onnx of one to another name")
    if any(path.suffix.lower() != ".onnx" for path in models.values()):
        raise UsageError("the models must be .onnx files, which torch and ONNX Runtime compute")
    require_gpu()
    checks = [check for check in CHECKS if not options.only or check.name in options.only]
    end = time.monotonic() + 60 * options.minutes
    report: dict[str, Any] = {
        "format": _FORMAT,
        "minutes": options.minutes,
        "machine": _machine(),
        "checks": [],
    }
    with TemporaryDirectory(prefix="mer-first-hour-") as name:
        folder = Path(name)
        if not models:
            models = {**_bundled(), **_made_networks(folder, end, say)}
        share = _share([check for check in checks if not check.missing()], end - time.monotonic())
        for check in checks:
            bench = Bench(models, share * check.weight, folder, options.songs)
            result = _result(check, bench, end - time.monotonic())
            report["checks"].append({"name": check.name, "asks": check.asks, **result})
            write_whole(options.report, json.dumps(report, indent=2) + "\n")
            write_whole(options.page, page_from_report(report))
            say(f"{result['status']:8} {check.name:10} {result['seconds']:6.1f} s  {result['summary']}")
    return not any(result["status"] in ("failed", "crashed", "hung") for result in report["checks"])


def _bundled() -> dict[str, Path]:
    """The default network first: it is the one that most checks use."""
    known = known_models()
    return {DEFAULT_MODEL: known[DEFAULT_MODEL], **known}


def _share(checks: Sequence[Check], seconds: float) -> float:
    """Seconds of measuring for a weight of 1: a process takes some for its start."""
    start = 12.0 * len(checks)
    return max(0.2, (seconds - start) / max(1, sum(check.weight for check in checks)))


def _result(check: Check, bench: Bench, left: float) -> dict[str, Any]:
    """Runs a check in its process."""
    from .gpu_checks.faults import own_command

    missing = check.missing()
    if missing or left < _LAST_S:
        status, why = ("skipped", missing) if missing else ("left out", "the time was over")
        return {"status": status, "seconds": 0.0, "summary": why, "figures": {}}
    began = time.monotonic()
    # A session of its own, so that a check ends with all that it started.
    child = subprocess.Popen(
        own_command(bench, check.name),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=min(left, check.start_s + 2 * bench.seconds))
        status, said = "crashed", output.decode(errors="replace").strip().splitlines()
        summary = f"exit code {child.returncode}: {' | '.join(said[-3:])}"
    except subprocess.TimeoutExpired:
        status, summary = "hung", f"not over after {time.monotonic() - began:.0f} s"
    finally:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    figures: Mapping[str, Any] = {}
    answer = bench.folder / f"{check.name}.json"
    if answer.is_file():
        said, what, figures = json.loads(answer.read_text(encoding="utf-8"))
        # Wrong closing shows only after the answer: the process dies, or never ends.
        if child.returncode == 0 or said == "failed":
            status, summary = said, what
        else:
            summary = f"{said} ({what}), then {summary}"
    seconds = time.monotonic() - began
    return {"status": status, "seconds": seconds, "summary": summary, "figures": figures}


def _made_networks(folder: Path, end: float, say: Callable[[str], None]) -> dict[str, Path]:
    """The nine CNNs with random weights, each made in a process of its own, all at once."""
    try:
        for package in ("torchvision", "onnxscript"):
            import_module(package)
    except ImportError as error:
        say(f"only the bundled networks: {error}")
        return {}
    bench = Bench({}, 0, folder)
    from .gpu_checks.faults import own_command

    names = [name for name in BACKBONES if name not in known_models()]
    makers = [
        subprocess.Popen(
            own_command(bench, f"make:{name}"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for name in names
    ]
    deadline = min(time.monotonic() + _MAKE_S, end - _LAST_S)
    for maker in makers:
        with suppress(subprocess.TimeoutExpired):
            maker.wait(max(0.0, deadline - time.monotonic()))
        maker.kill()
        maker.wait()
    made = {name: folder / f"{name}.onnx" for name in names if (folder / f"{name}.onnx").is_file()}
    if len(made) < len(names):
        say(f"not made, or not in time: {', '.join(name for name in names if name not in made)}")
    return made


def _machine() -> dict[str, Any]:
    machine = dataclasses.asdict(describe_machine())
    return {**machine, "gpu": gpu_by_smi(_SMI) or machine.get("gpu")}


def _do(name: str, bench: Bench) -> None:
    """In a check's process: the check, or a part of one."""
    if name.startswith("make:"):
        from ..measure.untrained import write_untrained

        backbone = name.removeprefix("make:")
        write_untrained(backbone, PRESETS["emotion4q"], bench.folder / f"{backbone}.onnx")
        return
    check = next((check for check in CHECKS if check.name == name), None)
    if check is None:
        from .gpu_checks import faults

        getattr(faults, name)(bench)
        return
    figures: dict[str, Any] = {}
    try:
        figures = check.function()(bench)
        answer = "passed", figures.pop("summary")
    except CheckSkipped as why:
        answer = "skipped", str(why)
    except (CheckFailed, MerError) as error:
        answer = "failed", str(error)
    write_whole(bench.folder / f"{name}.json", json.dumps([*answer, figures]))
    print(*answer)
    if answer[0] == "failed":
        # Whatever is left of the GPU's state must not keep the process.
        sys.stdout.flush()
        os._exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The script's command line: ``mer-bench first-hour`` without click."""
    defaults = Options()
    parser = argparse.ArgumentParser("first_hour.py", description=__doc__)
    parser.add_argument("--minutes", type=float, default=defaults.minutes, help="for everything")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only these checks")
    parser.add_argument("--model", "-m", action="append", default=[], help="a name, or an .onnx file")
    parser.add_argument("--songs", type=Path, help="a folder of real music")
    parser.add_argument("--json", type=Path, default=defaults.report, help="the page lies beside it")
    for hidden in ("--do", "--share", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.do:
        models = {path.stem: path for path in map(Path, given.model)}
        _do(given.do, Bench(models, float(given.share), Path(given.folder), given.songs))
        return 0
    options = Options(given.minutes, tuple(given.only), tuple(given.model), given.songs, given.json)
    with sigterm_interrupts() as stop:  # or a check, in its own session, would go on
        try:
            fine = run_first_hour(options, lambda line: print(for_terminal(line), flush=True))
        except MerError as error:
            print(f"Error: {for_terminal(str(error))}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return stop.code or INTERRUPTED
    print(for_terminal(f"written to {options.report} and {options.page}"))
    return 0 if fine else 3
