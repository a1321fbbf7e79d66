"""The same labels as on one machine, whatever happens to a node: on a cluster of our own, and on Ray's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from child_processes import rest_of_output
from engine_files import VERSION, write_engine
from merkit.engine.errors import MerError
from merkit.engine.labelling import ray_cluster
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.ray_actor import FAILED
from merkit.engine.labelling.ray_cluster import RayCluster, plan_actors
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.signals import StoppedAtOnce
from merkit.engine.spec import AudioSpec, ModelSpec
from stub_cuda.stub import build, why_not_here

MER_LABEL = [sys.executable, "-m", "merkit.engine.cli"]
FILES = 240


def test_an_actor_a_gpu_or_a_group_of_cores() -> None:
    assert plan_actors([{"CPU": 2.0}]) == (2, 1)
    assert plan_actors([{"CPU": 64.0}, {"CPU": 13.0}, {}]) == (4, 19)
    assert plan_actors([{"CPU": 1.0}, {"CPU": 2.0}]) == (1, 3)
    assert plan_actors([{"CPU": 8.0}], cores=8) == (8, 1)
    assert plan_actors([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 4.0}], on_gpu=True) == (8, 2)
    for nodes, on_gpu in (([{"CPU": 0.0}], False), ([{"CPU": 4.0}], True)):
        with pytest.raises(MerError, match="no machine with"):
            plan_actors(nodes, on_gpu=on_gpu)


class Cluster:
    """A Ray cluster in this process: blocks are labelled at once, by the names of their files.

    A path with "kills" in it kills its actor, one with "once" only the first time. ``blocks`` keeps the
    paths of each block.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cpus: int = 1) -> None:
        self.blocks: list[list[str]] = []
        self.killed: set[str] = set()
        ray = SimpleNamespace(
            nodes=lambda: [
                {"Resources": {"CPU": float(cpus)}, "Alive": True},
                {"Resources": {}, "Alive": False},
            ],
            put=lambda artifact: artifact,
            shutdown=lambda: None,
        )
        monkeypatch.setattr(ray_cluster, "join_cluster", lambda address: ray)
        monkeypatch.setattr(RayCluster, "results", self.results)

    def results(self, blocks: list[Any], arguments: tuple[Any, ...]) -> Iterator[Any]:
        for block in blocks:
            paths = [os.fsdecode(path) for path in block["paths"][0].as_py()]
            self.blocks.append(paths)
            names = {os.path.basename(path) for path in paths}
            once = {name for name in names if "once" in name} - self.killed
            self.killed |= once
            if once or any("kills" in name for name in names):
                continue
            seconds = [json.dumps({"decode": 1.0}), *["{}"] * (len(paths) - 1)]
            labels = [SongLabel(path, emotion=path[-1]).to_json() for path in paths]
            yield pa.table({"position": block["positions"][0].values, "label": labels, "stages": seconds})


ARTIFACT: Any = object()
OPTIONS = WindowOptions(AudioSpec())


