"""What needs TensorRT and DALI: the tests of the GPU, engines of all networks, labelling."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ....engine.artifact import Artifact, open_artifact
from ....engine.runtimes import tensorrt
from .bench import Bench, CheckFailed, CheckSkipped, Reference, driver, require, require_real_gpu
from .sound import songs_of
from .speed import figures_of_runtime

_TOLERANCE = {"fp32": 2e-3, "fp16": 0.05, "int8": 0.3}
_SONGS = 40
_GROWTH = 256 << 20  # bytes of the GPU's memory, from one run to the last
_ROOT = Path(__file__).resolve().parents[3]  # the checkout, where this file is in one


def check_tests(bench: Bench) -> dict[str, Any]:
    """``pytest -m gpu`` of the checkout."""
    require_real_gpu()
    if not (_ROOT / "tests" / "gpu").is_dir():
        raise CheckSkipped("the tests are in a checkout, and this is none")
    done = _run("pytest", "-q", "-n", "0", "-m", "gpu", str(_ROOT / "tests" / "gpu"), cwd=_ROOT)
    lines = done.stdout.strip().splitlines()
    require(done.returncode == 0, " | ".join(lines[-6:]))
    return {"summary": lines[-1]}


def check_engines(bench: Bench) -> dict[str, Any]:
    """Every network in three precisions: built here, its layers as built, against ONNX Runtime, and timed."""
    require_real_gpu()
    rows, wrong = [], []
    share = bench.seconds / len(bench.models) / len(_TOLERANCE) / 2
    for name, path in bench.models.items():
        try:
            reference = Reference(open_artifact(str(path)), 33, 1e-6)
        except CheckFailed:
            reference = None
        for precision, tolerance in _TOLERANCE.items():
            if precision == "int8" and bench.songs is None:
                continue
            try:
                artifact = _engine(bench, path, precision)
            except CheckFailed as problem:
                wrong.append(f"{name} {precision}: {problem}")
                continue
            with tensorrt.open_runtime(artifact, 0) as runtime:
                row = figures_of_runtime(runtime, artifact, reference, share)
            rows.append({"network": name, "precision": precision, "layers": _layers(artifact), **row})
            if row["error"] is not None and not row["error"] <= tolerance:
                wrong.append(f"{name} {precision}: off by {row['error']:.2g} of the largest logit")
    require(not wrong, "; ".join(wrong))
    return {"summary": f"{len(rows)} engines agree with ONNX Runtime", "engines": rows}


def _engine(bench: Bench, model: Path, precision: str) -> Artifact:
    """What mer-export makes of an .onnx file on this GPU; for INT8 it needs songs."""
    folder = bench.folder / "engines" / precision / model.stem  # "net" begins "net2" too
    folder.mkdir(parents=True, exist_ok=True)
    builder = "tensorrt" if find_spec("tensorrt") else "rtx"
    data = ["--calib-data", str(bench.songs)] if precision == "int8" else []
    options = [f"--{precision}", "--builder", builder, "--format", "engine", *data, "-o", f"{folder}/"]
    done = _run("merkit.export.cli", "-m", str(model), *options)
    engines = sorted(folder.glob("*.engine"))
    require(bool(engines), " | ".join((done.stdout + done.stderr).strip().splitlines()[-3:]))
    return open_artifact(str(engines[0]))


def _layers(artifact: Artifact) -> str:
    """How many layers have outputs of each type, by the engine inspector."""
    try:
        layers = json.loads(artifact.facts["precision_built"])["Layers"]
        types = [layer["Outputs"][0]["Format/Datatype"].split()[-1] for layer in layers if layer["Outputs"]]
    except (KeyError, TypeError, ValueError, IndexError):
        return "not told"
    return ", ".join(f"{types.count(name)} {name}" for name in sorted(set(types)))


def check_labelling(bench: Bench) -> dict[str, Any]:
    """mer-label on the GPU, again and again: songs a second, and the GPU's memory after each run."""
    require_real_gpu()
    found = songs_of(bench, _SONGS)
    artifact = _engine(bench, next(iter(bench.models.values())), "fp16")
    rows = []
    end = time.monotonic() + bench.seconds
    while len(rows) < 2 or time.monotonic() < end:
        began = time.monotonic()
        options = ["-m", str(artifact.path), "--device", "cuda", "-o", f"{bench.folder}/{len(rows)}.jsonl"]
        done = _run("merkit.engine.cli", *found, *options)
        require(done.returncode == 0, " | ".join(done.stderr.strip().splitlines()[-3:]))
        with driver() as calls:
            free = calls.free_bytes()
        rows.append({"songs_per_s": len(found) / (time.monotonic() - began), "free_gpu_bytes": free})
    lost = rows[0]["free_gpu_bytes"] - rows[-1]["free_gpu_bytes"]
    require(lost <= _GROWTH, f"{lost:,} bytes of the GPU's memory are gone after {len(rows)} runs")
    best = max(row["songs_per_s"] for row in rows)
    return {"summary": f"{best:,.1f} songs/s at best in {len(rows)} runs, start included", "runs": rows}


def _run(module: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, cwd=cwd)
