"""Parquet columns of every type become values that rows hold."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.parquet_rows import parquet_columns, parquet_rows
from merkit.engine.errors import MerError

NS = 1_700_000_000_123_456_789


def read(folder: Path, values: Any) -> list[Any]:
    """A column, as rows of it are."""
    pq.write_table(pa.table({"path": ["a.mp3"] * len(values), "x": values}), folder / "t.parquet")
    return [row[1] for row in parquet_rows(str(folder / "t.parquet"), "path")]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([4_000_000, 0, None], pa.date32()), ["12921-08-18", "1970-01-01", None]),
        (pa.array([4_000_000 * 86_400_000], pa.date64()), ["12921-08-18"]),
        (pa.array([NS, NS - 789, 0], pa.timestamp("ns")),
         ["2023-11-14 22:13:20.123456789", "2023-11-14 22:13:20.123456", "1970-01-01 00:00:00"]),
        (pa.array([NS // 1_000], pa.timestamp("us", "UTC")), ["2023-11-14 22:13:20.123456+00:00"]),
        (pa.array([decimal.Decimal("1.50")], pa.decimal128(10, 2)), ["1.50"]),
        (pa.array(["x", None], pa.large_string()), ["x", None]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.array([NS], pa.timestamp("ns")).dictionary_encode(), ["2023-11-14 22:13:20.123456789"]),
        (pa.array([["x"], [], None]), ["['x']", "[]", None]),
        (pa.array([b"ab", b"\xff\x01"]), ["ab", "\\xff\x01"]),
        (pa.array([{"a": 1}]), ["{'a': 1}"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([datetime.time(1, 2, 3)]), ["01:02:03"]),
        (pa.nulls(1), [None]),
    ],
)  # fmt: skip
def test_text(tmp_path: Path, values: pa.Array, texts: list[str | None]) -> None:
    assert read(tmp_path, values) == texts


def test_nanoseconds_without_pandas(tmp_path: Path) -> None:
    """The base install has no pandas; the text is the same."""
    expected = read(tmp_path, pa.array([NS, NS - 789, 0, -1], pa.timestamp("ns")))
    (tmp_path / "pandas.py").write_text("raise ImportError")
    code = (
        "from merkit.engine.catalogue.parquet_rows import parquet_rows\n"
        f"print([row[1] for row in parquet_rows({str(tmp_path / 't.parquet')!r}, 'path')])"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == str(expected), done.stderr
    assert expected[-1] == "1969-12-31 23:59:59.999999999"


@pytest.mark.parametrize(
    "values",
    [
        pa.array([17_000_000_000_000], pa.timestamp("s")),
        pa.array([NS], pa.timestamp("ns", "Mars/Olympus")),
        pa.array([2**62], pa.duration("s")),
        pa.array([[4_000_000]], pa.list_(pa.date32())),
        pa.array([{"a": 4_000_000}], pa.struct([("a", pa.date32())])),
        pa.array([[("k", 4_000_000)]], pa.map_(pa.string(), pa.date32())),
        pa.array([b"\xffa"]).view(pa.string()),
    ],
)
def test_what_python_has_no_value_for_is_no_traceback(tmp_path: Path, values: pa.Array) -> None:
    (text,) = read(tmp_path, values)
    assert isinstance(text, str)
    assert text


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    table = pa.table(
        {"path": ["a"], "b": [True], "i": pa.array([1], pa.int16()), "f": pa.array([0.5], pa.float32())}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert parquet_columns(str(tmp_path / "t.parquet")) == [
        ("path", "string"), ("b", "bool"), ("i", "int64"), ("f", "float64"),
    ]  # fmt: skip
    assert list(parquet_rows(str(tmp_path / "t.parquet"), "path")) == [["a", True, 1, 0.5]]


def test_numbers_of_every_width_stay_numbers(tmp_path: Path) -> None:
    most = (1 << 63) - 1
    halves = np.array([0.5, 0, np.inf] * 100, np.float16)
    table = pa.table(
        {
            "path": [f"{i}.mp3" for i in range(300)],
            **{f"u{bits}": pa.array([255] * 300, f"uint{bits}") for bits in (8, 16, 32)},
            "u.64": pa.array([most, None] * 150, pa.uint64()),
            "beyond": pa.array([0] * 299 + [most + 1], pa.uint64()),
            "f16": pa.array(halves, pa.float16(), mask=halves == 0),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    names = [f"u{bits}" for bits in (8, 16, 32)]
    assert parquet_columns(str(tmp_path / "t.parquet")) == [
        ("path", "string"), *((name, "int64") for name in names),
        ("u.64", "int64"), ("beyond", "string"), ("f16", "float64"),
    ]  # fmt: skip
    rows = list(parquet_rows(str(tmp_path / "t.parquet"), "path"))
    assert rows[0] == ["0.mp3", 255, 255, 255, most, "0", 0.5]
    assert rows[1][4:] == [None, "0", None]
    assert rows[299][5:] == [str(most + 1), float("inf")]
    assert {type(row[6]) for row in rows} == {float, type(None)}


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary())])
def test_paths_as_bytes(music: Path, kind: pa.DataType) -> None:
    (music / os.fsdecode(b"No\xebl.mp3")).touch()
    paths = pa.array([b"a.mp3", b"No\xebl.mp3", "गीत.mp3".encode()], pa.binary()).cast(kind)
    pq.write_table(pa.table({"path": paths}), music / "t.parquet")
    names = [Path(source.path).name for source in Sources([music / "t.parquet"])]
    assert names == ["a.mp3", "No\udcebl.mp3", "गीत.mp3"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_paths_as_text(music: Path, kind: pa.DataType) -> None:
    paths = pa.array(["a.mp3", "sub\\c.ogg", None]).cast(kind)
    pq.write_table(pa.table({"path": paths, "n": [1, 2, 3]}), music / "t.parquet")
    assert [s.path for s in Sources([music / "t.parquet"])] == [f"{music}/a.mp3", f"{music}/sub/c.ogg", ""]


def test_paths_whose_bytes_are_no_text(music: Path) -> None:
    (music / os.fsdecode(b"No\xebl.mp3")).touch()
    paths = pa.array([b"a.mp3", b"No\xebl.mp3"]).view(pa.string())
    pq.write_table(pa.table({"path": paths}), music / "t.parquet")
    assert [Path(s.path).name for s in Sources([music / "t.parquet"])] == ["a.mp3", "No\udcebl.mp3"]


def test_only_regular_files_with_whole_pages(tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table({"path": [f"{i}.mp3" for i in range(999)]}), table, write_page_checksum=True)
    content = bytearray(table.read_bytes())
    content[len(content) // 3] ^= 1
    table.write_bytes(content)
    os.mkfifo(tmp_path / "pipe.parquet")
    for file, said in (
        (str(table), "CRC checksum"),
        (str(tmp_path / "pipe.parquet"), "not a regular file"),
        ("/dev/zero", "not a regular file"),
    ):
        with pytest.raises(MerError, match=f"{file} cannot be read: .*{said}"):
            list(parquet_rows(file, "path"))


@pytest.mark.parametrize("seed", range(4))
def test_files_of_any_content(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / "t.parquet"
    numbers = pa.array(range(500), pa.int32())
    pq.write_table(pa.table({"path": ["a.mp3"] * 500, "n": numbers, "s": [["x"]] * 500}), path)
    whole = path.read_bytes()
    for _ in range(50):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 3, 30))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content[: rng.choice((None, rng.randrange(len(content))))])
        with contextlib.suppress(MerError):
            for _ in zip(parquet_rows(str(path), "path"), range(2_000), strict=False):
                pass


def test_no_thread_of_arrow_reads_a_file_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would free what it holds of it while Python ends, which aborts the process."""
    pq.write_table(pa.table({"path": ["a.mp3"]}), tmp_path / "t.parquet")
    asked: list[dict[str, Any]] = []

    class Asked(pq.ParquetFile):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            asked.append(options)
            super().__init__(*arguments, **options)

        def iter_batches(self, *arguments: Any, **options: Any) -> Any:
            asked.append(options)
            return super().iter_batches(*arguments, **options)

    monkeypatch.setattr(pq, "ParquetFile", Asked)
    assert list(parquet_rows(str(tmp_path / "t.parquet"), "path")) == [["a.mp3"]]
    assert [options.get("pre_buffer", options.get("use_threads")) for options in asked] == [False, False]