def test_an_engines_name_is_that_of_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that one machine began can go on in a cluster."""
    given: list[Any] = []

    def results(self: RayCluster, blocks: list[Any], arguments: tuple[Any, ...]) -> Iterator[Any]:
        given.append(arguments)
        yield from ()

    Cluster(monkeypatch)
    monkeypatch.setattr(ray_cluster, "plan_actors", lambda nodes, cores, on_gpu: (1, 1))
    monkeypatch.setattr(RayCluster, "results", results)
    with RayCluster("local", "tensorrt", "tensorrt_rtx") as cluster:
        assert cluster.name == "tensorrt_rtx"
        list(cluster.label_files(["a"], None, None))  # pyright: ignore[reportArgumentType]
    assert given[0][1] == "tensorrt"  # what opens it on a node


def labelled(paths: list[str], stages: StageSeconds | None = None) -> list[SongLabel]:
    with RayCluster("local", "null", "null") as cluster:
        return list(cluster.label_files(paths, ARTIFACT, OPTIONS, stages=stages))


def test_labels_in_the_order_of_the_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, stages = Cluster(monkeypatch, cpus=3), StageSeconds()
    monkeypatch.setattr(ray_cluster, "_AT_ONCE", 50)
    paths = [f"music/{i}" for i in range(120)]
    labels = labelled(paths, stages)
    assert [(label.path, label.emotion) for label in labels] == [(path, path[-1]) for path in paths]
    assert [os.path.abspath(path) for path in paths] == [path for block in cluster.blocks for path in block]
    assert [len(block) for block in cluster.blocks[:4]] == [13, 13, 13, 11]  # four for one actor of 3 cores
    assert stages.decode == len(cluster.blocks) == 12
    assert labelled([]) == []


def test_a_path_that_kills_its_actor_takes_no_other_along(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    paths = [*(f"{i}" for i in range(9)), "kills 1", *(f"{i}" for i in range(9)), "once", "9", "kills 2"]
    labels = labelled(paths)
    assert [label.path for label in labels] == paths
    died = "3 processes ended while they labelled it"
    assert [label.error for label in labels] == [died if "kills" in path else None for path in paths]
    assert all(label.unreadable for label in labels if label.error)  # a node that went away is no fault of it
    for path in ("kills 1", "once", "kills 2"):
        tried = [block for block in cluster.blocks if os.path.abspath(path) in block]
        assert len(tried) == (2 if path == "once" else 3)
        assert all(len(block) == 1 for block in tried[1:])


def test_a_cluster_that_labels_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = pytest.importorskip("ray.exceptions")
    Cluster(monkeypatch)

    def results(self: RayCluster, blocks: list[Any], arguments: tuple[Any, ...]) -> Iterator[Any]:
        raise exceptions.RayError("pages of text\nthe last line")
        yield

    monkeypatch.setattr(RayCluster, "results", results)
    with pytest.raises(MerError, match="the cluster labels nothing: the last line"):
        labelled(["a", "b"])


def test_an_actor_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    Cluster(monkeypatch)
    failed = pa.table({"position": [FAILED], "label": ["no GPU"], "stages": ["{}"]})
    monkeypatch.setattr(RayCluster, "results", lambda *_: (table for table in [failed]))
    with pytest.raises(MerError, match="an actor failed: no GPU"):
        labelled(["a", "b"])


def test_stopped_between_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    Cluster(monkeypatch)
    stop, labels = threading.Event(), []
    with RayCluster("local", "null", "null") as cluster:
        for label in cluster.label_files([f"{i}" for i in range(40)], ARTIFACT, OPTIONS, stop):
            labels.append(label.path)
            stop.set()
    assert labels == [f"{i}" for i in range(10)]  # the first of four blocks


@pytest.mark.parametrize("at_once", [False, True])
def test_what_came_behind_a_lost_block_is_kept_at_a_stop(
    at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, labels = threading.Event(), []
    cluster = Cluster(monkeypatch)
    results = cluster.results

    def stopped(*arguments: Any) -> Iterator[Any]:
        for number, table in enumerate(results(*arguments)):
            if number == 1 and at_once:
                raise StoppedAtOnce(130)
            stop.set()
            yield table

    monkeypatch.setattr(RayCluster, "results", lambda _, *arguments: stopped(*arguments))
    with RayCluster("local", "null", "null") as backend, suppress(StoppedAtOnce):
        for label in backend.label_files(["kills", *map(str, range(39))], ARTIFACT, OPTIONS, stop):
            labels += [label.path]
    assert labels == [str(i) for i in range(9, 19)]  # the block behind that of the actor that died


def test_one_call_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    Cluster(monkeypatch)
    with RayCluster("local", "null", "null") as cluster:
        first = cluster.label_files(["a", "b"], ARTIFACT, OPTIONS)
        next(first)
        with pytest.raises(ValueError, match="in use by another call"):
            next(cluster.label_files(["c"], ARTIFACT, OPTIONS))
        assert next(first).path == "b"
        first.close()  # pyright: ignore[reportAttributeAccessIssue]
        assert [label.path for label in cluster.label_files(["c"], ARTIFACT, OPTIONS)] == ["c"]


def nodes_of(**resources: Any) -> Iterator[tuple[Any, Any]]:
    """A cluster of a head and another node, both with these resources, and the other node."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**resources, "include_dashboard": False})
    yield cluster, cluster.add_node(**resources)
    cluster.shutdown()


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    yield from nodes_of(num_cpus=1)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Nodes that say they have a GPU: for their processes the stub driver and the fake TensorRT."""
    if why := why_not_here("pycuda") and why_not_here("cuda-bindings"):
        assert "MER_REQUIRE_PYCUDA" not in os.environ, why
        pytest.skip(why)
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    build(stubs)
    (stubs / "tensorrt.py").write_text(
        "import sys\n"
        "from stub_cuda import fake_tensorrt\n"
        f"sys.modules[__name__] = fake_tensorrt.module({VERSION!r})\n"
    )
    helpers = Path(__file__).parents[2] / "helpers"
    for name, folders in (("LD_LIBRARY_PATH", [stubs]), ("PYTHONPATH", [stubs, helpers])):
        monkeypatch.setenv(name, os.pathsep.join([*map(str, folders), os.environ.get(name, "")]))
    yield from nodes_of(num_cpus=1, num_gpus=1)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Short songs; some are none, one has a name that is no UTF-8, and one is there twice."""
    root = tmp_path / "music"
    root.mkdir()
    for i in range(FILES):
        samples = np.random.default_rng(i).standard_normal(4_000).astype(np.float32) / 10
        soundfile.write(root / f"{i:03}.wav", samples, 16_000)
        if i % 30 == 7:
            (root / f"{i:03}.wav").write_bytes(b"RIFF" + bytes(i))
    os.rename(root / "100.wav", os.fsencode(root) + b"/\xff100.wav")
    (root / "odd.flac").write_bytes((root / "000.wav").read_bytes()[:1_000])
    return root


