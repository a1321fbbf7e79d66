"""What a result was measured on: the machine described, and its own limits measured."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.cpu import usable_cores

# What the kernels of these runtimes ask for.
_FLAGS = (
    "avx", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16",
    "amx_int8", "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
_LIBRARIES = (
    "numpy", "onnx", "onnxruntime", "openvino", "torch", "torchvision", "tensorrt", "tensorrt-rtx",
    "nvidia-dali-cuda130", "mlcommons-loadgen", "soundfile", "av",
)  # fmt: skip
_SIZE = 2_048  # of the matrices: 16 MiB each in float32


def describe_machine() -> dict[str, Any]:
    """CPU, flags, cores, clocks, memory, system, library versions, GPU: ready for JSON."""
    info = _lines("/proc/cpuinfo", ":")
    memory = _lines("/proc/meminfo", ":").get("MemTotal", "0 kB").split()[0]
    flags = set(info.get("flags", info.get("Features", "")).split())
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "cores": usable_cores(),
        "mhz": float(info["cpu MHz"]) if "cpu MHz" in info else None,
        "cache_mib": cache_bytes() / 2**20,
        "memory_gib": round(int(memory) / 2**20, 1) or None,
        "os": platform.platform(),
        "python": platform.python_version(),
        "libraries": _versions(),
        "gpu": _gpu(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def cache_bytes() -> int:
    """The last-level cache's size; 0 where the system does not say."""
    sizes = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        with suppress(OSError, ValueError):
            text = path.read_text().strip()
            sizes.append(int(text.rstrip("KM")) * {"K": 2**10, "M": 2**20}.get(text[-1], 1))
    return max(sizes)


def gemm_gflops(seconds: float = 1.0, threads: int = 0) -> float:
    """The machine's measured peak: a big float32 matrix product, NumPy's or ONNX Runtime's if faster."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, _SIZE, _SIZE)).astype(np.float32)
    session = _matmul_session(right, threads)
    calls: Sequence[Callable[[], object]] = (lambda: left @ right, lambda: session.run(None, {"left": left}))
    return max(2 * _SIZE**3 / _best_time(call, seconds / 2) / 1e9 for call in calls)


def gemm_int8_gops(seconds: float = 1.0, threads: int = 0) -> float:
    """The same for int8 into int32, by ONNX Runtime."""
    rng = np.random.default_rng(0)
    left = rng.integers(0, 127, (_SIZE, _SIZE), dtype=np.uint8)
    right = rng.integers(-127, 127, (_SIZE, _SIZE), dtype=np.int8)
    session = _matmul_session(right, threads)
    return 2 * _SIZE**3 / _best_time(lambda: session.run(None, {"left": left}), seconds) / 1e9


def bandwidth_gbs(seconds: float = 1.0, threads: int = 0) -> float:
    """Memory's measured bandwidth: the sum of an array far bigger than the caches, in ``threads`` parts."""
    from concurrent.futures import ThreadPoolExecutor

    count = threads or usable_cores()
    size = max(256 << 20, 8 * cache_bytes())
    parts = np.array_split(np.ones(size // 8), count)
    with ThreadPoolExecutor(count) as pool:  # NumPy lets other threads run while it adds
        return size / _best_time(lambda: list(pool.map(np.sum, parts)), seconds) / 1e9


def limits(threads: int = 0, seconds: float = 1.0) -> dict[str, float]:
    """All three."""
    return {
        "gemm_gflops": gemm_gflops(seconds, threads),
        "gemm_int8_gops": gemm_int8_gops(seconds, threads),
        "bandwidth_gbs": bandwidth_gbs(seconds, threads),
    }


def _best_time(call: Callable[[], object], seconds: float) -> float:
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while (began := time.perf_counter()) < end or best == float("inf"):
        call()
        best = min(best, time.perf_counter() - began)
    return best


def _matmul_session(right: np.ndarray[Any, Any], threads: int) -> Any:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    int8 = right.dtype == np.int8
    kinds = (TensorProto.UINT8, TensorProto.INT32) if int8 else (TensorProto.FLOAT, TensorProto.FLOAT)
    values = [
        helper.make_tensor_value_info(name, kind, right.shape)
        for name, kind in zip(("left", "out"), kinds, strict=True)
    ]
    node = helper.make_node("MatMulInteger" if int8 else "MatMul", ["left", "right"], ["out"])
    graph = helper.make_graph(
        [node], "product", values[:1], values[1:], [numpy_helper.from_array(right, "right")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _lines(path: str, separator: str) -> dict[str, str]:
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in Path(path).read_text(errors="replace").splitlines():
            key, _, value = line.partition(separator)
            found.setdefault(key.strip(), value.strip())
    return found


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _gpu() -> dict[str, str] | None:
    """Name, driver, memory and clocks, as nvidia-smi says; None where there is none."""
    fields = ("name", "driver_version", "memory.total", "clocks.max.sm", "clocks.max.memory", "compute_cap")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode or not done.stdout.strip():
        return None
    values = done.stdout.splitlines()[0].split(",")
    return {field: value.strip() for field, value in zip(fields, values, strict=False)}
