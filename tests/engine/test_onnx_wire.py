"""Files whose parsing would take many times their size in memory, and that counting finds first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.artifact import path_from_model
from merkit.engine.errors import ArtifactError
from merkit.engine.onnx_wire import check_parts, metadata_from_model
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from onnx_files import tiny_onnx
from small_networks import small_network

TINY = tiny_onnx(ModelSpec("tiny", QUADRANTS, AudioSpec())).SerializeToString()


def field(number: int, content: bytes) -> bytes:
    """A field of bytes as protobuf writes it."""
    size, length = len(content), b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


GRAPH, NODE, INITIALIZER, VALUE, METADATA, ATTRIBUTE, DIMS, INT64, EXTERNAL = 7, 1, 5, 13, 14, 5, 1, 7, 13
MANY = 1_000_000
BOMBS: dict[str, Callable[[], bytes]] = {
    "nodes": lambda: field(GRAPH, field(NODE, b"") * MANY),
    "weights": lambda: field(GRAPH, field(INITIALIZER, b"") * MANY),
    "types": lambda: field(GRAPH, field(VALUE, b"") * MANY),
    "metadata": lambda: field(METADATA, b"") * MANY,
    "attributes": lambda: field(GRAPH, field(NODE, field(ATTRIBUTE, b"") * MANY)),
    "inputs": lambda: field(GRAPH, field(NODE, field(1, b"") * MANY)),
    "strings of a tensor": lambda: field(GRAPH, field(INITIALIZER, field(6, b"") * MANY)),
    "external data": lambda: field(GRAPH, field(INITIALIZER, field(EXTERNAL, b"") * MANY)),
    "dimensions": lambda: field(GRAPH, field(INITIALIZER, b"\x08\x01" * MANY)),
    "packed dimensions": lambda: field(GRAPH, field(INITIALIZER, field(DIMS, b"\x01" * 110 * MANY))),
    "packed numbers": lambda: field(GRAPH, field(INITIALIZER, field(INT64, b"\x01" * 110 * MANY))),
    "unknown fields": lambda: b"\xf8\x07\x01" * MANY,
}


def test_networks_pass() -> None:
    check_parts(TINY)
    check_parts(small_network().SerializeToString())
    for path in (Path(__file__).parents[2] / "engine" / "models").glob("*.onnx"):
        check_parts(path.read_bytes())


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs(bomb: str) -> None:
    content = BOMBS[bomb]()
    with pytest.raises(ArtifactError, match="more than 200,000 parts"):
        check_parts(content)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.onnx"
    path.write_bytes(field(GRAPH, field(NODE, b"") * 20 * MANY))  # 40 MB, which the parser makes 6 GB
    code = """
import sys
from merkit.engine.artifact import open_artifact
from merkit.engine.artifact import path_from_model
from merkit.engine.errors import ArtifactError
try:
    open_artifact(sys.argv[1])
except ArtifactError:
    status = open("/proc/self/status").read()  # ru_maxrss begins with what the parent had
    print(int(status.split("VmHWM:")[1].split()[0]) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300  # MB


@pytest.mark.parametrize(
    "hidden",
    [
        field(1, b"a graph of TensorFlow's, whose field 1 is its nodes"),  # ONNX's is a number
        b"\x38\x01",  # the graph as a number
        field(GRAPH, field(NODE, b"\x20\x01")),  # an operator's name as a number
        b"\x3b\x3c",  # a group, which protobuf had long ago
    ],
)
def test_a_file_of_two_formats(hidden: bytes) -> None:
    """The parser passes over what it does not expect, so that another program's model may lie there."""
    assert parses(TINY + hidden)
    assert answer(TINY + hidden) == "it is not an ONNX file"


def parses(content: bytes) -> bool:
    try:
        onnx.load_from_string(content)
    except (DecodeError, ValueError):
        return False
    return True


def answer(content: bytes) -> str:
    try:
        check_parts(content)
    except ArtifactError as error:
        return str(error)
    return ""


@given(st.integers(0, len(TINY)))
def test_what_is_cut_short_is_refused_as_the_parser_does(length: int) -> None:
    assert (answer(TINY[:length]) == "") == parses(TINY[:length])


@given(st.binary(max_size=200))
def test_anything_ends_in_an_answer(content: bytes) -> None:
    assert answer(content) in (
        "",
        "it is not an ONNX file",
        "it has more than 200,000 parts, which no network has",
    )


def test_weights_of_every_form_pass() -> None:
    """Not only as raw bytes: as exporters of old wrote them, and INT8 ones as whole numbers."""
    model = onnx.load_from_string(TINY)
    for number, kind in enumerate((onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT8)):
        weights = np.arange(2_000_000) % 100
        model.graph.initializer.append(onnx.helper.make_tensor(f"w{number}", kind, [len(weights)], weights))
    check_parts(model.SerializeToString())


@pytest.mark.parametrize("name", ["mobilenetv3", "audiocnn"])
def test_metadata_without_the_parser(name: str) -> None:
    for content in (TINY, path_from_model(name).read_bytes()):
        props = onnx.load_from_string(content).metadata_props
        assert metadata_from_model(content) == [(prop.key, prop.value) for prop in props] != []


def test_metadata_of_what_is_no_model() -> None:
    for content in (b"\x72", b"\x72\x05ab", b"\xff" * 20):
        with pytest.raises(ArtifactError, match="not an ONNX file"):
            metadata_from_model(content)