def rows(folder: Path) -> list[dict]:
    shards = sorted(folder.glob("part-*.parquet"))
    return [row for path in shards for row in pq.ParquetFile(path).read().to_pylist()]


def driver_log(cluster: Any, pid: int) -> str:
    logs = Path(cluster.head_node.get_session_dir_path(), "logs")
    return "".join(path.read_text() for path in logs.glob(f"python-core-driver-*_{pid}.log"))


@pytest.mark.ray
@pytest.mark.timeout(1_800)  # Ray starts slowly on few cores
def test_a_killed_node_changes_nothing(two_nodes: Any, music: Path, tmp_path: Path, tiny_model: Path) -> None:
    cluster, node = two_nodes
    options = ["--model", str(tiny_model), "--shard-rows", "20"]
    ours = [*MER_LABEL, str(music), *options, "--ray", cluster.address]
    single = subprocess.run(
        [*MER_LABEL, str(music), *options, "--out", str(tmp_path / "single")], capture_output=True
    )
    assert single.returncode == 4

    # Stopped, then resumed, both on the cluster.
    out = tmp_path / "cluster"
    process = subprocess.Popen(
        [*ours, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_BACKEND_LOG_LEVEL": "warning"},
    )
    assert process.stdout
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    # Ray's C++ part can end the process without a word on stderr: its log file says why.
    assert process.returncode == 143, (first, errors, driver_log(cluster, process.pid))
    assert "run the same command again to go on" in errors
    done = len(rows(out))
    assert 0 < done < FILES

    # Resumed; the node dies as soon as some of the rest is there.
    process = subprocess.Popen(
        [*ours, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.readline()
    cluster.remove_node(node, allow_graceful=False)
    printed, errors = rest_of_output(process)
    assert process.returncode == 4, errors
    assert f"{done} already done" in errors
    assert all(line.startswith(str(music)) for line in printed.splitlines())
    assert rows(out) == rows(tmp_path / "single")
    assert len(rows(out)) == FILES + 1

    # From single to cluster: one folder may be gone on with by either.
    again = subprocess.run([*ours, "--out", str(tmp_path / "single")], capture_output=True, text=True)
    assert f"{FILES + 1} already done" in again.stderr


@pytest.mark.ray
@pytest.mark.timeout(1_800)
def test_an_actor_a_gpu(
    two_gpus: Any, music: Path, tmp_path: Path, spec: ModelSpec, tiny_model: Path
) -> None:
    """Each node's actor runs the engine on its GPU; the labels are those of the ONNX file in it."""
    engine = write_engine(tmp_path, spec, tiny_model.read_bytes())
    by_model = []
    for model, options in ((tiny_model, []), (engine, ["--ray", two_gpus[0].address])):
        out = tmp_path / f"labels-{model.stem}-{model.suffix[1:]}"
        command = [*MER_LABEL, str(music), "--model", str(model), *options, "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 4, done.stderr
        by_model.append(rows(out))
    (shard, *_) = out.glob("*.parquet")
    assert json.loads((pq.read_schema(shard).metadata or {})[b"mer.run"])["runtime"] == "tensorrt"
    for on_cpu, on_gpu in zip(*by_model, strict=True):
        for name in ("path", "emotion", "error"):
            assert on_gpu[name] == on_cpu[name]
        assert (on_gpu["confidence"] or 0) == pytest.approx(on_cpu["confidence"] or 0, abs=1e-5)
