"""One row of the table, and the results of one run: the contract of everything in benchmarks.

The attributes are named like the keys of the results file (see results_file.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..engine.runtimes import RUNTIMES

BASELINES = ("torch", "torch.compile")
"""What people use without merkit; measured for speed only."""

BENCH_RUNTIMES = (*(name for name in RUNTIMES if name not in ("null", "openvino-bf16")), *BASELINES)
"""Every runtime that the table knows; bf16 is a precision there."""

SCENARIOS = ("SingleStream", "MultiStream", "Offline", "Server")
"""LoadGen's names of its scenarios."""

Interval = tuple[float, float]
Share = float
"""From 0 to 1."""
Status = Literal["ok", "error", "skipped"]


@dataclass
class Scenario:
    """One LoadGen scenario of a row."""

    valid: bool = False
    """LoadGen calls the run valid, and it was not a quick one."""
    queries: int | None = None
    seconds: float | None = None
    images_per_s: float | None = None
    """Offline and Server only."""
    p50: float | None = None
    """Latencies in ms; None where the samples are too few to know the percentile."""
    p90: float | None = None
    p99: float | None = None
    log: str = ""
    """The folder with LoadGen's own logs."""
    errors: list[str] = field(default_factory=list)
    """What LoadGen complains of."""


@dataclass
class Row:
    """One network on one runtime in one precision. None is what was not measured or does not apply."""

    model: str = "-"
    """The file's name without its suffix."""
    source: str = "-"
    """Where the file was: "bundled", "home", "folder", "untrained"."""
    file: str = "-"
    runtime: str = "-"
    """One of ``BENCH_RUNTIMES``, or "-" where the file could not be opened."""
    precision: str = "-"
    """One of "fp32", "fp16", "bf16", "int8", or "-" where it is not known."""
    status: Status = "ok"
    reason: str | None = None
    """Why there are no figures, where the status is not "ok"."""
    throughput_samples: list[float] = field(default_factory=list)
    """Images/s of the parts of the Offline run."""
    latency_ms: list[float] = field(default_factory=list)
    """Raw latencies of SingleStream in ms, thinned out where they are very many."""
    labels: list[str] = field(default_factory=list)
    """The model's labels, in the order of ``confusion``."""
    scenarios: dict[str, Scenario] = field(default_factory=dict)
    """By one of ``SCENARIOS``."""
    pareto: bool = False
    """On the Pareto front: no other row beats it in macro-F1 and images/s at once."""
    backbone: str | None = None
    params: int | None = None
    """Weights of the graph, batch norms folded in."""
    macs: int | None = None
    """Multiply-adds of one image."""
    bytes: int | None = None
    """Size of the file."""
    throughput: float | None = None
    """Images/s at the best batch (Offline)."""
    best_batch: int | None = None
    """The batch with the highest images/s, in images."""
    p50: float | None = None
    """Latencies of one image in ms (SingleStream), as in ``Scenario``."""
    p90: float | None = None
    p99: float | None = None
    songs_per_s: float | None = None
    """Files to labels, as mer-label does it; the start of the child processes is left out.

    None where fewer than three songs have a label, or fewer than have none.
    """
    peak_mib: float | None = None
    """Peak resident memory of the row's process in MiB."""
    accuracy: Share | None = None
    """Share of whole songs labelled right."""
    accuracy_interval: Interval | None = None
    """95 % bootstrap interval; None where the data, or a label of it, has too few groups for one."""
    macro_f1: Share | None = None
    """Mean F1 of the labels over whole songs."""
    macro_f1_interval: Interval | None = None
    """As ``accuracy_interval``."""
    drop: float | None = None
    """Macro-F1 lost against the FP32 model, in points (hundredths), unlike all other shares here."""
    confusion: list[list[int]] | None = None
    """Songs by true label (lines) and predicted label (columns)."""
    roofline: float | None = None
    """``throughput`` as a share of what the machine's limits allow, 0 to 1."""
    bound: str | None = None
    """What limits it: "compute", "memory" or "overhead"."""
    stages: dict[str, float] | None = None
    """CPU seconds of labelling the songs, by stage."""
    throughput_interval: Interval | None = None
    """Lowest and highest images/s of the run's parts."""
    p50_interval: Interval | None = None
    """Lowest and highest median of the run's parts, in ms."""
    accuracy_note: str | None = None
    """Which clips it was scored on, or why on none."""
    sha256: str | None = None
    """Of the file, in hexadecimal."""
    fp32_sha256: str | None = None
    """Of the FP32 model that mer-export made the file from."""
    songs_failed: int | None = None
    """Songs without a label, which ``songs_per_s`` leaves out."""
    rates: dict[str, float] = field(default_factory=dict)
    """Images/s of a short look at each batch: "latency x8" is OpenVINO's latency mode at batch 8."""
    streams: str | None = None
    """OpenVINO's mode at the best batch: "latency" or "throughput"."""
    cv_macro_f1: Share | None = None
    """Macro-F1 of the folds of the cross-validation that the network was trained after, in FP32.

    Of networks that were trained in the same way, each on a part of the clips: not of this file."""
    cv_macro_f1_interval: Interval | None = None
    """As ``accuracy_interval``."""
    cv_note: str | None = None
    """Which folds, of which data."""
    scored_songs: str | None = None
    """A fingerprint of the clips that it was scored on: rows of different ones are not to be compared."""

    @property
    def shown_model(self) -> str:
        """The model as the table names it."""
        return self.model + (" (untrained)" if self.source == "untrained" else "")

    @property
    def name(self) -> str:
        """The row in few words."""
        return f"{self.model} {self.precision}, {self.runtime}"


