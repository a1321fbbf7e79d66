"""Results of mer-bench as their file holds them, for tests that change them before they are read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from merkit.benchmarks.results_file import results_from_json
from merkit.benchmarks.row import Results


def row_values(
    model: str, runtime: str = "onnxruntime", speed: float = 90.0, macro_f1: float | None = 0.8, **more: Any
) -> dict[str, Any]:
    """A measured row; ``more`` replaces or adds keys."""
    rng = np.random.default_rng(round(speed))
    times = 1e3 / speed * (1 + 0.1 * rng.random(200))
    confusion = [[8, 2], [1, 9]] if macro_f1 else None
    return {
        "model": model, "backbone": model, "source": "bundled", "file": f"{model}.onnx", "runtime": runtime,
        "precision": "fp32", "status": "ok", "reason": None, "params": 1.5e6, "macs": 6e7, "bytes": 6e6,
        "throughput": speed, "best_batch": 8, "throughput_samples": [speed], "p50": float(np.median(times)),
        "p90": float(np.quantile(times, 0.9)), "p99": None, "latency_ms": times.tolist(),
        "songs_per_s": 20.0, "peak_mib": 200.0, "accuracy": macro_f1, "macro_f1": macro_f1,
        "accuracy_interval": None, "macro_f1_interval": [macro_f1 - 0.1, 0.9] if macro_f1 else None,
        "drop": 0.0, "labels": ["happy", "sad"], "confusion": confusion, "roofline": 0.4,
        "bound": "compute", "stages": {"decode": 2.0, "mel": 1.0, "network": 0.5}, "pareto": False, **more,
    }  # fmt: skip


def results_values() -> dict[str, Any]:
    """Four measured rows, and one with few keys that was skipped."""
    rows = [
        row_values("best", "openvino", 90.0, 0.8, pareto=True),
        row_values("quick", "onnxruntime", 1000.0, 0.7, pareto=True),
        row_values("middling", "onnxruntime", 80.0, 0.6),
        row_values("peer", "torch", 20.0, None),
        {
            "model": "gone",
            "runtime": "tensorrt",
            "precision": "fp16",
            "status": "skipped",
            "reason": "no GPU",
        },
    ]
    return {
        "mer": "0.1", "made": "2026-11-22T00:00:00+00:00", "command": ["mer-bench", "--quick"],
        "valid": False, "partial": False, "data": {"name": "set", "clips": 20, "labels": ["happy", "sad"]},
        "machine": {"cpu": "a CPU", "flags": ["avx2"], "cores": 2, "memory_gib": 24.0, "libraries": {}},
        "rows": rows, "recommendation": "use best",
    }  # fmt: skip


def read(values: dict[str, Any]) -> Results:
    """As the results file of these values is read."""
    return results_from_json(json.dumps(values))
