"""Nothing leaves the machine, and nothing stays on it that nobody asked for.

Each command runs in a network namespace of its own, in which every address is this machine: a look-up or a
connection to anywhere is a packet on ``lo``, and is counted. Home, temporary and working folder are empty.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from label_folders import row_of, write_labels
from small_training import FAST_OPTIONS

pytestmark = pytest.mark.timeout(900)

_NAMESPACE = """
ip link set lo up && ip route add local default dev lo || exit 90
ip -6 route add local default dev lo 2> /dev/null
"$@"
code=$?
awk '/lo:/ { print $3 }' /proc/net/dev > "$PACKETS"
exit $code
"""


class Machine(NamedTuple):
    """Three folders, empty at first; in ``work`` a command may write what it was asked for."""

    home: Path
    temporary: Path
    work: Path

    def run(self, *command: object, traced: Path | None = None) -> None:
        """Runs Python. With ``traced`` packets may go to this machine, and connections are listed there.

        Raises:
            AssertionError: it sent a packet, or left a file in the home or the temporary folder.
        """
        packets = self.home.parent / "packets"
        environment = {
            **{name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PACKETS": str(packets),
            "OMP_NUM_THREADS": "1",
        }
        trace = ["strace", "-fqq", "-e", "trace=connect,sendto,sendmsg", "-o", str(traced)] if traced else []
        inside = ["unshare", "-rn", "sh", "-c", _NAMESPACE, "sh", *trace, sys.executable, *map(str, command)]
        done = subprocess.run(inside, cwd=self.work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert packets.read_text() == "0\n" or traced
        ours = self.home / ".cache" / "mer"
        strays = [path for path in self.home.rglob("*") if path.is_file() and not path.is_relative_to(ours)]
        assert strays == []
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(*(tmp_path / name for name in ("home", "tmp", "work")))
    for folder in made:
        folder.mkdir()
    return made


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("unshare and ip make network namespaces")
    command = ["unshare", "-rn", "sh", "-c", _NAMESPACE, "sh", "true"]
    environment = {**os.environ, "PACKETS": "/dev/null"}
    if subprocess.run(command, env=environment, capture_output=True).returncode:
        pytest.skip("this machine lets nobody make network namespaces")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Melodies of two seconds, all different, 24 a label: as many as intervals ask for."""
    root = tmp_path_factory.mktemp("songs")
    rng = np.random.default_rng(0)
    times = np.arange(4_000) / 16_000
    for place, label in enumerate(("calm", "happy")):
        (root / label).mkdir()
        for i in range(24):
            pitches = rng.uniform(200, 2_000, (8, 2)) * (place + 1)
            notes = [
                np.sin(2 * np.pi * one * times) + np.sin(2 * np.pi * two * times) for one, two in pitches
            ]
            sound = 0.2 * np.concatenate(notes) + 0.01 * rng.standard_normal(32_000)
            soundfile.write(root / label / f"{label}{i}.wav", sound, 16_000)
    return root


def test_a_packet_and_a_stray_file_would_be_seen(machine: Machine) -> None:
    for code, stray in (
        ("import socket\ntry: socket.getaddrinfo('merkit.example', 80)\nexcept OSError: pass", "'0\\\\n'"),
        ("import socket\ntry: socket.create_connection(('192.0.2.1', 80))\nexcept OSError: pass", "'0\\\\n'"),
        ("from pathlib import Path\n(Path.home() / 'a').touch()", "home/a"),
        ("import tempfile\ntempfile.mkdtemp()", "tmp/tmp"),
    ):
        with pytest.raises(AssertionError, match=stray):
            machine.run("-c", code)
        shutil.rmtree(machine.home)
        machine.home.mkdir()
    shutil.rmtree(machine.temporary)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_mer_label(machine: Machine, songs: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    machine.run("-m", "merkit.engine.cli", songs, "--runtime", runtime, "--out", "rows.csv")
    machine.run("-m", "merkit.engine.cli", songs, "--runtime", runtime, "--out", "rows")
    assert {path.name for path in machine.work.iterdir()} == {"rows.csv", "rows"}
    assert not list(machine.home.iterdir())


def test_the_api(machine: Machine, songs: Path) -> None:
    code = f"""
import merkit
from pathlib import Path
if __name__ == "__main__":
    files = sorted(Path({str(songs)!r}).rglob("*.wav"))
    merkit.label(files[0])
    with merkit.Labeler() as labeler:
        assert not any(song.error for song in labeler.label_files(files))
"""
    machine.run("-c", code)
    assert not list(machine.work.iterdir()) + list(machine.home.iterdir())


def test_what_is_made_of_labels(machine: Machine, songs: Path) -> None:
    pytest.importorskip("mutagen")
    song = shutil.copy(songs / "calm" / "calm0.wav", machine.work / "song.wav")
    for name, emotion in (("old", "calm"), ("new", "happy")):
        write_labels(machine.work / name, [row_of(song, emotion)])
    for command in (
        ("diff", "old", "new", "--csv", "diff.csv"),
        ("page", "new", "-o", "page.html"),
        ("playlist", "new", "lists"),
        ("tag", "new", "--write"),
    ):
        machine.run("-m", "merkit.engine.cli", *command)
    made = {"diff.csv", "page.html", "lists"}
    assert {path.name for path in machine.work.iterdir()} == {"song.wav", "old", "new", *made}


def test_mer_eval(machine: Machine, songs: Path) -> None:
    machine.run("-m", "merkit.benchmarks.evaluation.cli", "audiocnn", songs, "--json", "scores.json")
    assert [path.name for path in machine.work.iterdir()] == ["scores.json"]


def test_mer_export_and_mer_bench(machine: Machine, songs: Path) -> None:
    pytest.importorskip("onnxconverter_common")
    machine.run("-m", "merkit.export.cli", "audiocnn", "--fp16", "--format", "onnx", "-o", "models/")
    assert [path.name for path in machine.work.iterdir()] == ["models"]
    (exported,) = (machine.work / "models").glob("*.onnx")
    machine.run(
        "-m", "merkit.benchmarks.cli", "--models", "models", "--model", exported.stem, "--quick",
        "--runtime", "onnxruntime", "--songs", songs, "--logs", "logs", "--json", "results.json",
    )  # fmt: skip
    assert sorted(path.name for path in machine.work.iterdir()) == ["logs", "models", "results.json"]


@pytest.mark.ray
def test_a_ray_cluster_of_this_machine(machine: Machine, songs: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    if not shutil.which("strace"):
        pytest.skip("strace lists connections")
    trace = tmp_path / "trace"
    machine.run("-m", "merkit.engine.cli", songs, "--ray", "local", traced=trace)
    calls = [line for line in trace.read_text().splitlines() if "sa_family=AF_INET" in line]
    assert len(calls) > 10
    assert [line for line in calls if "127.0.0.1" not in line and '"::1"' not in line] == []
    assert not list(machine.work.iterdir()) + list(machine.home.iterdir())


def test_mer_train(machine: Machine, songs: Path) -> None:
    pytest.importorskip("torch")
    machine.run(
        "-m", "merkit.training.cli", "--data", songs, "-m", "audiocnn", "--weights", "none",
        "--epochs", 1, "--validation", 0.25, "--test", 0.4, "-o", "run", *FAST_OPTIONS,
    )  # fmt: skip
    assert [path.name for path in machine.work.iterdir()] == ["run"]