@dataclass
class Machine:
    """What the rows were measured on. The last four are its own measured limits."""

    cpu: str = "unknown"
    flags: list[str] = field(default_factory=list)
    """Instruction sets that matter to these networks."""
    cores: int | None = None
    mhz: float | None = None
    cache_mib: float | None = None
    """The last-level cache; 0 where the system does not say."""
    memory_gib: float | None = None
    os: str = "unknown"
    python: str = "unknown"
    libraries: dict[str, str] = field(default_factory=dict)
    """Versions by package."""
    gpu: dict[str, str] | None = None
    """nvidia-smi's name, driver, memory and clocks."""
    load: float | None = None
    """Load average of the last minute, before the measurement."""
    gemm_gflops: float | None = None
    """Of a float32 matrix product, in 10^9 FLOP/s."""
    gemm_int8_gops: float | None = None
    """Of an int8 matrix product, in 10^9 operations/s."""
    bandwidth_gbs: float | None = None
    """Of the memory, in 10^9 bytes/s."""
    gemm_bf16_gflops: float | None = None
    """Of a bf16 matrix product, in 10^9 FLOP/s; None without OpenVINO, or on a CPU that has none."""


@dataclass
class ScoredData:
    """The labelled audio that accuracy is of."""

    name: str = "-"
    clips: int | None = None
    labels: list[str] = field(default_factory=list)
    note: str = ""
    """Which of its clips were held out, and who chose them."""
    skipped: list[str] = field(default_factory=list)
    """Clips that give no audio and are not scored, each with the reason."""


@dataclass
class Results:
    """One run of mer-bench."""

    mer: str = "unknown"
    """The version of merkit."""
    made: str = "unknown"
    """When, in ISO 8601, UTC."""
    command: list[str] = field(default_factory=list)
    length: str = "unknown"
    """One of "quick", "normal", "rules"."""
    valid: bool = False
    """Every scenario of every measured row is valid."""
    partial: bool = False
    """Stopped before its end."""
    threads: int | None = None
    machine: Machine = field(default_factory=Machine)
    data: ScoredData | None = None
    rows: list[Row] = field(default_factory=list)
    recommendation: str = ""
    songs: str = ""
    """Of which songs the rows' ``songs_per_s`` is."""
