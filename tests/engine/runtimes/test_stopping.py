"""What a library computes in one call ends soon after a signal; nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


def run(code: str, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, whose main thread has the signals."""
    path = os.pathsep.join([str(TESTS / "helpers"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "PYTHONPATH": path},
    )


SLOW = """
    import os, signal, sys, threading, time
    import numpy as np
    from pathlib import Path
    from onnx import helper, numpy_helper
    from onnx_files import tiny_onnx
    from merkit.engine.artifact import open_artifact
    from merkit.engine.runtimes import trial
    from merkit.engine.signals import StoppedError, stop_event
    from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec

    def write_slow_model(folder, layers):
        # Each layer is a product that takes 0.1 s: minutes, in steps between which it can be ended.
        spec = ModelSpec("slow", QUADRANTS, AudioSpec())
        model = tiny_onnx(spec)
        model.graph.node[-1].output[0] = "layer0"
        side = 2_000
        square = np.full((side, side), 1 / side, np.float32)
        model.graph.initializer.append(numpy_helper.from_array(square, "square"))
        model.graph.node.append(helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0))
        model.graph.node.append(helper.make_node("Tanh", ["mean"], ["small"]))
        model.graph.node.append(helper.make_node("Mul", ["square", "small"], ["a0"]))
        for n in range(layers):
            model.graph.node.append(helper.make_node("MatMul", [f"a{n}", "a0"], [f"a{n + 1}"]))
        model.graph.node.append(helper.make_node("ReduceMean", [f"a{layers}"], ["extra"], keepdims=0))
        model.graph.node.append(helper.make_node("Add", ["layer0", "extra"], ["logits"]))
        path = Path(folder) / "slow.onnx"
        path.write_bytes(model.SerializeToString())
        return open_artifact(str(path))

    def signal_after(seconds, number=signal.SIGTERM):
        threading.Timer(seconds, os.kill, (os.getpid(), number)).start()
"""


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_inference_ends_after_the_first_signal(tmp_path: Path, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    code = """
    from importlib import import_module
    artifact = write_slow_model(sys.argv[1], 800)
    network = import_module(f"merkit.engine.runtimes.{sys.argv[2]}").open_runtime(artifact, 1)
    with stop_event() as stop:
        signal_after(1)
        began = time.monotonic()
        try:
            network.infer(np.ones((1, 1, 128, 313), np.float32))
        except StoppedError as error:
            print(stop.code, error.exit_code, time.monotonic() - began, error)
    """
    done = run(SLOW + code, str(tmp_path), runtime, seconds=120)
    code_of_stop, exit_code, seconds, *message = done.stdout.split()
    assert (code_of_stop, exit_code, message) == ("143", "143", ["stopped", "while", "it", "computed"])
    assert 1.9 < float(seconds) < 15, done.stderr  # 2 s where nothing else needs the cores


def test_a_trial_ends_after_the_first_signal(tmp_path: Path) -> None:
    code = """
    artifact = write_slow_model(sys.argv[1], 800)
    with stop_event() as stop:
        signal_after(1, signal.SIGINT)
        began = time.monotonic()
        try:
            trial.check_by_trial(artifact, "onnxruntime")
        except StoppedError as error:
            print(stop.code, error.exit_code, time.monotonic() - began)
    """
    done = run(SLOW + code, str(tmp_path))
    stopped, exit_code, seconds = done.stdout.split()
    assert (stopped, exit_code) == ("130", "130")
    assert 1.9 < float(seconds) < 15, done.stderr


def test_what_ends_by_itself_is_left_alone(tmp_path: Path) -> None:
    code = """
    from merkit.engine.runtimes.onnxruntime import open_runtime
    network = open_runtime(write_slow_model(sys.argv[1], 1), 1)
    batch = np.ones((1, 1, 128, 313), np.float32)
    expected = network.infer(batch)
    with stop_event() as stop:
        signal_after(0.5)
        began, count = time.monotonic(), 0
        while time.monotonic() - began < 3:
            assert (network.infer(batch) == expected).all()
            count += 1
        print(stop.code, count > 3)
    """
    done = run(SLOW + code, str(tmp_path))
    assert done.stdout.split() == ["143", "True"], done.stderr


STOPPING = """
    import os, signal, socket, threading, time
    from merkit.engine.runtimes import stopping
    from merkit.engine.signals import stop_event
    ended = []
    stopping._PATIENCE_S = 0.2
    def stopped(one, seconds=0.6):
        with one:
            until = time.monotonic() + seconds
            while time.monotonic() < until and not ended:
                time.sleep(0.05)
        try:
            one.check()
        except stopping.ComputationStoppedError as error:
            ended.clear()
            return error.exit_code
    def kill(number=signal.SIGTERM):
        os.kill(os.getpid(), number)
"""


def test_whose_signals_end_a_computation() -> None:
    code = """
    one = stopping.EndedBySignal(lambda: ended.append(1))
    with stop_event():
        assert stopped(one) is None
        kill()
        assert stopped(one, 30) == 143
        assert stopped(one, 30) == 143  # while the run is to end, so is what begins later
    time.sleep(0.4)
    assert stopped(one) is None
    signal.signal(signal.SIGTERM, lambda *_: None)  # a program's own: it may mean anything
    kill()
    assert stopped(one) is None
    try:
        kill(signal.SIGINT)
        time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    time.sleep(0.4)
    assert stopped(one) is None  # the program goes on
    print("right")
    """
    done = run(STOPPING + code)
    assert done.stdout.strip() == "right", done.stderr


def test_ctrl_c_ends_a_computation_of_any_program(tmp_path: Path) -> None:
    code = """
    from merkit.engine.runtimes.onnxruntime import open_runtime
    network = open_runtime(write_slow_model(sys.argv[1], 800), 1)
    signal_after(1, signal.SIGINT)
    began = time.monotonic()
    try:
        network.infer(np.ones((1, 1, 128, 313), np.float32))
    except KeyboardInterrupt:
        print("right", time.monotonic() - began)
    """
    done = run(SLOW + code, str(tmp_path), seconds=120)
    word, seconds = done.stdout.split()
    assert (word, float(seconds) < 20) == ("right", True), done.stderr


def test_threads_and_forked_children_and_event_loops() -> None:
    code = """
    thread = threading.Thread(target=lambda: stopping.EndedBySignal(lambda: None))
    thread.start(); thread.join()
    assert stopping._numbers is None  # only the main thread may ask for signals' numbers
    one = stopping.EndedBySignal(lambda: ended.append(1))
    with stop_event():
        if os.fork() == 0:
            kill()
            os._exit(0)
        os.wait()
        assert stopped(one) is None  # the child's signal
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno())
    stopping._numbers = None
    stopping.EndedBySignal(lambda: None)
    assert signal.set_wakeup_fd(-1) == theirs.fileno()  # an event loop's descriptor stays its own
    print("right")
    """
    done = run(STOPPING + code)
    assert done.stdout.strip() == "right", done.stderr


def test_all_threads_that_compute_at_once_are_ended() -> None:
    code = """
    from concurrent.futures import ThreadPoolExecutor
    one = stopping.EndedBySignal(lambda: ended.append(1))
    def computed(_):
        with one:
            until = time.monotonic() + 30
            while time.monotonic() < until and not ended:
                time.sleep(0.05)
        try:
            one.check()
        except stopping.ComputationStoppedError as error:
            return error.exit_code
    with stop_event(), ThreadPoolExecutor(4) as threads:
        codes = threads.map(computed, range(4))
        time.sleep(0.3)
        kill()
        print(*codes)
    """
    done = run(STOPPING + code)
    assert done.stdout.split() == ["143"] * 4, done.stderr
