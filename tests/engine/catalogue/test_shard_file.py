"""One shard's bytes: what is read is what was written, or is refused."""

from __future__ import annotations

import os
import random
from pathlib import Path
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from merkit.engine.catalogue.rows import schema_of_rows, size_of_row
from merkit.engine.catalogue.run_info import KEY, RunInfo
from merkit.engine.catalogue.shard_file import ShardFile, bytes_from_rows, rows_of_short_shard
from merkit.engine.errors import MerError

INFO = RunInfo(("happy", "sad"), {"isrc": "string"}, {"model": "tiny", "windows": 3})
SCHEMA = schema_of_rows(INFO.labels, INFO.carried).with_metadata({KEY: INFO.to_json()})


@pytest.fixture
def shard(tmp_path: Path, rows: list[dict]) -> Path:
    path = tmp_path / "part-000000.parquet"
    path.write_bytes(bytes_from_rows([{**row, "isrc": "mer.sha256:" + "0" * 64} for row in rows * 5], SCHEMA))
    return path


def test_what_was_written_is_read(shard: Path, rows: list[dict]) -> None:
    read = ShardFile(shard)
    assert (read.run, read.count, read.columns) == (INFO.fields(), 10, SCHEMA.names)
    assert [row["path"] for row in read.rows(["path"])] == [row["path"] for row in rows * 5]
    assert pq.ParquetFile(shard, page_checksum_verification=True).read().num_rows == 10  # for others


def test_of_a_shard_that_is_too_long_few_rows_are_made(
    tmp_path: Path, rows: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = tmp_path / "part-000000.parquet", []
    path.write_bytes(bytes_from_rows([{**row, "isrc": None} for row in rows * 50], SCHEMA))
    whole = ShardFile(path).rows()
    size = sum(map(size_of_row, whole))

    def counted(row: dict) -> int:
        made.append(row)
        return size_of_row(row)

    monkeypatch.setattr("merkit.engine.catalogue.shard_file.size_of_row", counted)
    for most, most_bytes, is_read, least, most_made in (
        (100, size + 1, True, 100, 100), (100, size, False, 100, 100), (100, size // 10, False, 10, 20),
        (99, size + 1, False, 0, 0), (0, size, False, 0, 0), (100, 0, False, 0, 0),
    ):  # fmt: skip
        made.clear()
        read = rows_of_short_shard(path, INFO.fields(), SCHEMA.names, most, most_bytes)
        assert read == (whole if is_read else [])
        assert least <= len(made) <= most_made


def test_no_bit_can_flip_unseen(shard: Path) -> None:
    content = shard.read_bytes()
    rng = random.Random(21)
    footer = content.rindex(KEY)
    places = [rng.randrange(len(content)) for _ in range(150)]
    places += [rng.randrange(footer, len(content)) for _ in range(150)]
    for place in [*places, 0, len(content) - 1, content.rindex(b"mer.seal"), content.rindex(b"mer.sha256:")]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        shard.write_bytes(flipped)
        with pytest.raises(MerError, match=r"part-000000\.parquet (is damaged|was made by another version)"):
            ShardFile(shard).rows()


@pytest.mark.parametrize("size", [0, 3, 4, 500, -1])
def test_one_that_was_cut_off(shard: Path, size: int) -> None:
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(MerError, match=r"part-000000\.parquet is damaged"):
        ShardFile(shard)


def test_one_that_was_written_again_by_another_program(shard: Path) -> None:
    pq.write_table(pq.ParquetFile(shard).read(), shard)
    with pytest.raises(MerError, match="is not what was written"):
        ShardFile(shard)
    table = pq.ParquetFile(shard).read(["path", "status"])
    pq.write_table(table.replace_schema_metadata({KEY: INFO.to_json()}), shard)
    with pytest.raises(MerError, match="its checksum is missing"):
        ShardFile(shard)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"path": ["a"]}, "no column 'status'"),
        ({"path": [1], "status": ["ok"]}, "its column 'path' is of type int64, not string"),
        ({"path": ["a", None], "status": ["ok", "ok"]}, "rows without path or status"),
    ],
)
def test_a_table_of_other_things(tmp_path: Path, columns: dict, said: str) -> None:
    path = tmp_path / "part-000000.parquet"
    pq.write_table(pa.table(columns), path)
    schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("path", "status")])
    read = ShardFile(path)
    assert read.run is None
    with pytest.raises(MerError, match=f"is no shard of these labels .*{said}"):
        read.check_columns(schema, optional=set())


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing", "."):
        with pytest.raises(MerError, match=r"cannot be read: (no such file|not a regular file)"):
            ShardFile(tmp_path / name)


def test_no_thread_of_arrow_holds_what_was_read(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would free the bytes while Python ends, which aborts the process."""
    opened = Mock(wraps=pq.ParquetFile)
    monkeypatch.setattr(pq, "ParquetFile", opened)
    file = ShardFile(shard)
    read = Mock(wraps=file._file.read)
    monkeypatch.setattr(file._file, "read", read)
    file.rows(["path"])
    assert opened.call_args.kwargs["pre_buffer"] is False
    assert read.call_args.kwargs["use_threads"] is False
