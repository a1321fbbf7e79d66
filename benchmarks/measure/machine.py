"""What a result was measured on: the machine described, and its own limits measured."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.arrays import Float32
from ...engine.cpu import cpu_features, usable_cores
from ..row import Machine

_LIBRARIES = (
    "numpy", "onnx", "onnxruntime", "openvino", "torch", "torchvision", "tensorrt", "tensorrt-rtx",
    "nvidia-dali-cuda130", "mlcommons-loadgen", "soundfile", "av",
)  # fmt: skip
_GPU = ("name", "driver_version", "memory.total", "clocks.max.sm", "clocks.max.memory", "compute_cap")
_SIZE = 2_048  # of the matrices: 16 MiB each in float32
# The array that is read from memory has at least so many bytes, and so many times the last-level cache's.
_LEAST_BYTES, _CACHES = 256 << 20, 8


def describe_machine() -> Machine:
    """CPU, memory, system, library versions and GPU of this machine; its limits are not measured here."""
    info = _key_values("/proc/cpuinfo")
    memory = _key_values("/proc/meminfo").get("MemTotal", "0 kB").split()[0]
    return Machine(
        cpu=info.get("model name") or platform.processor() or platform.machine(),
        flags=list(cpu_features()),
        cores=usable_cores(),
        mhz=float(info["cpu MHz"]) if "cpu MHz" in info else None,
        cache_mib=cache_bytes() / 2**20,
        memory_gib=round(int(memory) / 2**20, 1) or None,
        os=platform.platform(),
        python=platform.python_version(),
        libraries=_versions(),
        gpu=gpu_by_smi(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def cache_bytes() -> int:
    """The size of the last-level cache; 0 where the system does not say."""
    sizes = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        with suppress(OSError, ValueError):
            text = path.read_text().strip()
            sizes.append(int(text.rstrip("KM")) * {"K": 2**10, "M": 2**20}.get(text[-1], 1))
    return max(sizes)


def raise_limits(machine: Machine, threads: int = 0, seconds: float = 1.0) -> None:
    """Measures the machine's limits, and keeps the highest values that were ever seen.

    Other work on the machine makes a measured limit too low and never too high, so the maximum over
    several measurements is closest to the truth.

    Args:
        threads: 0 is one a core.
        seconds: for each limit, about.
    """
    if bf16 := gemm_bf16_gflops(seconds, threads):
        machine.gemm_bf16_gflops = max(machine.gemm_bf16_gflops or 0, bf16)
    machine.gemm_gflops = max(machine.gemm_gflops or 0, gemm_gflops(seconds, threads))
    machine.gemm_int8_gops = max(machine.gemm_int8_gops or 0, gemm_int8_gops(seconds, threads))
    machine.bandwidth_gbs = max(machine.bandwidth_gbs or 0, bandwidth_gbs(seconds, threads))


def gemm_gflops(seconds: float = 1.0, threads: int = 0) -> float:
    """10^9 FLOP/s of a large float32 matrix product, by ONNX Runtime: NumPy's takes all cores."""
    left, right = _matrices()
    session = _matmul_session(right, threads)
    return 2 * _SIZE**3 / _best_time(lambda: session.run(None, {"left": left}), seconds) / 1e9


def gemm_bf16_gflops(seconds: float = 1.0, threads: int = 0) -> float | None:
    """10^9 FLOP/s of a large bf16 matrix product by OpenVINO; None where it or the CPU has none."""
    if why_no_bf16():
        return None
    import openvino

    left, right = _matrices()
    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    model = core.read_model(_matmul_onnx(right))
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return 2 * _SIZE**3 / _best_time(lambda: request.infer({"left": left}), seconds) / 1e9


def why_no_bf16() -> str | None:
    """Why OpenVINO computes no bf16 here; None where it does."""
    if find_spec("openvino") is None:
        return "openvino is not installed"
    from ...engine.runtimes.openvino import has_bf16

    return None if has_bf16() else "this CPU does not compute bf16"


def _matrices() -> tuple[Float32, Float32]:
    left, right = np.random.default_rng(0).standard_normal((2, _SIZE, _SIZE)).astype(np.float32)
    return left, right


def gemm_int8_gops(seconds: float = 1.0, threads: int = 0) -> float:
    """10^9 operations/s of a large int8 matrix product with int32 sums, by ONNX Runtime."""
    rng = np.random.default_rng(0)
    left = rng.integers(0, 127, (_SIZE, _SIZE), dtype=np.uint8)
    right = rng.integers(-127, 127, (_SIZE, _SIZE), dtype=np.int8)
    session = _matmul_session(right, threads)
    return 2 * _SIZE**3 / _best_time(lambda: session.run(None, {"left": left}), seconds) / 1e9


def bandwidth_gbs(seconds: float = 1.0, threads: int = 0) -> float:
    """10^9 bytes/s read from memory: the sum of an array far larger than the caches, in ``threads`` parts."""
    from concurrent.futures import ThreadPoolExecutor

    count = threads or usable_cores()
    size = max(_LEAST_BYTES, _CACHES * cache_bytes())
    parts = np.array_split(np.ones(size // 8), count)
    with ThreadPoolExecutor(count) as pool:  # NumPy releases the GIL while it sums
        return size / _best_time(lambda: list(pool.map(np.sum, parts)), seconds) / 1e9


def _best_time(call: Callable[[], object], seconds: float) -> float:
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while (began := time.perf_counter()) < end or best == float("inf"):
        call()
        best = min(best, time.perf_counter() - began)
    return best


def _matmul_session(right: np.ndarray[Any, Any], threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    return onnxruntime.InferenceSession(_matmul_onnx(right), options, providers=["CPUExecutionProvider"])


def _matmul_onnx(right: np.ndarray[Any, Any]) -> bytes:
    """A graph that multiplies its input "left" by a constant."""
    from onnx import TensorProto, helper, numpy_helper

    int8 = right.dtype == np.int8
    types = (TensorProto.UINT8, TensorProto.INT32) if int8 else (TensorProto.FLOAT, TensorProto.FLOAT)
    values = [
        helper.make_tensor_value_info(name, element_type, right.shape)
        for name, element_type in zip(("left", "out"), types, strict=True)
    ]
    node = helper.make_node("MatMulInteger" if int8 else "MatMul", ["left", "right"], ["out"])
    graph = helper.make_graph(
        [node], "product", values[:1], values[1:], [numpy_helper.from_array(right, "right")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def _key_values(path: str) -> dict[str, str]:
    """A file of "key: value" lines; the first value of each key, and nothing where there is no such file."""
    values: dict[str, str] = {}
    with suppress(OSError):
        for line in Path(path).read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            values.setdefault(key.strip(), value.strip())
    return values


def _versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def gpu_by_smi(fields: Sequence[str] = _GPU) -> dict[str, str] | None:
    """What nvidia-smi says of the first GPU; None where there is none."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode or not done.stdout.strip():
        return None
    values = done.stdout.splitlines()[0].split(",")
    return {field: value.strip() for field, value in zip(fields, values, strict=False)}
