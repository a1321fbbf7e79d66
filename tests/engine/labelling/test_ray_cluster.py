"""mer-label over a Ray cluster: the same rows as on one machine, whatever happens to a node."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from engine_files import VERSION, write_engine
from merkit.engine.errors import MerError
from merkit.engine.labelling.ray_cluster import plan_actors
from merkit.engine.spec import ModelSpec
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


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", "give local, auto or HOST:PORT"),
        ("127.0.0.1:{port}", "no Ray cluster answers at 127."),
    ],
)
def test_errors_are_one_line(tiny_model: Path, tmp_path: Path, address: str, said: str) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(port=free.getsockname()[1])
        done = subprocess.run(
            [*MER_LABEL, str(tmp_path), "--model", str(tiny_model), "--ray", address],
            capture_output=True, text=True,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_ray(tiny_model: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['ray'] = None; from merkit.engine.cli.label import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "--model", str(tiny_model), "--ray", "local"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'merkit[ray]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


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
    if why := why_not_here():
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
        [*ours, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 143, errors
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
    printed, errors = process.communicate(timeout=1_200)
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
    found = []
    for model, options in ((tiny_model, []), (engine, ["--ray", two_gpus[0].address])):
        out = tmp_path / f"labels{model.suffix}"
        command = [*MER_LABEL, str(music), "--model", str(model), *options, "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 4, done.stderr
        found.append(rows(out))
    assert json.loads((out / "run.json").read_text())["runtime"] == "tensorrt"
    for on_cpu, on_gpu in zip(*found, strict=True):
        for name in ("path", "emotion", "error"):
            assert on_gpu[name] == on_cpu[name]
        assert (on_gpu["confidence"] or 0) == pytest.approx(on_cpu["confidence"] or 0, abs=1e-5)
